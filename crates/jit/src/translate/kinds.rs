//! Tests of what a word is. What is known already is not tested again.

use super::{Next, Translator};
use crate::plan::facts::{Fact, Kinds, kind};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, InstBuilder, Value};
use swarmrt_beam::instr::Src;
use swarmrt_engine::layout;
use swarmrt_term::{Header, Subtag, Term};

impl Translator<'_, '_> {
    pub(crate) fn tag_is(&mut self, value: Value, mask: i64, tag: i64) -> Value {
        // With the tag taken off, a test of bits is left.
        let off = if tag == 0 { value } else { self.b.ins().iadd_imm_s(value, -tag) };
        let low = self.b.ins().band_imm_s(off, mask);
        self.b.ins().icmp_imm_s(IntCC::Equal, low, 0)
    }
    pub(crate) fn is_cons(&mut self, value: Value) -> Value {
        self.tag_is(value, layout::TAG_MASK, layout::CONS_TAG)
    }
    pub(crate) fn is_boxed(&mut self, value: Value) -> Value {
        self.tag_is(value, layout::TAG_MASK, layout::BOXED_TAG)
    }
    pub(crate) fn is_small(&mut self, value: Value) -> Value {
        self.tag_is(value, layout::NUMBER_MASK, layout::SMALL_TAG)
    }
    pub(crate) fn header_of(&mut self, boxed: Value) -> Value {
        self.load(boxed, layout::boxed(0))
    }
    pub(crate) fn header_byte(&mut self, boxed: Value) -> Value {
        let header = self.header_of(boxed);
        self.b.ins().band_imm_s(header, layout::HEADER_KIND_MASK)
    }
    /// Whether a boxed term is one of these.
    pub(crate) fn has_subtag(&mut self, boxed: Value, subtags: &[Subtag]) -> Value {
        let byte = self.header_byte(boxed);
        let mut any = None;
        for &subtag in subtags {
            let is = self.b.ins().icmp_imm_s(IntCC::Equal, byte, layout::header_kind(subtag));
            any = Some(any.map_or(is, |any| self.b.ins().bor(any, is)));
        }
        any.expect("one at least")
    }

