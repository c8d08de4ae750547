//! Comparison and equality in machine code. What neither words nor tags decide is asked of the
//! machine's functions.

use crate::plan::facts::{Fact, Location, kind};
use crate::translate::{I64, Next, Translator};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{Block, InstBuilder, MemFlagsData as MemFlags, Value};
use std::cmp::Ordering;
use swarmrt_beam::instr::{Instr, Src};
use swarmrt_engine::code::Question;
use swarmrt_engine::layout;
use swarmrt_term::{Term, release};

/// Comparisons of the same operands that are decided at once: a loop of them would have no end.
const DECIDED_MAX: u32 = 4;

/// An integer that a float holds exactly.
const EXACT_MAX: i64 = 1 << 53;

impl Translator<'_, '_> {
    /// `a < b`, or its opposite.
    pub(crate) fn compare(&mut self, at: u32, a: Src, b: Src, fail: i32, less: bool) -> Next {
        self.whole(at, a);
        self.whole(at, b);
        let (known_a, known_b) = (self.fact(at, a), self.fact(at, b));
        let fail = self.relative(at, fail);
        // Where it leads when a is less, and when it is not.
        let (yes, no) = if less { (at + 1, fail) } else { (fail, at + 1) };
        if known_a.is(kind::FLOATS) || known_b.is(kind::FLOATS) {
            let slow = self.later_cold(move |translator| {
                let (x, y) = (translator.src(at, a), translator.src(at, b));
                translator.branch_by_order((a, x), (b, y), yes, no);
            });
            let (x, y) = (self.exact_float(at, a, slow), self.exact_float(at, b, slow));
            let decided = self.b.ins().fcmp(FloatCC::LessThan, x, y);
            let (yes, no) = (self.target(yes), self.target(no));
            self.branch(decided, yes, no);
            return Next::End;
        }
        let (x, y) = (self.src(at, a), self.src(at, b));
        if known_a.is(kind::SMALL) && known_b.is(kind::SMALL) {
            if known_a.max < known_b.min {
                return self.go_to(yes, at);
            }
            if known_a.min >= known_b.max {
                return self.go_to(no, at);
            }
        } else {
            let slow = self.later_cold(move |translator| {
                translator.branch_by_order((a, x), (b, y), yes, no);
            });
            // Two floats, or a float and a constant.
            let floats = if self.expects_floats(known_a, known_b) {
                self.later(move |translator| {
                    let (x, y) =
                        (translator.exact_float(at, a, slow), translator.exact_float(at, b, slow));
                    let decided = translator.b.ins().fcmp(FloatCC::LessThan, x, y);
                    let (yes, no) = (translator.target(yes), translator.target(no));
                    translator.branch(decided, yes, no);
                })
            } else {
                slow
            };
            if !known_a.may_be(kind::SMALL) || !known_b.may_be(kind::SMALL) {
                self.b.ins().jump(floats, &[]);
                return Next::End;
            }
            self.require_small(at, (a, x), (b, y), floats);
        }
        let (known_a, known_b) = (self.fact(at, a), self.fact(at, b));
        let decided = self.b.ins().icmp(IntCC::SignedLessThan, x, y);
        let before = self.facts.clone();
        let small = Fact::of(kind::SMALL);
        self.facts.learn(a, Fact { max: known_b.max - 1, ..small });
        self.facts.learn(b, Fact { min: known_a.min + 1, ..small });
        let yes = self.target(yes);
        self.facts = before;
        self.facts.learn(a, Fact { min: known_b.min, ..small });
        self.facts.learn(b, Fact { max: known_a.max, ..small });
        let no = self.target(no);
        self.branch(decided, yes, no);
        Next::End
    }
    /// Goes to `yes` where `a` is less than `b` and to `no` where it is not, by their order. What is
    /// compared there again, as in `if A < B -> …; A > B -> …; true -> … end`, is decided as well.
    fn branch_by_order(&mut self, (a, x): (Src, Value), (b, y): (Src, Value), yes: u32, no: u32) {
        let [less, equal, greater] =
            [(Ordering::Less, yes), (Ordering::Equal, no), (Ordering::Greater, no)]
                .map(|(order, at)| self.decided(at, a, b, order));
        let same = self.b.ins().icmp(IntCC::Equal, x, y);
        let differ = self.b.create_block();
        let equal_block = self.target(equal);
        self.branch(same, equal_block, differ);
        self.b.switch_to_block(differ);
        let order = self.ask(Question::Order, x, y);
        if less != equal {
            let is_less = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, order, 0);
            let less = self.target(less);
            if greater == equal {
                return self.branch(is_less, less, equal_block);
            }
            let not_less = self.b.create_block();
            self.branch(is_less, less, not_less);
            self.b.switch_to_block(not_less);
        }
        let is_greater = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, order, 0);
        let greater = self.target(greater);
        self.branch(is_greater, greater, equal_block);
    }
    /// Where comparisons of `a` and `b` from `at` on lead, given the order of the two.
    fn decided(&self, mut at: u32, a: Src, b: Src, order: Ordering) -> u32 {
        for _ in 0..DECIDED_MAX {
            let (p, q, fail, holds) = match self.code()[at as usize] {
                Instr::IsLt { a, b, fail } => (a, b, fail, Ordering::is_lt as fn(Ordering) -> bool),
                Instr::IsGe { a, b, fail } => (a, b, fail, Ordering::is_ge as _),
                Instr::IsEq { a, b, fail } => (a, b, fail, Ordering::is_eq as _),
                Instr::IsNe { a, b, fail } => (a, b, fail, Ordering::is_ne as _),
                _ => return at,
            };
            let order = match (p, q) {
                _ if (p, q) == (a, b) => order,
                _ if (p, q) == (b, a) => order.reverse(),
                _ => return at,
            };
            at = if holds(order) { at + 1 } else { self.relative(at, fail) };
        }
        at
    }
    /// Whether an operation of such operands does floats in place.
    pub(super) fn expects_floats(&self, a: Fact, b: Fact) -> bool {
        let known = a.is(kind::FLOAT) || b.is(kind::FLOAT);
        known || self.source.floats && (a.may_be(kind::FLOAT) || b.may_be(kind::FLOAT))
    }
    /// The float in a word, or a constant that is one or as good as one; else to `slow`.
    fn exact_float(&mut self, at: u32, src: Src, slow: Block) -> Value {
        let constant = self.constant(at, src).and_then(|raw| {
            // SAFETY: a constant of the module's pool.
            let term = unsafe { Term::from_raw(raw) };
            term.as_small().filter(|small| small.abs() <= EXACT_MAX).map(|small| small as f64)
        });
        match constant {
            Some(float) => self.b.ins().f64const(float),
            None => self.float(at, src, slow),
        }
    }

    /// Equality, exact or not, or its opposite.
    pub(crate) fn equality(
        &mut self,
        at: u32,
        a: Src,
        b: Src,
        fail: i32,
        exact: bool,
        wanted: bool,
    ) -> Next {
        let (known_a, known_b) = (self.fact(at, a), self.fact(at, b));
        let fail = self.relative(at, fail);
        let (equal, differ) = if wanted { (at + 1, fail) } else { (fail, at + 1) };
        let numbers = known_a.may_be(kind::NUMBER) && known_b.may_be(kind::NUMBER);
        if known_a.kinds & known_b.kinds == 0 && (exact || !numbers) {
            return self.go_to(differ, at);
        }
        self.whole(at, a);
        self.whole(at, b);
        // One that is only in a machine register for floats is compared there.
        let only = |fact: Fact, other: Fact| {
            exact && fact.place == Location::Float && other.may_be(kind::FLOAT)
        };
        let places = (equal, differ);
        if known_a.is(kind::FLOATS) && known_b.is(kind::FLOATS)
            || only(known_a, known_b)
            || only(known_b, known_a)
        {
            self.equality_of_floats(at, a, b, exact, places);
        } else {
            self.equality_of_words(at, (a, known_a), (b, known_b), exact, places);
        }
        Next::End
    }

    /// Goes to the first place where two floats are equal, else to the second.
    fn equality_of_floats(
        &mut self,
        at: u32,
        a: Src,
        b: Src,
        exact: bool,
        (equal, differ): (u32, u32),
    ) {
        let slow = self.exit_block(at);
        let (x, y) = (self.float(at, a, slow), self.float(at, b, slow));
        // From OTP 27 on, both zeros are exactly equal to themselves only.
        let same = if exact && release::current().distinguishes_zeros() {
            let bits = |translator: &mut Self, float| {
                translator.b.ins().bitcast(I64, MemFlags::new(), float)
            };
            let (x, y) = (bits(self, x), bits(self, y));
            self.b.ins().icmp(IntCC::Equal, x, y)
        } else {
            self.b.ins().fcmp(FloatCC::Equal, x, y)
        };
        let (equal, differ) = (self.target(equal), self.target(differ));
        self.branch(same, equal, differ);
    }

    /// As [`equality_of_floats`](Self::equality_of_floats), of any two terms as words.
    fn equality_of_words(
        &mut self,
        at: u32,
        (a, known_a): (Src, Fact),
        (b, known_b): (Src, Fact),
        exact: bool,
        (equal, differ): (u32, u32),
    ) {
        let (x, y) = (self.src(at, a), self.src(at, b));
        // Whether only the same word is equal. Zero is two floats.
        let unique = |fact: Fact, constant: Option<u64>| {
            // SAFETY: a constant of the module's pool.
            let float = constant.and_then(|raw| unsafe { Term::from_raw(raw) }.as_float());
            fact.is(if exact { kind::UNIQUE } else { kind::ATOM | kind::NIL })
                || exact && fact.is(kind::FLOAT) && float.is_some_and(|float| float != 0.0)
        };
        let constants = [self.constant(at, a), self.constant(at, b)];
        let by_word = unique(known_a, constants[0])
            || unique(known_b, constants[1])
            || known_a.is(kind::SMALL) && known_b.is(kind::SMALL);
        let before = self.facts.clone();
        if exact {
            self.facts.learn(a, known_b);
            self.facts.learn(b, known_a);
        }
        let same = self.b.ins().icmp(IntCC::Equal, x, y);
        let equal_block = self.target(equal);
        self.facts = before;
        if by_word {
            let differ = self.target(differ);
            self.branch(same, equal_block, differ);
            return;
        }
        let here = self.b.create_block();
        self.branch(same, equal_block, here);
        let slow = self.later_cold(move |translator| {
            let found =
                translator.ask(if exact { Question::EqualExact } else { Question::Equal }, x, y);
            let (equal, differ) = (translator.target(equal), translator.target(differ));
            translator.branch(found, equal, differ);
        });
        self.b.switch_to_block(here);
        if exact {
            self.differ_by_tags(x, y, (equal, differ), slow);
        } else {
            let differ_block = self.target(differ);
            let both = self.b.ins().band(x, y);
            let decided = self.is_small(both);
            self.branch(decided, differ_block, slow);
        }
    }

    /// Where two different words are exactly equal or not, as far as their tags tell; else `slow`.
    fn differ_by_tags(&mut self, x: Value, y: Value, (equal, differ): (u32, u32), slow: Block) {
        let differ_block = self.target(differ);
        // Words differ whose lowest two bits do; of those that are left, small integers (11)
        // and atoms and the like (001) differ.
        let tags = self.b.ins().bxor(x, y);
        let tags = self.b.ins().band_imm_s(tags, layout::NUMBER_MASK);
        let here = self.b.create_block();
        self.branch(tags, differ_block, here);
        self.b.switch_to_block(here);
        // Floats in words are equal to others only if both are zero, and not from OTP 27 on.
        let zeros_differ = release::current().distinguishes_zeros();
        let looked_at = if self.source.floats {
            self.later(move |translator| {
                let is_float = translator.tag_is(x, layout::NUMBER_MASK, layout::FLOAT_TAG);
                if zeros_differ {
                    let differ = translator.target(differ);
                    translator.branch(is_float, differ, slow);
                    return;
                }
                translator.require(is_float, slow);
                let either = translator.b.ins().bor(x, y);
                let zeroes = translator.b.ins().icmp_imm_s(
                    IntCC::UnsignedLessThan,
                    either,
                    Term::FLOAT_ZEROES_END as i64,
                );
                let (equal, differ) = (translator.target(equal), translator.target(differ));
                translator.branch(zeroes, equal, differ);
            })
        } else {
            slow
        };
        // Bit n says whether a word whose lowest three bits are n, or n less a multiple of
        // eight, needs a closer look.
        let by_tag = self.word(0x7474_7474_7474_7474);
        let bit = self.b.ins().ushr(by_tag, x);
        let needs_look = self.b.ins().band_imm_s(bit, 1);
        self.branch(needs_look, looked_at, differ_block);
    }
}
