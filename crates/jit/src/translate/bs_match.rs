//! `bs_match` in machine code: many fields behind one check of what is left, each read where it
//! lies.
//!
//! Nothing here leaves the piece once something has been changed: where there is no room for what
//! is allocated, an assist allocates it, which always succeeds. So registers are written as the
//! steps come, and only the context's position is written later: before the assist that reads long
//! integers, at the place that a failed step leads to, or before the next instruction.

use crate::plan::facts::{Fact, kind, register};
use crate::translate::{I64, Next, Translator};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Value};
use swarmrt_beam::instr::{Dst, FLAG_LITTLE, FLAG_SIGNED, Instr, MatchPlan, MatchStep, Src};
use swarmrt_term::Term;

/// Bits that are read into one machine register.
const WORD_BITS: usize = 64;
/// Displacements of bytes stay far below what an address takes, and every integer below the
/// largest.
const PLAN_BITS_MAX: usize = 1 << 20;
/// More would be much code for what is hardly a loop.
const STEPS_MAX: usize = 64;
/// The sizes of integers that are small whatever their bits are.
const UNSIGNED_SMALL_BITS: usize = 61;
const SIGNED_SMALL_BITS: usize = 62;

/// How far a `bs_match` has come.
struct Run {
    at: u32,
    fail: i32,
    context: Value,
    /// The position that it began at, and how many bits were left from there.
    begin: Value,
    left: Value,
    /// Whether it began on a byte.
    aligned: bool,
    /// The address of that byte, or of the data's first where it need not have begun on one; none
    /// before something is read.
    bytes: Option<Value>,
    /// Bits that the steps have taken.
    taken: usize,
    /// Bits from the beginning on that are known to be there.
    checked: usize,
    /// The bits taken by the position that the context itself has; none where that depends on the
    /// way.
    stored: Option<usize>,
}

/// Whether an integer of so many bits is read without help.
fn is_read_in_place(bits: usize, flags: u8) -> bool {
    (1..=WORD_BITS).contains(&bits)
        && (bits <= 8 || bits.is_multiple_of(8) || flags & FLAG_LITTLE == 0)
}

fn bits_taken(plan: &MatchPlan) -> Option<usize> {
    plan.steps.iter().try_fold(0usize, |sum, step| match *step {
        MatchStep::Binary { bits, .. }
        | MatchStep::Integer { bits, .. }
        | MatchStep::Skip { bits }
        | MatchStep::Equals { bits, .. } => sum.checked_add(bits),
        MatchStep::EnsureAtLeast { .. }
        | MatchStep::EnsureExactly { .. }
        | MatchStep::GetTail { .. } => Some(sum),
    })
}

fn reads_in_place(plan: &MatchPlan) -> bool {
    plan.steps.iter().any(|step| match *step {
        MatchStep::Integer { bits, flags, .. } => is_read_in_place(bits, flags),
        MatchStep::Equals { .. } => true,
        _ => false,
    })
}

impl Translator<'_, '_> {
    pub(crate) fn bs_match(&mut self, at: u32, plan: &MatchPlan) -> Next {
        let taken =
            bits_taken(plan).filter(|&bits| bits <= PLAN_BITS_MAX && plan.steps.len() <= STEPS_MAX);
        let comparable = plan.steps.iter().all(|step| match *step {
            MatchStep::Equals { bits, value } => {
                (1..=WORD_BITS).contains(&bits) && self.wanted_bits(at, value).is_some()
            }
            _ => true,
        });
        let (Some(taken), Some(register), true) = (taken, register(plan.context), comparable)
        else {
            return self.slow(at);
        };
        let (context, _) = self.context(at, register);
        let (begin, left) = self.offset_and_left(context);
        let fail = plan.fail;
        let run = move |aligned| Run {
            at,
            fail,
            context,
            begin,
            left,
            aligned,
            bytes: None,
            taken: 0,
            checked: 0,
            stored: Some(0),
        };
        // A step that takes whole bytes mostly begins at a whole byte.
        if !taken.is_multiple_of(8) || !reads_in_place(plan) {
            self.match_steps(plan, run(false));
            return Next::At(at + 1);
        }
        let other = self.later(move |translator| {
            let Instr::BsMatch { plan } = translator.code()[at as usize] else {
                unreachable!("asked for by one")
            };
            translator.match_steps(&plan, run(false));
            let next = translator.target(at + 1);
            translator.b.ins().jump(next, &[]);
        });
        self.require_aligned(begin, other);
        self.match_steps(plan, run(true));
        self.join(at + 1)
    }

