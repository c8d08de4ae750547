//! Scalar-replaced tuples: a loop-carried tuple, and a tuple that an inlined function returns, need
//! not be on the heap. The elements stay values, floats among them in machine registers for floats,
//! until an instruction needs the tuple itself.
//!
//! The heap words that the program has asked for stay reserved until then: later checks for room
//! add them ([`Translator::scalar_words`]). An instruction that allocates without such a check
//! would use them up; so before it all tuples are put on the heap ([`keeps_scalars`]).

use super::{I64, Translator};
use crate::plan::facts::{Fact, Location, SCALAR_TUPLES_MAX, scalar};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData as MemFlags, Value};
use swarmrt_beam::instr::{Dst, Instr, Src};
use swarmrt_engine::layout;
use swarmrt_term::{Header, Subtag};

/// Whether an instruction is translated so that tuples may stay scalar-replaced.
pub(super) fn keeps_scalars(instr: &Instr) -> bool {
    let properties = instr.properties();
    properties.straight || properties.keeps_scalars
}

impl Translator<'_, '_> {
    /// The words that all scalar-replaced tuples will take.
    pub(super) fn scalar_words(&self) -> usize {
        self.facts.scalar_tuples().into_iter().map(|(_, _, arity)| arity + 1).sum()
    }
    /// Puts a tuple together that may stay scalar-replaced, if it is likely to be taken apart
    /// before anybody wants it.
    pub(super) fn put_scalars(&mut self, at: u32, dst: Dst, elements: &[Src]) -> bool {
        if self.cold
            || elements.len() > SCALAR_TUPLES_MAX
            || !Self::is_tracked(dst)
            || !self.is_handed_on(at)
        {
            return false;
        }
        for &element in elements {
            if self.fact(at, element).place.is_scalars() {
                self.src(at, element);
            }
        }
        self.facts.forget_dead_scalars(self.flow().live_after(at));
        let Some(slot) = self.facts.free_slot() else { return false };
        // The slot is free: writing its scalars overwrites no element that is still to be read.
        for (index, &element) in elements.iter().enumerate() {
            match crate::plan::facts::register(element) {
                Some(register) => self.copy_register(register, scalar(slot, index)),
                None => {
                    let (value, fact) = (self.src(at, element), self.fact(at, element));
                    self.set_known(scalar(slot, index), value, fact);
                }
            }
        }
        self.facts.forget(dst);
        self.facts.set(dst, Fact::tuple(elements.len() as u32, true));
        self.facts.place(dst, Location::Scalars(slot));
        true
    }
    /// Whether the next call stays in the piece, so that tuples among its arguments may stay
    /// scalar-replaced. An inlined body returns into the piece.
    fn is_handed_on(&self, at: u32) -> bool {
        if self.sites.current != 0 {
            return true;
        }
        for next in at + 1.. {
            match self.code()[next as usize] {
                Instr::Call { target, .. }
                | Instr::CallLast { target, .. }
                | Instr::CallOnly { target, .. } => {
                    let itself = self.relative(next, target) == self.source.entry + 1
                        && self.begins_function();
                    return itself || self.body().called(next).is_some();
                }
                ref instr
                    if instr.properties().straight
                        && !instr.properties().ends
                        && !self.flow().is_target(next) => {}
                Instr::StoreFloat { .. } if !self.flow().is_target(next) => {}
                _ => return false,
            }
        }
        false
    }
    /// A scalar-replaced tuple, on the heap from now on.
    pub(super) fn build(&mut self, register: Dst) -> Value {
        let fact = self.facts.of(register);
        let Location::Scalars(slot) = fact.place else {
            unreachable!("only scalar-replaced tuples are built")
        };
        let words: Vec<Value> =
            (0..fact.arity as usize).map(|index| self.word_in(scalar(slot, index))).collect();
        let tuple = self.new_tuple(&words);
        self.set_word(register, tuple);
        tuple
    }
    /// A tuple in the room that has been asked for.
    pub(super) fn new_tuple(&mut self, words: &[Value]) -> Value {
        let tuple = self.bump(words.len() + 1);
        let header = self.word(Header::new(Subtag::Tuple, words.len()).0);
        self.store(header, tuple, 0);
        for (index, &word) in words.iter().enumerate() {
            self.store(word, tuple, index as i32 * 8 + 8);
        }
        self.b.ins().iadd_imm_s(tuple, layout::BOXED_TAG)
    }
    /// An operand that is to be a word before the instruction leads anywhere.
    pub(crate) fn whole(&mut self, at: u32, src: Src) {
        if self.fact(at, src).place.is_scalars() {
            self.src(at, src);
        }
    }
    pub(super) fn build_all(&mut self) {
        for (register, ..) in self.facts.scalar_tuples() {
            self.build(register);
        }
    }
    /// Moves a scalar-replaced tuple from a register that nobody reads any more.
    pub(super) fn move_scalars(&mut self, at: u32, from: Dst, to: Dst) -> bool {
        if !self.facts.of(from).place.is_scalars() || from.is_y() || !Self::is_tracked(to) {
            return false;
        }
        let again = match self.code()[at as usize] {
            Instr::MoveXX2 { from1, from2, .. } | Instr::MoveXY2 { from1, from2, .. } => {
                from1 == from2
            }
            _ => false,
        };
        if again || self.flow().live_after(at) & (1 << from.index()) != 0 {
            return false;
        }
        if from != to {
            self.facts.rename(from, to);
        }
        true
    }
    /// Moves elements to other slots, all at once, as words or as floats.
    pub(super) fn move_scalars_to(&mut self, moved: &[(Dst, Dst, Location)]) {
        let variable = |translator: &Self, register: Dst, place: Location| {
            if place == Location::Float {
                translator.float_variable(register)
            } else {
                translator.variable(register)
            }
        };
        let values: Vec<Value> = moved
            .iter()
            .map(|&(from, _, place)| self.b.use_var(variable(self, from, place)))
            .collect();
        for (&(_, to, place), value) in moved.iter().zip(values) {
            self.b.def_var(variable(self, to, place), value);
        }
    }
    /// Elements of a tuple, counted from 0, to registers.
    pub(super) fn get_elements(&mut self, at: u32, src: Src, first: usize, to: &[Dst]) {
        let known = self.fact(at, src);
        if let Location::Scalars(slot) = known.place
            && first + to.len() <= known.arity as usize
        {
            for (index, &dst) in to.iter().enumerate() {
                self.copy_register(scalar(slot, first + index), dst);
            }
            return;
        }
        let tuple = self.tuple_with(at, src, first + to.len() - 1);
        let elements: Vec<Value> =
            (first..first + to.len()).map(|index| self.load(tuple, index as i32 * 8 + 3)).collect();
        for (&dst, element) in to.iter().zip(elements) {
            self.set(dst, element);
        }
    }
    /// The first element of what is known to be a tuple.
    pub(super) fn first_element(&mut self, at: u32, src: Src) -> Value {
        if let Location::Scalars(slot) = self.fact(at, src).place {
            return self.word_in(scalar(slot, 0));
        }
        let tuple = self.src(at, src);
        self.load(tuple, layout::boxed(1))
    }

