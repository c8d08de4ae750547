//! Numbers in machine code: small-integer arithmetic, floats. What is neither
//! small nor held in its word is done by the machine's functions.

use crate::plan::facts::{Fact, SMALL_MAX, kind};
use crate::translate::{F64, I64, Next, Translator};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, MemFlagsData as MemFlags, Value};
use swarmrt_beam::instr::{Dst, Instr, Src};
use swarmrt_engine::code::Question;
use swarmrt_engine::layout;
use swarmrt_engine::runtime::assists::NO_FLOAT;
use swarmrt_term::{Subtag, Term};

impl Translator<'_, '_> {
    // ---- Small integers ----

    /// Goes on here when both are small integers, else to `other`. What is known is not tested;
    /// afterwards it is known.
    pub(crate) fn require_small(
        &mut self,
        at: u32,
        a: (Src, Value),
        b: (Src, Value),
        other: Block,
    ) {
        let known = [self.fact(at, a.0), self.fact(at, b.0)].map(|fact| fact.is(kind::SMALL));
        let tested = match known {
            [true, true] => None,
            [true, false] => Some(b.1),
            [false, true] => Some(a.1),
            [false, false] => Some(self.b.ins().band(a.1, b.1)),
        };
        if let Some(word) = tested {
            let small = self.is_small(word);
            self.require(small, other);
        }
        for src in [a.0, b.0] {
            self.facts.learn(src, Fact::of(kind::SMALL));
        }
    }
    pub(crate) fn small_value(&mut self, word: Value) -> Value {
        self.b.ins().sshr_imm_s(word, layout::SMALL_SHIFT)
    }
    pub(crate) fn tag_small(&mut self, value: Value) -> Value {
        let shifted = self.b.ins().ishl_imm_s(value, layout::SMALL_SHIFT);
        self.b.ins().bor_imm_s(shifted, layout::SMALL_TAG)
    }

    // ---- Arithmetic ----