    fn match_steps(&mut self, plan: &MatchPlan, mut run: Run) {
        for step in &plan.steps {
            match *step {
                MatchStep::EnsureAtLeast { bits, unit } => {
                    self.require_more(&mut run, bits);
                    self.require_units(&run, bits, unit);
                }
                MatchStep::EnsureExactly { bits } => {
                    let end = run.taken + bits;
                    let exactly = self.b.ins().icmp_imm_s(IntCC::Equal, run.left, end as i64);
                    let fail = self.unmatched(&run);
                    self.require(exactly, fail);
                    run.checked = run.checked.max(end);
                }
                MatchStep::Skip { bits } => {
                    self.require_more(&mut run, bits);
                    run.taken += bits;
                }
                MatchStep::Integer { bits, flags, dst } => {
                    self.require_more(&mut run, bits);
                    self.match_integer(&mut run, bits, flags, dst);
                }
                MatchStep::Equals { bits, value } => {
                    self.require_more(&mut run, bits);
                    let (found, wanted) = (
                        self.bits_at(&mut run, bits),
                        self.wanted_bits(run.at, value).expect("asked before"),
                    );
                    let wanted = self.word(wanted);
                    let same = self.b.ins().icmp(IntCC::Equal, found, wanted);
                    // What was compared counts as taken, whether it is the same or not.
                    run.taken += bits;
                    let fail = self.unmatched(&run);
                    self.require(same, fail);
                }
                MatchStep::Binary { bits, dst } => {
                    self.require_more(&mut run, bits);
                    let (offset, bits_word) = (self.position(&run), self.word(bits as u64));
                    let part = self.part(run.context, offset, bits_word);
                    self.set_known(dst, part, Fact::of(kind::BITS));
                    run.taken += bits;
                }
                MatchStep::GetTail { dst } => {
                    let (offset, left) = (
                        self.position(&run),
                        self.b.ins().iadd_imm_s(run.left, -(run.taken as i64)),
                    );
                    let tail = self.part(run.context, offset, left);
                    self.set_known(dst, tail, Fact::of(kind::BITS));
                }
            }
        }
        self.store_position(&mut run);
    }