    /// A test for a constant as the first element of what is known to be a tuple.
    pub(super) fn require_tag(&mut self, at: u32, src: Src, tag: Src, fail: i32) {
        let (first, tag) = (self.first_element(at, src), self.src(at, tag));
        let fail = self.target(self.relative(at, fail));
        let same = self.b.ins().icmp(IntCC::Equal, first, tag);
        self.require(same, fail);
    }

    // ---- On the way out ----

    /// What a register holds, for one who leaves: a word, or the bits of a float. A scalar-replaced
    /// tuple is put on the heap, with floats as bits.
    pub(super) fn raw(&mut self, register: Dst, on_heap: &mut Vec<bool>) -> (Value, bool) {
        let fact = self.facts.of(register);
        match fact.place {
            Location::Float => {
                let float = self.float_of(register).expect("it has one");
                (self.b.ins().bitcast(I64, MemFlags::new(), float), true)
            }
            Location::Scalars(slot) => {
                let elements: Vec<(Value, bool)> = (0..fact.arity as usize)
                    .map(|index| self.raw(scalar(slot, index), on_heap))
                    .collect();
                on_heap.push(false);
                on_heap.extend(elements.iter().map(|&(_, is_float)| is_float));
                let words: Vec<Value> = elements.into_iter().map(|(word, _)| word).collect();
                (self.new_tuple(&words), false)
            }
            Location::Word | Location::Both | Location::Pending => (self.word_in(register), false),
        }
    }
}