    /// Arithmetic of two operands, whichever the instruction names.
    pub(crate) fn arithmetic(&mut self, at: u32, a: Src, b: Src, dst: Dst) -> Next {
        self.whole(at, a);
        self.whole(at, b);
        let (known_a, known_b) = (self.fact(at, a), self.fact(at, b));
        let has_floats = matches!(
            self.code()[at as usize],
            Instr::Add { .. } | Instr::Sub { .. } | Instr::Mul { .. }
        );
        if has_floats && (known_a.is(kind::FLOATS) || known_b.is(kind::FLOATS)) {
            let slow = self.exit_block(at);
            self.float_arithmetic(at, a, b, dst, slow);
            return Next::At(at + 1);
        }
        let (x, y) = (self.src(at, a), self.src(at, b));
        let small = known_a.may_be(kind::SMALL) && known_b.may_be(kind::SMALL);
        let fits = known_a.is(kind::SMALL)
            && known_b.is(kind::SMALL)
            && self.never_overflows(at, known_a, known_b);
        // With operands and result known to be small there is no slow path.
        let slow = if fits { None } else { Some(self.exit_block(at)) };
        let other = match slow {
            Some(slow) if has_floats && self.expects_floats(known_a, known_b) => {
                Some(self.later(move |translator| {
                    if translator.fact(at, a).may_be(kind::SMALL)
                        && translator.fact(at, b).may_be(kind::SMALL)
                    {
                        // Two small integers come here when their result is none: that is for big
                        // integers.
                        let both = translator.b.ins().band(x, y);
                        let low = translator.b.ins().band_imm_s(both, 0b01);
                        let some_float = translator.b.ins().icmp_imm_s(IntCC::Equal, low, 0);
                        translator.require(some_float, slow);
                    }
                    translator.float_arithmetic(at, a, b, dst, slow);
                    let next = translator.target(at + 1);
                    translator.b.ins().jump(next, &[]);
                }))
            }
            slow => slow,
        };
        if !small {
            self.b.ins().jump(other.expect("not both small"), &[]);
            return Next::End;
        }
        if let Some(other) = other {
            self.require_small(at, (a, x), (b, y), other);
        }
        let (known_a, known_b) = (self.fact(at, a), self.fact(at, b));
        let (min, max) = bounds(&self.code()[at as usize], known_a, known_b);
        let result = self.small_operation(at, (a, x), (b, y), slow);
        self.set(dst, result);
        self.facts.set(dst, within_small(min, max));
        Next::At(at + 1)
    }
    fn never_overflows(&self, at: u32, a: Fact, b: Fact) -> bool {
        let instr = &self.code()[at as usize];
        let (min, max) = bounds(instr, a, b);
        let defined = match instr {
            Instr::IntDiv { .. } | Instr::Rem { .. } => b.min > 0 || b.max < -1,
            Instr::Bsl { .. } | Instr::Bsr { .. } => b.min >= 0 && b.max < 62,
            _ => true,
        };
        defined && Fact::integer(min, max).is(kind::SMALL)
    }
    /// The operation on two words that hold small integers; to `slow` when the result is none.
    fn small_operation(
        &mut self,
        at: u32,
        a: (Src, Value),
        b: (Src, Value),
        slow: Option<Block>,
    ) -> Value {
        let (known_a, known_b) = (self.fact(at, a.0), self.fact(at, b.0));
        let slow = slow.filter(|_| !self.never_overflows(at, known_a, known_b));
        let (x, y) = (a.1, b.1);
        match self.code()[at as usize] {
            Instr::Add { .. } => match self.small_constant(at, b.0) {
                Some(value) => self.add_small(x, value, slow),
                None => {
                    let y = self.b.ins().band_imm_s(y, !layout::NUMBER_MASK);
                    let Some(slow) = slow else { return self.b.ins().iadd(x, y) };
                    let (sum, overflow) = self.b.ins().sadd_overflow(x, y);
                    self.require_not(overflow, slow);
                    sum
                }
            },
            Instr::Sub { .. } => match self.small_constant(at, b.0) {
                Some(value) => self.add_small(x, -value, slow),
                None => {
                    let y = self.b.ins().band_imm_s(y, !layout::NUMBER_MASK);
                    let Some(slow) = slow else { return self.b.ins().isub(x, y) };
                    let (difference, overflow) = self.b.ins().ssub_overflow(x, y);
                    self.require_not(overflow, slow);
                    difference
                }
            },
            Instr::Mul { .. } => {
                let x = self.b.ins().band_imm_s(x, !layout::NUMBER_MASK);
                let y = self.small_value(y);
                let product = match slow {
                    Some(slow) => {
                        let (product, overflow) = self.b.ins().smul_overflow(x, y);
                        self.require_not(overflow, slow);
                        product
                    }
                    None => self.b.ins().imul(x, y),
                };
                self.b.ins().bor_imm_s(product, layout::SMALL_TAG)
            }
            Instr::IntDiv { .. } | Instr::Rem { .. } => {
                let remainder = matches!(self.code()[at as usize], Instr::Rem { .. });
                if let Some(word) = self.power_of_two(at, known_a, b.0, remainder, x) {
                    return word;
                }
                let (x, y) = (self.small_value(x), self.small_value(y));
                if let Some(slow) = slow {
                    // Neither zero nor minus one, which may overflow.
                    let shifted = self.b.ins().iadd_imm_s(y, 1);
                    let fine = self.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThan, shifted, 1);
                    self.require(fine, slow);
                }
                let result =
                    if remainder { self.b.ins().srem(x, y) } else { self.b.ins().sdiv(x, y) };
                self.tag_small(result)
            }
            Instr::Band { .. } => self.b.ins().band(x, y),
            Instr::Bor { .. } => self.b.ins().bor(x, y),
            Instr::Bxor { .. } => {
                let word = self.b.ins().bxor(x, y);
                self.b.ins().bor_imm_s(word, layout::SMALL_TAG)
            }
            Instr::Bsr { .. } => {
                let shift = self.shift(y, slow);
                let shifted = self.b.ins().sshr(x, shift);
                self.b.ins().bor_imm_s(shifted, layout::SMALL_TAG)
            }
            Instr::Bsl { .. } => {
                let shift = self.shift(y, slow);
                let bare = self.b.ins().band_imm_s(x, !layout::NUMBER_MASK);
                let shifted = self.b.ins().ishl(bare, shift);
                if let Some(slow) = slow {
                    let back = self.b.ins().sshr(shifted, shift);
                    let same = self.b.ins().icmp(IntCC::Equal, back, bare);
                    self.require(same, slow);
                }
                self.b.ins().bor_imm_s(shifted, layout::SMALL_TAG)
            }
            ref other => unreachable!("no arithmetic: {other:?}"),
        }
    }
    /// How far to shift: to `slow` when it is not within a word.
    fn shift(&mut self, word: Value, slow: Option<Block>) -> Value {
        let shift = self.small_value(word);
        if let Some(slow) = slow {
            let fine = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, shift, 62);
            self.require(fine, slow);
        }
        shift
    }
    /// Division of what is not negative by a constant power of two.
    fn power_of_two(
        &mut self,
        at: u32,
        known: Fact,
        divisor: Src,
        remainder: bool,
        x: Value,
    ) -> Option<Value> {
        let divisor = self
            .small_constant(at, divisor)
            .filter(|&divisor| divisor > 0 && divisor.count_ones() == 1 && known.min >= 0)?;
        Some(if remainder {
            self.b.ins().band_imm_s(x, (divisor - 1) << layout::SMALL_SHIFT | layout::SMALL_TAG)
        } else {
            let shifted = self.b.ins().ushr_imm_s(x, i64::from(divisor.trailing_zeros()));
            self.b.ins().bor_imm_s(shifted, layout::SMALL_TAG)
        })
    }
    pub(crate) fn small_constant(&self, at: u32, src: Src) -> Option<i64> {
        self.constant_term(at, src)?.as_small()
    }
    pub(crate) fn constant_term(&self, at: u32, src: Src) -> Option<Term> {
        // SAFETY: a constant of the module's pool.
        Some(unsafe { Term::from_raw(self.constant(at, src)?) })
    }
    /// A small integer and a constant.
    fn add_small(&mut self, x: Value, value: i64, slow: Option<Block>) -> Value {
        let sum = self.b.ins().iadd_imm_s(x, value << 2);
        if let Some(slow) = slow
            && value != 0
        {
            // It has come round when it went the other way.
            let right = if value > 0 { IntCC::SignedGreaterThan } else { IntCC::SignedLessThan };
            let fine = self.b.ins().icmp(right, sum, x);
            self.require(fine, slow);
        }
        sum
    }
    /// A register and a constant.
    pub(crate) fn add_constant(&mut self, at: u32, src: Src, value: i32, dst: Dst) -> Next {
        let x = self.src(at, src);
        let known = self.fact(at, src);
        let sum_of = |fact: Fact| {
            (i128::from(fact.min) + i128::from(value), i128::from(fact.max) + i128::from(value))
        };
        let fits = |fact: Fact| {
            fact.is(kind::SMALL) && Fact::integer(sum_of(fact).0, sum_of(fact).1).is(kind::SMALL)
        };
        let slow = (!fits(known)).then(|| self.exit_block(at));
        if !known.is(kind::SMALL) {
            let small = self.is_small(x);
            self.require(small, slow.expect("it does not fit"));
            self.facts.learn(src, Fact::of(kind::SMALL));
        }
        let known = self.fact(at, src);
        let sum = self.add_small(x, value.into(), slow.filter(|_| !fits(known)));
        let (min, max) = sum_of(known);
        self.set(dst, sum);
        self.facts.set(dst, within_small(min, max));
        Next::At(at + 1)
    }

    // ---- Floats ----

    /// The float that an operand is, if it is one held in a word or a machine register; else to
    /// `slow`.
    pub(crate) fn float(&mut self, at: u32, src: Src, slow: Block) -> Value {
        if let Some(float) = self.float_in(src) {
            return float;
        }
        // SAFETY: a constant of the module's pool.
        if let Some(float) =
            self.constant(at, src).and_then(|raw| unsafe { Term::from_raw(raw) }.as_float())
        {
            return self.b.ins().f64const(float);
        }
        let word = self.src(at, src);
        if !self.fact(at, src).is(kind::FLOAT) {
            let is_float = self.tag_is(word, layout::NUMBER_MASK, layout::FLOAT_TAG);
            self.require(is_float, slow);
            self.facts.learn(src, Fact::of(kind::FLOAT));
        }
        let float = self.decode_float(word);
        self.is_also_float(src, float);
        float
    }
    /// The number that an operand is as a float, if it is small or a float; else to `slow`.
    pub(crate) fn number_as_float(&mut self, at: u32, src: Src, slow: Block) -> Value {
        if let Some(constant) = self.constant(at, src) {
            // SAFETY: a constant of the module's pool.
            let term = unsafe { Term::from_raw(constant) };
            let known = term
                .as_small()
                .map(|small| small as f64)
                .or_else(|| term.is_float_immediate().then(|| term.float_immediate_value()));
            if let Some(float) = known {
                return self.b.ins().f64const(float);
            }
        }
        let known = self.fact(at, src);
        if known.is(kind::FLOAT) || known.place.has_float() {
            return self.float(at, src, slow);
        }
        let word = self.src(at, src);
        if known.is(kind::SMALL) {
            let number = self.small_value(word);
            return self.b.ins().fcvt_from_sint(F64, number);
        }
        let (float, other, boxed, done) = (
            self.b.create_block(),
            self.b.create_block(),
            self.cold_block(),
            self.b.create_block(),
        );
        self.b.append_block_param(done, F64);
        let is_float = self.tag_is(word, layout::NUMBER_MASK, layout::FLOAT_TAG);
        self.branch(is_float, float, other);
        self.b.switch_to_block(other);
        let small = self.is_small(word);
        self.require(small, boxed);
        let number = self.small_value(word);
        let converted = self.b.ins().fcvt_from_sint(F64, number);
        self.b.ins().jump(done, &[BlockArg::Value(converted)]);
        self.b.switch_to_block(boxed);
        let bits = self.ask(Question::BoxedFloat, word, word);
        let none = self.b.ins().icmp_imm_s(IntCC::Equal, bits, NO_FLOAT as i64);
        self.require_not(none, slow);
        let loaded = self.b.ins().bitcast(F64, MemFlags::new(), bits);
        self.b.ins().jump(done, &[BlockArg::Value(loaded)]);
        self.b.switch_to_block(float);
        let decoded = self.decode_float(word);
        self.b.ins().jump(done, &[BlockArg::Value(decoded)]);
        self.b.switch_to_block(done);
        self.b.block_params(done)[0]
    }
    /// An operation of floats, or of a float and a small integer; the rest goes to `slow`.
    fn float_arithmetic(&mut self, at: u32, a: Src, b: Src, dst: Dst, slow: Block) {
        let small = [a, b].map(|src| self.fact(at, src).may_be(kind::SMALL));
        let (x, y) = match small {
            // The other operand is probably a float as well, and in a float register from now on.
            [true, true]
                if self.fact(at, a).may_be(kind::FLOATS)
                    && self.fact(at, b).may_be(kind::FLOATS) =>
            {
                let mixed = self.later(move |translator| {
                    let (x, y) = (
                        translator.number_as_float(at, a, slow),
                        translator.number_as_float(at, b, slow),
                    );
                    translator.float_operation_of(at, x, y, dst, slow);
                    let next = translator.target(at + 1);
                    translator.b.ins().jump(next, &[]);
                });
                (self.float(at, a, mixed), self.float(at, b, mixed))
            }
            _ => (self.number_as_float(at, a, slow), self.number_as_float(at, b, slow)),
        };
        self.float_operation_of(at, x, y, dst, slow);
    }
    fn float_operation_of(&mut self, at: u32, x: Value, y: Value, dst: Dst, slow: Block) {
        let value = match self.code()[at as usize] {
            Instr::Add { .. } => self.b.ins().fadd(x, y),
            Instr::Sub { .. } => self.b.ins().fsub(x, y),
            _ => self.b.ins().fmul(x, y),
        };
        self.require_finite(value, slow);
        self.set_float(dst, value);
    }
    /// Goes on here with what is a number.
    fn require_finite(&mut self, value: Value, other: Block) {
        // What is infinite, or no number, has no difference to itself.
        let nothing = self.b.ins().fsub(value, value);
        let finite = self.b.ins().fcmp(FloatCC::Equal, nothing, nothing);
        self.require(finite, other);
    }
    /// `a / b`.
    pub(crate) fn divide(&mut self, at: u32, a: Src, b: Src, dst: Dst) -> Next {
        let slow = self.exit_block(at);
        let (x, y) = (self.number_as_float(at, a, slow), self.number_as_float(at, b, slow));
        let value = self.b.ins().fdiv(x, y);
        // By zero it is infinite, or none.
        self.require_finite(value, slow);
        self.set_float(dst, value);
        Next::At(at + 1)
    }
    pub(crate) fn load_float(&mut self, at: u32, src: Src, to: u16) -> Next {
        self.whole(at, src);
        let slow = self.float_exit_block(at);
        let known = self.fact(at, src);
        let is_open = known.may_be(kind::FLOAT)
            && !known.is(kind::FLOATS)
            && self.constant(at, src).is_none();
        let anew = if is_open { self.float_run_anew() } else { None };
        let value = match anew {
            Some(anew) => self.float(at, src, anew),
            None => self.number_as_float(at, src, slow),
        };
        self.def_f(to, value);
        Next::At(at + 1)
    }
    pub(crate) fn store_float(&mut self, from: u16, dst: Dst) {
        let value = self.use_f(from);
        self.set_float(dst, value);
    }
    /// The float in a word known to hold one.
    fn decode_float(&mut self, word: Value) -> Value {
        let (zero, done) = (self.cold_block(), self.b.create_block());
        self.b.append_block_param(done, I64);
        let turned = self.b.ins().rotr_imm_s(word, 3);
        let bits = self.b.ins().iadd_imm_s(turned, (Term::FLOAT_BIAS as i64).wrapping_neg());
        let is_zero =
            self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, word, Term::FLOAT_ZEROES_END as i64);
        self.b.ins().brif(is_zero, zero, &[], done, &[BlockArg::Value(bits)]);
        self.b.switch_to_block(zero);
        // Bit 2 of a zero is its sign.
        let sign = self.b.ins().ishl_imm_s(word, 61);
        let sign = self.b.ins().band_imm_s(sign, i64::MIN);
        self.b.ins().jump(done, &[BlockArg::Value(sign)]);
        self.b.switch_to_block(done);
        let bits = self.b.block_params(done)[0];
        self.b.ins().bitcast(F64, MemFlags::new(), bits)
    }
    /// The word of a float, held in it or boxed.
    pub(crate) fn encode_float(&mut self, value: Value) -> Value {
        let bits = self.b.ins().bitcast(I64, MemFlags::new(), value);
        let (rare, done) = (self.cold_block(), self.b.create_block());
        self.b.append_block_param(done, I64);
        // Without its sign, it is within a range: see `Term::FLOATS_FROM`.
        let doubled = self.b.ins().ishl_imm_s(bits, 1);
        let distance = self.b.ins().iadd_imm_s(doubled, (Term::FLOATS_FROM as i64).wrapping_neg());
        let common =
            self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, distance, Term::FLOATS_RANGE as i64);
        let biased = self.b.ins().iadd_imm_s(bits, Term::FLOAT_BIAS as i64);
        let word = self.b.ins().rotl_imm_s(biased, 3);
        self.b.ins().brif(common, done, &[BlockArg::Value(word)], rare, &[]);
        self.b.switch_to_block(rare);
        let is_zero = self.b.ins().icmp_imm_s(IntCC::Equal, doubled, 0);
        let boxed = self.cold_block();
        self.require(is_zero, boxed);
        let sign = self.b.ins().ushr_imm_s(bits, 61);
        let word = self.b.ins().bor_imm_s(
            sign,
            Term::float_immediate(0.0).expect("zero is held in the word").raw() as i64,
        );
        self.b.ins().jump(done, &[BlockArg::Value(word)]);
        self.b.switch_to_block(boxed);
        let made = self.assisted(self.source.assists.float as usize, &[bits]);
        self.b.ins().jump(done, &[BlockArg::Value(made)]);
        self.b.switch_to_block(done);
        self.b.block_params(done)[0]
    }
    /// The result of an operation of F registers.
    pub(crate) fn float_operation(&mut self, at: u32, value: Value, to: u16) -> Next {
        // The interpreter raises.
        let other = self.float_exit_block(at);
        // In a run that is all done again, the interpreter finds the first that is not finite.
        if !(self.has_float_exit() && self.is_taken_up(at, to)) {
            self.require_finite(value, other);
        }
        self.def_f(to, value);
        Next::At(at + 1)
    }
    /// Whether another operation of the same run takes up the result of one, whose own result is
    /// not finite when that is not: every sum, difference and product with it, and what it is
    /// divided by something.
    fn is_taken_up(&self, at: u32, result: u16) -> bool {
        let run = (at + 1..).take_while(|&next| !self.flow().is_target(next));
        for next in run {
            let (taken, written) = match self.code()[next as usize] {
                Instr::FloatAdd { a, b, to }
                | Instr::FloatSub { a, b, to }
                | Instr::FloatMul { a, b, to } => (a == result || b == result, to),
                Instr::FloatDiv { a, to, .. } => (a == result, to),
                Instr::LoadFloat { to, .. }
                | Instr::MoveFloat { to, .. }
                | Instr::FloatNeg { to, .. } => (false, to),
                _ => return false,
            };
            if taken || written == result {
                return taken;
            }
        }
        false
    }

    // ---- Tests of numbers ----

    /// `is_integer`, `is_float`, `is_number`: of the kinds held in words first, then what is boxed.
    pub(crate) fn test_number(
        &mut self,
        at: u32,
        src: Src,
        fail: i32,
        immediate: u16,
        boxed: u16,
    ) -> Next {
        let known = self.fact(at, src);
        let fail = self.relative(at, fail);
        if known.is(immediate | boxed) {
            return Next::At(at + 1);
        }
        if !known.may_be(immediate | boxed) {
            return self.go_to(fail, at);
        }
        let value = self.src(at, src);
        let (mask, tag) = match immediate {
            kind::SMALL => (layout::NUMBER_MASK, layout::SMALL_TAG),
            kind::FLOAT => (layout::NUMBER_MASK, layout::FLOAT_TAG),
            // Small integers and floats in words have the higher tag bit.
            _ => (0b10, 0b10),
        };
        let subtags: &'static [Subtag] = match immediate {
            kind::SMALL => &[Subtag::BigPos, Subtag::BigNeg],
            kind::FLOAT => &[Subtag::Float],
            _ => &[Subtag::BigPos, Subtag::BigNeg, Subtag::Float],
        };
        let other = self.later(move |translator| {
            let is_boxed = translator.is_boxed(value);
            let before = translator.facts.clone();
            translator.facts.learn(src, Fact::of(kind::ANY & !(immediate | boxed)));
            let no = translator.target(fail);
            translator.facts = before;
            translator.require(is_boxed, no);
            let has = translator.has_subtag(value, subtags);
            translator.facts.learn(src, Fact::of(boxed));
            let yes = translator.target(at + 1);
            translator.branch(has, yes, no);
        });
        let is = self.tag_is(value, mask, tag);
        self.require(is, other);
        self.facts.learn(src, Fact::of(immediate));
        Next::At(at + 1)
    }
}

