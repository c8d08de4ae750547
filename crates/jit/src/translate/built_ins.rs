//! Built-ins that machine code does itself for the usual arguments.

use crate::plan::facts::{Fact, kind};
use crate::translate::{I64, Next, Translator};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Value};
use swarmrt_beam::instr::{Dst, Instr, Src};
use swarmrt_engine::code::Question;
use swarmrt_engine::layout;
use swarmrt_engine::layout::boxed;
use swarmrt_term::{Atom, Subtag, Term, am, atom};

/// A comparison that is a value.
#[derive(Clone, Copy)]
pub(crate) struct Comparison {
    question: Question,
    /// The question is asked of the second operand and the first.
    swapped: bool,
    /// The comparison holds when the question does not.
    negated: bool,
}

impl Comparison {
    pub(crate) fn named(name: Atom) -> Option<Comparison> {
        let (question, swapped, negated) = match name {
            _ if name == atom!("<") => (Question::Order, false, false),
            _ if name == atom!(">=") => (Question::Order, false, true),
            _ if name == atom!(">") => (Question::Order, true, false),
            _ if name == atom!("=<") => (Question::Order, true, true),
            _ if name == atom!("==") => (Question::Equal, false, false),
            _ if name == atom!("/=") => (Question::Equal, false, true),
            _ if name == atom!("=:=") => (Question::EqualExact, false, false),
            _ if name == atom!("=/=") => (Question::EqualExact, false, true),
            _ => return None,
        };
        Some(Comparison { question, swapped, negated })
    }
}

impl Translator<'_, '_> {
    /// Does what a call of a built-in comes to, for the usual arguments: its result is in X0 then.
    /// `other` is the way for all others. Whether there is anything to be done.
    pub(crate) fn in_place(
        &mut self,
        at: u32,
        bif: u16,
        other: impl FnOnce(&mut Translator<'_, '_>) + 'static,
    ) -> bool {
        let mfa = self.source.bifs.mfa(bif);
        let (module, name) = (mfa.module, mfa.function);
        let known = |wanted: Atom, names: &[(Atom, u32)]| {
            module == wanted && names.iter().any(|&(n, arity)| n == name && arity == mfa.arity)
        };
        if self.is_root(at) {
            self.whole(at, Src::x(0));
            let other = self.later_cold(other);
            let float = self.number_as_float(at, Src::x(0), other);
            let zero = self.b.ins().f64const(0.0);
            let fine = self.b.ins().fcmp(FloatCC::GreaterThanOrEqual, float, zero);
            self.require(fine, other);
            let root = self.b.ins().sqrt(float);
            self.set_float(Dst::x(0), root);
        } else if known(am::ERLANG, &[(atom!("max"), 2), (atom!("min"), 2)]) {
            let other = self.later(other);
            self.extremum(at, name == atom!("max"), other);
        } else if known(am::ERLANG, &[(atom!("setelement"), 3)]) && !self.source.stress {
            let index = self.facts.of(Dst::x(0));
            if !index.is(kind::SMALL)
                || index.min != index.max
                || !(1..=i64::from(u16::MAX)).contains(&index.min)
            {
                return false;
            }
            let other = self.later(other);
            self.set_element(at, index.min as u32, other);
        } else {
            return false;
        }
        self.count_built_in();
        true
    }
    /// Whether an instruction calls `math:sqrt/1`.
    pub(crate) fn is_root(&self, at: u32) -> bool {
        let (Instr::CallBif { bif, .. }
        | Instr::CallBifLast { bif, .. }
        | Instr::CallBifOnly { bif, .. }) = self.code()[at as usize]
        else {
            return false;
        };
        let mfa = self.source.bifs.mfa(bif);
        let is_root =
            mfa.module == atom!("math") && mfa.function == atom!("sqrt") && mfa.arity == 1;
        is_root && !self.source.bifs.has_breakpoint(bif)
    }
    /// What a comparison comes to, as a value.
    pub(crate) fn comparison_value(
        &mut self,
        at: u32,
        comparison: Comparison,
        a: Src,
        b: Src,
        dst: Dst,
    ) -> Next {
        let Comparison { question, swapped, negated } = comparison;
        let (a, b) = if swapped { (b, a) } else { (a, b) };
        let (x, y) = (self.src(at, a), self.src(at, b));
        let (known_a, known_b) = (self.fact(at, a), self.fact(at, b));
        let by_word = question == Question::EqualExact
            && (known_a.is(kind::UNIQUE) || known_b.is(kind::UNIQUE));
        if !by_word {
            let slow = self.later_cold(move |translator| {
                let answer = translator.ask(question, x, y);
                let holds = match question {
                    Question::Order => {
                        translator.b.ins().icmp_imm_s(IntCC::SignedLessThan, answer, 0)
                    }
                    _ => answer,
                };
                translator.set_truth(dst, holds, negated);
                translator.join(at + 1);
            });
            if !known_a.may_be(kind::SMALL) || !known_b.may_be(kind::SMALL) {
                self.b.ins().jump(slow, &[]);
                return Next::End;
            }
            self.require_small(at, (a, x), (b, y), slow);
        }
        let holds = self.b.ins().icmp(
            if question == Question::Order { IntCC::SignedLessThan } else { IntCC::Equal },
            x,
            y,
        );
        self.set_truth(dst, holds, negated);
        self.join(at + 1)
    }
    /// The larger or the smaller of X0 and X1 to X0, if both are small; else to `other`.
    fn extremum(&mut self, at: u32, largest: bool, other: Block) {
        let (a, b) = (Src::x(0), Src::x(1));
        let (x, y) = (self.src(at, a), self.src(at, b));
        self.require_small(at, (a, x), (b, y), other);
        let (known_a, known_b) = (self.facts.of_src(a), self.facts.of_src(b));
        let first = self.b.ins().icmp(
            if largest { IntCC::SignedGreaterThan } else { IntCC::SignedLessThan },
            x,
            y,
        );
        let value = self.b.ins().select(first, x, y);
        let choose = if largest { i64::max } else { i64::min };
        let fact = Fact::integer(
            choose(known_a.min, known_b.min).into(),
            choose(known_a.max, known_b.max).into(),
        );
        self.set_known(Dst::x(0), value, fact);
    }