    /// Where a step leads that does not match: the context has moved as far as the steps have come.
    fn unmatched(&mut self, run: &Run) -> Block {
        let fail = self.target(self.relative(run.at, run.fail));
        if run.stored == Some(run.taken) {
            return fail;
        }
        let here = self.b.current_block().expect("translating");
        let edge = self.b.create_block();
        self.b.switch_to_block(edge);
        self.move_to(run.context, run.begin, run.taken as u32);
        self.b.ins().jump(fail, &[]);
        self.b.switch_to_block(here);
        edge
    }
    /// Behind what was taken.
    fn position(&mut self, run: &Run) -> Value {
        if run.taken == 0 {
            run.begin
        } else {
            self.b.ins().iadd_imm_s(run.begin, run.taken as i64)
        }
    }
    fn store_position(&mut self, run: &mut Run) {
        if run.stored != Some(run.taken) {
            self.move_to(run.context, run.begin, run.taken as u32);
            run.stored = Some(run.taken);
        }
    }
    /// Goes on here when there are so many bits more, which is asked once for all that is covered
    /// by it.
    fn require_more(&mut self, run: &mut Run, bits: usize) {
        let end = run.taken + bits;
        if end > run.checked {
            let enough =
                self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, run.left, end as i64);
            let fail = self.unmatched(run);
            self.require(enough, fail);
            run.checked = end;
        }
    }
    /// Goes on here when behind so many bits more there are whole units.
    fn require_units(&mut self, run: &Run, bits: usize, unit: usize) {
        if unit <= 1 {
            return;
        }
        let behind = self.b.ins().iadd_imm_s(run.left, -((run.taken + bits) as i64));
        let rest = self.rest_of(behind, unit as i64);
        let whole = self.b.ins().icmp_imm_s(IntCC::Equal, rest, 0);
        let fail = self.unmatched(run);
        self.require(whole, fail);
    }

    fn match_integer(&mut self, run: &mut Run, bits: usize, flags: u8, dst: Dst) {
        if !is_read_in_place(bits, flags) {
            let number = self.assisted_integer(run, bits, flags);
            run.stored = Some(run.taken + bits);
            run.taken += bits;
            return self.set_known(dst, number, Fact::of(kind::INTEGER));
        }
        let signed = flags & FLAG_SIGNED != 0;
        let mut number = self.bits_at(run, bits);
        let above = (WORD_BITS - bits) as i64;
        if bits > 8 && flags & FLAG_LITTLE != 0 {
            let swapped = self.b.ins().bswap(number);
            number = if above == 0 { swapped } else { self.b.ins().ushr_imm_s(swapped, above) };
        }
        if signed && above > 0 {
            let highest = self.b.ins().ishl_imm_s(number, above);
            number = self.b.ins().sshr_imm_s(highest, above);
        }
        let word = if bits <= if signed { SIGNED_SMALL_BITS } else { UNSIGNED_SMALL_BITS } {
            self.tag_small(number)
        } else {
            self.small_or_big(run, number, bits, flags)
        };
        run.taken += bits;
        let fact = if signed {
            Fact::integer(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        } else {
            Fact::integer(0, (1 << bits) - 1)
        };
        self.set_known(dst, word, fact);
    }
    /// The integer that was read, or the same as a big one.
    fn small_or_big(&mut self, run: &mut Run, number: Value, bits: usize, flags: u8) -> Value {
        let least = if flags & FLAG_SIGNED != 0 { Term::SMALL_MIN } else { 0 };
        let above_least = self.b.ins().iadd_imm_s(number, least.wrapping_neg());
        let most = self.word((Term::SMALL_MAX - least) as u64);
        let fits = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, above_least, most);
        let (big, done) = (self.b.create_block(), self.b.create_block());
        let result = self.b.append_block_param(done, I64);
        let word = self.tag_small(number);
        self.b.ins().brif(fits, done, &[BlockArg::Value(word)], big, &[] as &[BlockArg]);
        self.b.switch_to_block(big);
        let made = self.assisted_integer(run, bits, flags);
        self.b.ins().jump(done, &[BlockArg::Value(made)]);
        self.b.switch_to_block(done);
        run.stored = None;
        result
    }
    /// Has the integer made that comes next; the context has moved past it then.
    fn assisted_integer(&mut self, run: &mut Run, bits: usize, flags: u8) -> Value {
        self.store_position(run);
        let (bits, flags) = (self.word(bits as u64), self.word(flags.into()));
        self.assisted(self.source.assists.get_integer as usize, &[run.context, bits, flags])
    }

    /// The bits that a constant stands for, if it is one of up to 64.
    fn wanted_bits(&self, at: u32, value: Src) -> Option<u64> {
        let constant = self.constant_term(at, value)?;
        if let Some(small) = constant.as_small() {
            return u64::try_from(small).ok();
        }
        let big = constant.as_big()?;
        if let (&[digit], false) = (big.digits(), big.is_negative()) { Some(digit) } else { None }
    }
    /// The next bits of the run as a number, the first the highest.
    fn bits_at(&mut self, run: &mut Run, bits: usize) -> Value {
        if run.aligned {
            let address = *run.bytes.get_or_insert_with(|| self.address_in(run.context, run.begin));
            return self.bits_behind(address, run.taken, bits, run.checked);
        }
        let data = *run.bytes.get_or_insert_with(|| self.data_of(run.context));
        let offset = self.position(run);
        let bytes = self.b.ins().ushr_imm_s(offset, 3);
        let address = self.b.ins().iadd(data, bytes);
        self.bits_within(address, offset, bits as u32, (run.checked - run.taken) as u32)
    }
    /// The bits that lie `from` bits behind a byte, behind which there are `checked` in all.
    fn bits_behind(&mut self, address: Value, from: usize, bits: usize, checked: usize) -> Value {
        let (first, end) = (from / 8, (from + bits).div_ceil(8));
        let bytes = end - first;
        let lowest = |translator: &mut Self, number: Value| {
            if bits == WORD_BITS {
                number
            } else {
                translator.b.ins().band_imm_s(number, ((1u64 << bits) - 1) as i64)
            }
        };
        if bytes > 8 {
            let (high, last) = (
                self.load_number(address, first as i32, 8),
                self.load_number(address, first as i32 + 8, 1),
            );
            let in_last = ((from + bits) % 8) as i64;
            let (high, low) = (
                self.b.ins().ishl_imm_s(high, in_last),
                self.b.ins().ushr_imm_s(last, 8 - in_last),
            );
            let number = self.b.ins().bor(high, low);
            return lowest(self, number);
        }
        // One load, of more than is wanted where that is known to be there: behind, or else before.
        let width = bytes.next_power_of_two();
        let (at, loaded) = if (first + width) * 8 <= checked {
            (first, width)
        } else if end >= width {
            (end - width, width)
        } else {
            (first, bytes)
        };
        let number = self.load_number(address, at as i32, loaded as i32);
        let below = (at + loaded) * 8 - (from + bits);
        let number =
            if below == 0 { number } else { self.b.ins().ushr_imm_s(number, below as i64) };
        if at * 8 == from { number } else { lowest(self, number) }
    }
}