/// What is known of a result that is small, and lies between bounds.
fn within_small(min: i128, max: i128) -> Fact {
    let all = Fact::of(kind::SMALL);
    let (min, max) = (min.max(all.min.into()), max.min(all.max.into()));
    if min > max { all } else { Fact { min: min as i64, max: max as i64, ..all } }
}

/// Bounds of an operation on small integers.
fn bounds(instr: &Instr, a: Fact, b: Fact) -> (i128, i128) {
    let corners = |operation: fn(i128, i128) -> i128| {
        let all = [(a.min, b.min), (a.min, b.max), (a.max, b.min), (a.max, b.max)]
            .map(|(x, y)| operation(x.into(), y.into()));
        (all.into_iter().min().expect("four"), all.into_iter().max().expect("four"))
    };
    // All bits that the larger one may have.
    let filled = |max: i64| i128::from(((max as u64 + 1).next_power_of_two()) - 1);
    let widest = i128::from(SMALL_MAX) + 1;
    let magnitude = i128::from(a.min).abs().max(i128::from(a.max).abs());
    match instr {
        Instr::Add { .. } => corners(|x, y| x + y),
        Instr::Sub { .. } => corners(|x, y| x - y),
        Instr::Mul { .. } => corners(|x, y| x * y),
        Instr::IntDiv { .. } if a.min >= 0 && b.min > 0 => (0, a.max.into()),
        Instr::IntDiv { .. } => (-magnitude, magnitude),
        Instr::Rem { .. } => {
            let divisor = i128::from(b.min).abs().max(i128::from(b.max).abs()) - 1;
            let most = magnitude.min(divisor.max(0));
            (if a.min >= 0 { 0 } else { -most }, if a.max <= 0 { 0 } else { most })
        }
        Instr::Band { .. } => match (a.min >= 0, b.min >= 0) {
            (true, true) => (0, a.max.min(b.max).into()),
            (true, false) => (0, a.max.into()),
            (false, true) => (0, b.max.into()),
            (false, false) => (-widest, widest - 1),
        },
        Instr::Bor { .. } | Instr::Bxor { .. } if a.min >= 0 && b.min >= 0 => {
            (0, filled(a.max.max(b.max)))
        }
        Instr::Bor { .. } | Instr::Bxor { .. } => (-widest, widest - 1),
        Instr::Bsr { .. } => {
            (i128::from(a.min).min(0), i128::from(a.max).max(0) >> b.min.clamp(0, 62))
        }
        Instr::Bsl { .. } if b.min >= 0 && b.max < 62 => corners(|x, y| x << y),
        _ => (-widest * 4, widest * 4),
    }
}