    /// Writes whether something holds, or its opposite.
    fn set_truth(&mut self, dst: Dst, holds: Value, negated: bool) {
        let (yes, no) =
            (self.word(Term::bool(!negated).raw()), self.word(Term::bool(negated).raw()));
        let value = self.b.ins().select(holds, yes, no);
        self.set_known(dst, value, Fact::of(kind::ATOM));
    }
    /// How many pairs are in what is known to be a map.
    pub(crate) fn map_size(&mut self, map: Value) -> Value {
        let header = self.header_of(map);
        let byte = self.b.ins().band_imm_s(header, layout::HEADER_KIND_MASK);
        let is_flat =
            self.b.ins().icmp_imm_s(IntCC::Equal, byte, layout::header_kind(Subtag::FlatMap));
        // A flat one has a word for its keys and one for each value; a trie's root says how many
        // there are.
        let words = self.b.ins().ushr_imm_s(header, layout::HEADER_WORDS_SHIFT);
        let (flat, trie) = (self.b.ins().iadd_imm_s(words, -1), self.load(map, boxed(1)));
        let size = self.b.ins().select(is_flat, flat, trie);
        self.tag_small(size)
    }
    /// How long a list is; to `other` for what is none.
    pub(crate) fn length(&mut self, list: Value, other: Block) -> Value {
        let (next, cell, end, done) = (
            self.b.create_block(),
            self.b.create_block(),
            self.b.create_block(),
            self.b.create_block(),
        );
        let (rest, count) =
            (self.b.append_block_param(next, I64), self.b.append_block_param(next, I64));
        let zero = self.word(Term::small(0).raw());
        self.b.ins().jump(next, &[BlockArg::Value(list), BlockArg::Value(zero)]);
        self.b.switch_to_block(next);
        let is_cell = self.is_cons(rest);
        self.branch(is_cell, cell, end);
        self.b.switch_to_block(cell);
        let (tail, more) = (
            self.load(rest, layout::TAIL),
            self.b.ins().iadd_imm_s(count, 1 << layout::SMALL_SHIFT),
        );
        self.b.ins().jump(next, &[BlockArg::Value(tail), BlockArg::Value(more)]);
        self.b.switch_to_block(end);
        let is_nil = self.b.ins().icmp_imm_s(IntCC::Equal, rest, Term::NIL.raw() as i64);
        self.branch(is_nil, done, other);
        self.b.switch_to_block(done);
        count
    }
}
