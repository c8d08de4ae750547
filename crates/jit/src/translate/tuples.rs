//! Copies of tuples with some elements replaced.

use crate::plan::facts::{Fact, kind};
use crate::translate::{I64, Next, Translator};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Value};
use swarmrt_beam::instr::{Dst, RecordUpdate, Src};
use swarmrt_engine::layout::{self, boxed};
use swarmrt_term::{Header, Subtag};

/// Larger tuples are copied by a step.
const COPIED_ELEMENTS_MAX: usize = 64;
/// Copied without a loop.
const COPIED_IN_ROW_MAX: u32 = 16;

impl Translator<'_, '_> {
    /// A copy of the tuple in X1 with the element `index`, counted from 1, being what is in X2.
    pub(crate) fn set_element(&mut self, at: u32, index: u32, other: Block) {
        let (tuple, value) = (self.use_x(1), self.use_x(2));
        let header = self.require_tuple(at, Src::x(1), tuple, other);
        let known = self.facts.of(Dst::x(1));
        let exact = (known.exact && (index..=COPIED_IN_ROW_MAX).contains(&known.arity))
            .then_some(known.arity);
        if let Some(arity) = exact {
            self.require_room(arity as usize + 1, other);
            let copy = self.copy_tuple(tuple, arity as usize, &[(index as usize - 1, value)]);
            return self.set_known(Dst::x(0), copy, Fact::tuple(arity, true));
        }
        let top = self.b.use_var(self.regs.top);
        // The header is the number of elements over a byte.
        let large = self.b.ins().icmp_imm_s(
            IntCC::UnsignedGreaterThanOrEqual,
            header,
            i64::from(index) << 8,
        );
        self.require(large, other);
        let bytes = self.b.ins().ushr_imm_s(header, 5);
        let last = self.b.ins().iadd(top, bytes);
        self.require_room_behind(last, 1, other);
        let (next, done) = (self.b.create_block(), self.b.create_block());
        self.b.append_block_param(next, I64);
        self.b.ins().jump(next, &[BlockArg::Value(top)]);
        self.b.switch_to_block(next);
        let to = self.b.block_params(next)[0];
        // From the place in the copy to that in the tuple.
        let distance = self.b.ins().isub(tuple, top);
        let from = self.b.ins().iadd(to, distance);
        let copied = self.load(from, boxed(0));
        self.store(copied, to, 0);
        let after = self.b.ins().iadd_imm_s(to, 8);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, after, last);
        self.b.ins().brif(more, next, &[BlockArg::Value(after)], done, &[]);
        self.b.switch_to_block(done);
        self.store(value, top, index as i32 * 8);
        let end = self.b.ins().iadd_imm_s(last, 8);
        self.b.def_var(self.regs.top, end);
        let copy = self.b.ins().iadd_imm_s(top, layout::BOXED_TAG);
        self.set_known(Dst::x(0), copy, Fact::tuple(index, false));
    }
    /// A copy of a tuple with some elements replaced; the tuple itself where that is allowed and
    /// nothing would change.
    pub(crate) fn update_record(&mut self, at: u32, update: &RecordUpdate, dst: Dst) -> Next {
        let arity = update.size as usize;
        if !(1..=COPIED_ELEMENTS_MAX).contains(&arity) {
            return self.slow(at);
        }
        let fact = Fact::tuple(update.size, true);
        let (source, known) = (self.src(at, update.source), self.fact(at, update.source));
        if !known.implies(Fact { place: known.place, ..fact }) {
            let other = self.exit_block(at);
            if !known.is(kind::BOXED) {
                let boxed = self.is_boxed(source);
                self.require(boxed, other);
            }
            let header = self.header_of(source);
            let is = self.b.ins().icmp_imm_s(
                IntCC::Equal,
                header,
                Header::new(Subtag::Tuple, arity).0 as i64,
            );
            self.require(is, other);
            self.facts.learn(update.source, fact);
        }
        let replaced: Vec<(usize, Value)> = update
            .updates
            .iter()
            .map(|&(index, src)| (index as usize, self.src(at, src)))
            .collect();
        let done = self.b.create_block();
        let result = self.b.append_block_param(done, I64);
        if update.reuse {
            let mut difference = self.word(0);
            for &(index, value) in &replaced {
                let before = self.load(source, boxed(index + 1));
                let differs = self.b.ins().bxor(before, value);
                difference = self.b.ins().bor(difference, differs);
            }
            let copied = self.b.create_block();
            self.b.ins().brif(
                difference,
                copied,
                &[] as &[BlockArg],
                done,
                &[BlockArg::Value(source)],
            );
            self.b.switch_to_block(copied);
        }
        let copy = self.copy_tuple(source, arity, &replaced);
        self.b.ins().jump(done, &[BlockArg::Value(copy)]);
        self.b.switch_to_block(done);
        self.set_known(dst, result, fact);
        Next::At(at + 1)
    }
    /// A copy of a tuple of so many elements with some replaced, by their places from 0; of two at
    /// one place the last. There is room for it.
    pub(crate) fn copy_tuple(
        &mut self,
        source: Value,
        arity: usize,
        replaced: &[(usize, Value)],
    ) -> Value {
        let copy = self.bump(arity + 1);
        let header = self.word(Header::new(Subtag::Tuple, arity).0);
        self.store(header, copy, 0);
        for index in 0..arity {
            let value = match replaced.iter().rfind(|&&(place, _)| place == index) {
                Some(&(_, value)) => value,
                None => self.load(source, boxed(index + 1)),
            };
            self.store(value, copy, index as i32 * 8 + 8);
        }
        self.b.ins().iadd_imm_s(copy, layout::BOXED_TAG)
    }
}