    /// To `fail` unless the value is boxed, with one of these subtags, which are `kinds`.
    pub(super) fn test_boxed(
        &mut self,
        at: u32,
        src: Src,
        fail: i32,
        subtags: &[Subtag],
        kinds: Kinds,
    ) -> Next {
        let known = self.fact(at, src);
        if known.is(kinds) && kinds != kind::OTHER {
            return Next::At(at + 1);
        }
        if !known.may_be(kinds) {
            return self.go_to(self.relative(at, fail), at);
        }
        let value = self.src(at, src);
        // Of the others there may be some among `OTHER`.
        let fail = if kinds == kind::OTHER {
            self.target(self.relative(at, fail))
        } else {
            self.target_without(at, src, fail, kinds)
        };
        if !known.is(kind::BOXED) {
            let boxed = self.is_boxed(value);
            self.require(boxed, fail);
        }
        let has = self.has_subtag(value, subtags);
        self.require(has, fail);
        self.facts.learn(src, Fact::of(kinds));
        Next::At(at + 1)
    }
    /// Where a test leads that did not find any of `kinds`.
    fn target_without(&mut self, at: u32, src: Src, fail: i32, kinds: Kinds) -> Block {
        let before = self.facts.clone();
        self.facts.learn(src, Fact::of(kind::ANY & !kinds));
        let block = self.target(self.relative(at, fail));
        self.facts = before;
        block
    }
    /// A test of the word alone, which tells `kinds` from all others.
    pub(super) fn test_word(
        &mut self,
        at: u32,
        src: Src,
        fail: i32,
        kinds: Kinds,
        is: impl FnOnce(&mut Self, Value, Fact) -> Value,
    ) -> Next {
        let known = self.fact(at, src);
        if known.is(kinds) {
            return Next::At(at + 1);
        }
        if !known.may_be(kinds) {
            return self.go_to(self.relative(at, fail), at);
        }
        let value = self.src(at, src);
        let fail = self.target_without(at, src, fail, kinds);
        let condition = is(self, value, known);
        self.require(condition, fail);
        self.facts.learn(src, Fact::of(kinds));
        Next::At(at + 1)
    }
    /// Whether what is known so far is a list's cell.
    pub(super) fn is_cons_of(&mut self, value: Value, known: Fact) -> Value {
        if known.is(kind::CONS | kind::NIL) {
            self.b.ins().icmp_imm_s(IntCC::NotEqual, value, Term::NIL.raw() as i64)
        } else {
            self.is_cons(value)
        }
    }
    pub(super) fn is_nil(&mut self, value: Value) -> Value {
        self.b.ins().icmp_imm_s(IntCC::Equal, value, Term::NIL.raw() as i64)
    }
    pub(super) fn test(&mut self, at: u32, condition: Value, fail: i32) -> Next {
        let fail = self.target(self.relative(at, fail));
        self.require(condition, fail);
        Next::At(at + 1)
    }
    /// A comparison with an immediate that equals nothing but itself.
    pub(super) fn test_immediate(
        &mut self,
        at: u32,
        x: u16,
        wanted: Term,
        fail: i32,
        equal: bool,
    ) -> Next {
        let (src, fact) = (Src::x(x), Fact::of_term(wanted));
        let known = self.fact(at, src);
        let fail = self.relative(at, fail);
        if known.kinds & fact.kinds == 0 {
            return if equal { self.go_to(fail, at) } else { Next::At(at + 1) };
        }
        let value = self.use_x(x.into());
        let same = self.b.ins().icmp_imm_s(IntCC::Equal, value, wanted.raw() as i64);
        let before = self.facts.clone();
        self.facts.learn(src, fact);
        let (same_place, other_place) = if equal { (at + 1, fail) } else { (fail, at + 1) };
        if equal {
            let known = std::mem::replace(&mut self.facts, before);
            let other = self.target(other_place);
            self.require(same, other);
            self.facts = known;
        } else {
            let block = self.target(same_place);
            self.facts = before;
            self.require_not(same, block);
        }
        Next::At(at + 1)
    }
    /// The parts of a header: goes on here when what is boxed is a tuple, else to `other`.
    pub(crate) fn require_tuple(&mut self, at: u32, src: Src, tuple: Value, other: Block) -> Value {
        let known = self.fact(at, src);
        if !known.is(kind::BOXED) {
            let boxed = self.is_boxed(tuple);
            self.require(boxed, other);
        }
        let header = self.header_of(tuple);
        if !known.is(kind::TUPLE) {
            let byte = self.b.ins().band_imm_s(header, layout::HEADER_KIND_MASK);
            let is_tuple =
                self.b.ins().icmp_imm_s(IntCC::Equal, byte, layout::header_kind(Subtag::Tuple));
            self.require(is_tuple, other);
        }
        self.facts.learn(src, Fact::of(kind::TUPLE));
        header
    }
    /// A test for a tuple of exactly so many elements; where it leads when it was decided by what
    /// is known.
    pub(super) fn test_arity(
        &mut self,
        at: u32,
        src: Src,
        arity: u32,
        fail: i32,
    ) -> Result<(), Next> {
        let known = self.fact(at, src);
        let may = known.may_be(kind::TUPLE)
            && if known.exact { known.arity == arity } else { known.arity <= arity };
        if !may {
            return Err(self.go_to(self.relative(at, fail), at));
        }
        if !(known.is(kind::TUPLE) && known.exact) {
            let value = self.src(at, src);
            let fail = self.target(self.relative(at, fail));
            if !known.is(kind::BOXED) {
                let boxed = self.is_boxed(value);
                self.require(boxed, fail);
            }
            let header = self.header_of(value);
            let is = self.b.ins().icmp_imm_s(
                IntCC::Equal,
                header,
                Header::new(Subtag::Tuple, arity as usize).0 as i64,
            );
            self.require(is, fail);
            self.facts.learn(src, Fact::tuple(arity, true));
        }
        Ok(())
    }

    pub(super) fn list_cell(&mut self, at: u32, src: Src) -> Value {
        let list = self.src(at, src);
        let known = self.fact(at, src);
        if !known.is(kind::CONS) {
            let other = self.exit_block(at);
            let is = self.is_cons_of(list, known);
            self.require(is, other);
            self.facts.learn(src, Fact::of(kind::CONS));
        }
        list
    }
}
