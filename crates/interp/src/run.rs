//! The main loop.
//!
//! The machine state lives in local variables while a process runs: instruction pointer, heap top,
//! stack pointer, reductions. They are written back (`sync!`) before anything outside the loop may
//! look at the process, and read again (`reload!`) after it may have changed.

use swarmrt_beam::instr::{Dst, Instr, Src, Utf, stored_unit};
use swarmrt_beam::specialise::CellKind;
use swarmrt_engine::Tier;
use swarmrt_engine::cell::{cell_code, code_before, is_entry};
use swarmrt_engine::runtime::assists::StepFn;
use swarmrt_engine::runtime::operations::{self, FunCall, Op};
use swarmrt_engine::runtime::{binaries, bit_syntax, records};
use swarmrt_engine::state::{Exit, NativeState, Registers, SCRATCH_WORDS};
use swarmrt_heap::process_heap::SLACK_WORDS;
use swarmrt_machine::code::Export;
use swarmrt_machine::code::natives::NativeSlot;
use swarmrt_machine::process::exception::Top;
use swarmrt_machine::process::saved_calls::SavedCall;
use swarmrt_machine::schedule::Outcome;
use swarmrt_machine::{BifExit, Process, signal};
use swarmrt_term::release::{self, Release};
use swarmrt_term::{Alloc, Bits, Header, Mfa, Subtag, Term, am, map};

/// Whether every safepoint collects.
const STRESS: bool = cfg!(feature = "stress");

/// A small integer's word is the integer shifted left by [`SMALL_SHIFT`], with this tag below it.
const SMALL_TAG: i64 = 0b11;
const SMALL_SHIFT: u32 = 2;
const _: () = assert!(Term::small(-5).raw() as i64 == -5 << SMALL_SHIFT | SMALL_TAG);

/// The word of a small integer.
#[inline(always)]
fn small_bits(term: Term) -> i64 {
    term.raw() as i64
}

/// The word without its tag.
#[inline(always)]
fn scaled(term: Term) -> i64 {
    small_bits(term) & !SMALL_TAG
}

/// The small integer whose word was computed, unless that overflowed.
///
/// # Safety
/// The two low bits of the word are [`SMALL_TAG`].
#[inline(always)]
unsafe fn unless_overflow((bits, overflow): (i64, bool)) -> Option<Term> {
    // SAFETY: any bits above the tag are a small integer.
    (!overflow).then(|| unsafe { Term::from_raw(bits as u64) })
}

/// `value bsl shift`, where that is small and the shift goes to the left.
#[inline(always)]
fn shifted_left(value: i64, shift: i64) -> Option<Term> {
    if !(0..62).contains(&shift) {
        return None;
    }
    let shifted = value << shift;
    (shifted >> shift == value && Term::fits_small(shifted)).then(|| Term::small(shifted))
}

/// Whether the operand is written in the code.
#[inline(always)]
fn is_constant(src: Src) -> bool {
    matches!(src.kind(), Src::KIND_SMALL | Src::KIND_CONST)
}

/// Executes the one instruction at `ip` with the state in the registers, for machine code. See
/// [`StepFn`].
///
/// # Safety
/// As for [`Engine::run`]; the state in the registers is that at `ip`.
pub unsafe extern "C-unwind" fn step(registers: *mut Registers, ip: *const Instr) -> *const Instr {
    // SAFETY: the caller's; while machine code runs, nobody else holds the process or the
    // registers.
    unsafe {
        let p = &mut *(*registers).native.process;
        (*registers).native.ip = ip;
        match run::<true, false>(None, p, &mut *registers) {
            Left::Stepped => (*registers).native.ip,
            // A handler is the interpreter's: more X registers are alive there than where a call
            // returns.
            Left::Caught => {
                (*registers).native.outcome = None;
                std::ptr::null()
            }
            Left::Turn(outcome) => {
                (*registers).native.outcome = Some(outcome);
                std::ptr::null()
            }
        }
    }
}

const _: StepFn = step;

/// How the loop was left.
pub(crate) enum Left {
    /// The turn is over, or the process is.
    Turn(Outcome),
    /// One instruction was executed, as asked.
    Stepped,
    /// It has raised an exception that is caught.
    Caught,
}

/// How the loop goes on after an instruction that could not simply go on to the next.
enum Leave {
    /// An exception was set.
    Raised,
    Outcome(Outcome),
}

/// Runs a process until it gives up the scheduler, in machine code where `native` has some; with
/// `STEP`, one instruction of it only. With `SAVE`, it runs no machine code, and the calls are noted
/// (`process_flag(save_calls, N)`).
///
/// # Safety
/// The process stands in verified code, with the registers that it needs saved (with `STEP`: in the
/// registers).
#[allow(clippy::too_many_lines, reason = "one arm an instruction")]
pub(crate) unsafe fn run<const STEP: bool, const SAVE: bool>(
    native: Option<&Tier>,
    p: &mut Process,
    registers: &mut Registers,
) -> Left {
    // SAFETY: throughout, the loader has proven that operands name existing registers, that frames
    // and allocations have the room that instructions use, and that jumps lead to instructions.
    unsafe {
        // Through a raw pointer: machine code works on the same registers.
        let registers: *mut Registers = registers;
        let x: *mut Term = (&raw mut (*registers).x).cast();
        let f: *mut f64 = (&raw mut (*registers).f).cast();
        let native = if STEP || SAVE { None } else { native };
        let mut ip: *const Instr;
        let mut top: *mut u64;
        let mut e: *mut Term;
        let mut reds: i32;
        // Reductions put aside to reach a safepoint soon.
        let mut deferred: i32 = 0;
        // Of the function that the turn before ended at, if it did so at one.
        let mut arguments = 0;
        if STEP {
            let state = &raw mut (*registers).native;
            ip = (*state).ip;
            top = (*state).top;
            e = (*state).stop.cast();
            reds = (*state).reductions as i32;
            deferred = (*state).deferred as i32;
        } else {
            if p.heap.wants_collection {
                let mut none: [Term; 0] = [];
                p.collect(0, &mut none, false);
                if p.exit_pending {
                    return Left::Turn(Outcome::Yield);
                }
            }
            p.saved.restore(&mut (*registers).x);
            arguments = p.saved.len();
            // Cleared so that a collection does not take stale words for roots.
            p.saved.save(&[]);
            (*registers).native.process = p;
            ip = p.ip;
            top = p.heap.top;
            e = p.heap.stop.cast();
            reds = p.reductions;
        }
        let mut stepped = false;

        macro_rules! sync {
            () => {{
                p.heap.top = top;
                p.heap.stop = e.cast();
                p.reductions = reds + deferred;
            }};
        }
        macro_rules! reload {
            () => {{
                top = p.heap.top;
                e = p.heap.stop.cast();
                // What was put aside stays so, so that calls of built-ins do not put off the next
                // sample.
                reds = p.reductions - deferred;
            }};
        }
        // Puts most of the turn aside, to have a look at what runs after the rest of it.
        macro_rules! slice {
            () => {
                let interval = (*registers).native.sample_interval_reductions;
                if native.is_some() && deferred == 0 && reds > interval {
                    deferred = reds - interval;
                    reds = interval;
                }
            };
        }
        // Reports what is running.
        macro_rules! sample {
            ($tier:expr, $arguments:expr) => {{
                let state: &mut NativeState = &mut (*registers).native;
                let wanted = $tier.sample(ip, $arguments, state.sample_weight());
                state.sampled(wanted);
            }};
        }
        macro_rules! sample_call {
            ($tier:expr, $arguments:expr) => {{
                let state: &mut NativeState = &mut (*registers).native;
                let wanted = $tier.sample_call(
                    ip,
                    $arguments,
                    state.sample_weight(),
                    *e.cast::<*const Instr>(),
                );
                state.sampled(wanted);
            }};
        }
        // Counts what takes no reductions, and reports what is running now and then.
        macro_rules! tick {
            ($tier:expr) => {{
                let state: &mut NativeState = &mut (*registers).native;
                if state.tick() {
                    sample!($tier, &[]);
                }
            }};
        }
        macro_rules! src {
            ($src:expr) => {{
                let src: Src = $src;
                if src.kind() == Src::KIND_SMALL {
                    Term::from_raw(i64::from(src.0 as i32) as u64)
                } else {
                    // Chosen without a jump: which kind comes next is not to be guessed here.
                    let register = std::hint::select_unpredictable(
                        src.0 & Src::KIND_Y != 0,
                        e.cast_const(),
                        x.cast_const(),
                    );
                    let base = std::hint::select_unpredictable(
                        src.0 & Src::KIND_CONST != 0,
                        ip.cast::<Term>(),
                        register,
                    );
                    *base.offset(src.offset())
                }
            }};
        }
        macro_rules! set {
            ($dst:expr, $value:expr) => {{
                let dst: Dst = $dst;
                let value: Term = $value;
                if dst.is_y() {
                    *e.add(dst.index()) = value;
                } else {
                    *x.add(dst.index()) = value;
                }
            }};
        }
        macro_rules! next {
            () => {{
                ip = ip.add(1);
                continue;
            }};
        }
        macro_rules! jump {
            ($distance:expr) => {{
                ip = ip.offset($distance as isize);
                continue;
            }};
        }
        macro_rules! room {
            () => {
                ((e as usize).wrapping_sub(top as usize) / 8) as isize - SLACK_WORDS as isize
            };
        }
        macro_rules! x_slice {
            ($count:expr) => {
                std::slice::from_raw_parts_mut(x, $count as usize)
            };
        }

        if !STEP {
            slice!();
            if let Some(tier) = native {
                tick!(tier);
            }
        }
        // Machine code to go on with, if the next place has some.
        let no_code = p.vm.code.no_code(CellKind::Entry);
        let no_code_span = p.vm.code.no_code(CellKind::Return) - no_code;
        // What has no code, and is no call either.
        let interpreted = no_code + no_code_span;
        // What the cells of functions with breakpoints hold.
        let breakpoint = p.vm.code.no_code(CellKind::Breakpoint);
        // Machine code to go on with for a function of `$arity` arguments that the end of a turn
        // had put off.
        macro_rules! resume {
            ($arity:expr) => {
                match native {
                    Some(tier) => match tier.re_entry(ip, x_slice!($arity)) {
                        0 => code_before(ip).unwrap_or(interpreted),
                        code => code,
                    },
                    None => code_before(ip).unwrap_or(interpreted),
                }
            };
        }
        let mut code: u64 = if STEP { interpreted } else { resume!(arguments) };
        p.is_past_breakpoint &= code == breakpoint;

        'run: loop {
            // Comes round at every place that may have machine code.
            let leave: Leave = 'exec: loop {
                macro_rules! leave {
                    ($outcome:expr) => {
                        break 'exec Leave::Outcome($outcome)
                    };
                }
                macro_rules! raise {
                    ($raise:expr) => {
                        raise!($raise, Top::Nothing)
                    };
                    ($raise:expr, $top:expr) => {{
                        let raise: BifExit = $raise;
                        sync!();
                        p.set_exception(raise, $top, ip as usize);
                        break 'exec Leave::Raised;
                    }};
                }
                macro_rules! raise_with {
                    ($tag:expr, $value:expr) => {{
                        let value = $value;
                        sync!();
                        let reason = p.tuple(&[Term::atom($tag), value]);
                        reload!();
                        raise!(BifExit::Error(reason));
                    }};
                }
                // Makes room, with the first `live` X registers alive.
                macro_rules! collect {
                    ($need:expr, $live:expr) => {{
                        sync!();
                        p.collect($need, x_slice!($live), false);
                        reload!();
                        if p.exit_pending {
                            p.saved.save(&[]);
                            leave!(Outcome::Yield);
                        }
                    }};
                }
                // After a slow path that may have allocated outside the block: reach a safepoint
                // soon.
                macro_rules! note_pressure {
                    () => {
                        if p.heap.wants_collection && reds > 0 {
                            deferred += reds;
                            reds = 0;
                        }
                    };
                }
                // The reductions are used up on the way to the function at `ip`. Reductions that
                // were deferred are used before the turn ends.
                macro_rules! turn_over {
                    ($arity:expr) => {{
                        if deferred > 0 {
                            reds += deferred;
                            deferred = 0;
                            if STRESS || p.heap.wants_collection {
                                if p.collects_apart() {
                                    sync!();
                                    p.saved.save(x_slice!($arity));
                                    p.ip = ip;
                                    leave!(Outcome::DirtyCpu);
                                }
                                collect!(0, $arity);
                            }
                            if let Some(tier) = native {
                                if matches!(*ip.sub(1), Instr::Cell { .. }) && is_entry(ip.sub(1)) {
                                    sample_call!(tier, x_slice!($arity));
                                } else {
                                    sample!(tier, x_slice!($arity));
                                }
                            }
                            slice!();
                        }
                        if reds <= 0 {
                            sync!();
                            p.saved.save(x_slice!($arity));
                            p.ip = ip;
                            leave!(Outcome::Yield);
                        }
                    }};
                }
                // Whether the first instruction of a function with a breakpoint is not over yet.
                macro_rules! is_past_breakpoint {
                    () => {
                        code_before(ip) == Some(breakpoint)
                    };
                }
                // Goes to a function, unless the turn is over.
                macro_rules! enter {
                    ($target:expr, $arity:expr) => {{
                        let target: *const Instr = $target;
                        reds -= 1;
                        ip = target;
                        if reds <= 0 && !STEP {
                            turn_over!($arity);
                        }
                        if !STEP {
                            code = cell_code(target.sub(1));
                        }
                        continue 'exec;
                    }};
                }
                // Returns to the cell on the stack.
                macro_rules! give_back {
                    () => {{
                        let cell = *e.cast::<*const Instr>();
                        ip = cell.add(1);
                        e = e.add(1);
                        if native.is_some() {
                            code = cell_code(cell);
                        }
                        continue 'exec;
                    }};
                }
                // Notes a call of a process with the flag `save_calls`.
                macro_rules! save {
                    ($call:expr) => {
                        if SAVE {
                            p.save_call($call);
                        }
                    };
                }
                macro_rules! save_export {
                    ($export:expr) => {
                        // What `erlang:apply/3` calls is noted when that applies it.
                        if SAVE && !operations::is_apply(Export::of($export).mfa) {
                            p.save_call(SavedCall::Call(Export::of($export).mfa));
                        }
                    };
                }
                macro_rules! push_return {
                    () => {{
                        e = e.sub(1);
                        *e.cast::<u64>() = ip.add(1) as u64;
                    }};
                }
                macro_rules! test {
                    ($condition:expr, $fail:expr) => {{
                        if $condition {
                            next!();
                        }
                        jump!($fail);
                    }};
                }
                // An operation that failed: to the guard's fail label, else raise.
                macro_rules! fail_or_raise {
                    ($raise:expr, $name:expr, $args:expr) => {{
                        let raise = $raise;
                        if let Instr::Fail { target } = *ip.add(1) {
                            ip = ip.add(1).offset(target as isize);
                            continue;
                        }
                        let args: &[Term] = $args;
                        let mfa =
                            Mfa { module: am::ERLANG, function: $name, arity: args.len() as u32 };
                        raise!(raise, Top::Bif { mfa, args, is_running: false });
                    }};
                }
                macro_rules! arithmetic {
                    ($op:expr, $a:expr, $b:expr, $dst:expr) => {{
                        let (a, b) = ($a, $b);
                        sync!();
                        let result = operations::slow_arithmetic(p, $op, a, b);
                        top = p.heap.top;
                        // Operations with large integers count as work.
                        reds = p.reductions - deferred;
                        match result {
                            Ok(value) => {
                                set!($dst, value);
                                note_pressure!();
                                next!();
                            }
                            Err(raise) => fail_or_raise!(raise, $op.name(), &[a, b]),
                        }
                    }};
                }
                // Adds or subtracts a constant of the code. Until OTP 25 the stack trace shows only
                // the function.
                macro_rules! arithmetic_with_constant {
                    ($op:expr, $a:expr, $b:expr, $dst:expr) => {{
                        let (a, b) = ($a, $b);
                        let guarded = matches!(*ip.add(1), Instr::Fail { .. });
                        if !guarded
                            && !a.is_number()
                            && release::current() == Release::R25
                            && operations::is_otp_small(b)
                        {
                            raise!(BifExit::BADARITH);
                        }
                        arithmetic!($op, a, b, $dst);
                    }};
                }
                // An operation on two operands: `$fast` where both are small and so is the result,
                // else `$slow`.
                macro_rules! small_arithmetic {
                    ($op:expr, $a:expr, $b:expr, $dst:expr, |$x:ident, $y:ident| $fast:expr) => {
                        small_arithmetic!(
                            $a,
                            $b,
                            $dst,
                            |$x, $y| $fast,
                            arithmetic!($op, $x, $y, $dst)
                        )
                    };
                    ($a:expr, $b:expr, $dst:expr, |$x:ident, $y:ident| $fast:expr, $slow:expr) => {{
                        let ($x, $y) = (src!($a), src!($b));
                        if Term::both_small($x, $y)
                            && let Some(value) = $fast
                        {
                            set!($dst, value);
                            next!();
                        }
                        $slow
                    }};
                }
                // A subtraction of a constant is an addition of its negative; errors show what was
                // written.
                macro_rules! add_constant {
                    ($a:expr, $value:expr, $dst:expr) => {{
                        let (a, value) = ($a, i64::from($value));
                        if a.is_small()
                            && let Some(sum) =
                                unless_overflow(small_bits(a).overflowing_add(value << SMALL_SHIFT))
                        {
                            set!($dst, sum);
                            next!();
                        }
                        if value < 0 {
                            arithmetic_with_constant!(Op::Sub, a, Term::small(-value), $dst);
                        }
                        arithmetic_with_constant!(Op::Add, a, Term::small(value), $dst);
                    }};
                }
                macro_rules! float_arithmetic {
                    ($a:expr, $operator:tt, $b:expr, $to:expr) => {{
                        let value = *f.add($a as usize) $operator *f.add($b as usize);
                        if !value.is_finite() {
                            raise!(BifExit::BADARITH);
                        }
                        *f.add($to as usize) = value;
                        next!();
                    }};
                }
                // A built-in called by an instruction that yields a value: guards and bodies.
                macro_rules! inline_bif {
                    ($bif:expr, $dst:expr, $args:expr) => {{
                        let args: &[Term] = $args;
                        sync!();
                        let entry = p.vm.bifs.get($bif);
                        let result = entry.call(p, args);
                        top = p.heap.top;
                        reds = p.reductions - deferred;
                        match result {
                            Ok(value) => {
                                set!($dst, value);
                                note_pressure!();
                                next!();
                            }
                            Err(raise) => {
                                if let Instr::Fail { target } = *ip.add(1) {
                                    ip = ip.add(1).offset(target as isize);
                                    continue;
                                }
                                let mfa = p.vm.bifs.mfa($bif);
                                raise!(raise, Top::Bif { mfa, args, is_running: false });
                            }
                        }
                    }};
                }
                // A built-in whose name has a breakpoint is called as the function of that name.
                macro_rules! call_by_name {
                    ($arity:expr, $bif:expr) => {{
                        let export = p.vm.code.export(p.vm.bifs.mfa($bif));
                        let frame = match *ip {
                            Instr::CallBifLast { frame, .. } => Some(frame),
                            Instr::CallBifOnly { .. } => Some(0),
                            _ => None,
                        };
                        if let Some(frame) = frame {
                            let words = p.tail_call_frame(ip, frame);
                            if STRESS || room!() < words.len() as isize {
                                collect!(words.len(), $arity);
                            }
                            for word in words {
                                e = e.sub(1);
                                *e.cast::<u64>() = word;
                            }
                        } else {
                            push_return!();
                        }
                        enter!(export.entry(), $arity);
                    }};
                }
                // A built-in where a call stands: see `call_outside`.
                macro_rules! call_bif {
                    ($arity:expr, $bif:expr, $done:block, $trap:block) => {{
                        let bif = $bif;
                        // Not when it goes on, and not the body of what was called.
                        if SAVE
                            && p.result_at_hand.is_none()
                            && p.bif_state.is_none()
                            && !matches!(*ip, Instr::BifBody { .. })
                        {
                            p.save_call(SavedCall::Call(p.vm.bifs.mfa(bif)));
                        }
                        if p.vm.bifs.has_breakpoint(bif)
                            && p.result_at_hand.is_none()
                            && !matches!(*ip, Instr::BifBody { .. })
                        {
                            call_by_name!($arity, bif);
                        }
                        let entry = p.vm.bifs.get(bif);
                        let mfa = || p.vm.bifs.mfa(bif);
                        call_outside!(
                            $arity,
                            entry.kind,
                            |args| entry.call(p, args),
                            mfa,
                            $done,
                            $trap
                        );
                    }};
                }
                // A function of the machine or of a library where a call stands. `$kind` says where
                // it may run. `$done` goes on after a result is in x0, `$trap` readies the stack
                // for a tail call.
                macro_rules! call_outside {
                    ($arity:expr, $kind:expr, |$args:ident| $call:expr, $mfa:expr, $done:block, $trap:block) => {{
                        let arity = $arity as usize;
                        sync!();
                        // What the process is doing, for built-ins that say so.
                        p.ip = ip;
                        let result = if let Some(result) = p.result_at_hand.take() {
                            result
                        } else if let Some(outcome) = Outcome::for_kind($kind) {
                            p.saved.save(x_slice!(arity));
                            p.ip = ip;
                            p.is_past_breakpoint = is_past_breakpoint!();
                            leave!(outcome);
                        } else {
                            let $args: &[Term] = x_slice!(arity);
                            $call
                        };
                        reload!();
                        match result {
                            Ok(value) => {
                                *x = value;
                                reds -= 1;
                                if STRESS || p.heap.wants_collection {
                                    collect!(0, 1);
                                }
                                $done
                            }
                            Err(BifExit::Trap(export)) => {
                                let count = export.mfa.arity as usize;
                                let args = p.trap_args.take();
                                x.copy_from_nonoverlapping(args.as_ptr(), count);
                                $trap
                                let mut entry = export.entry();
                                // A built-in that goes on with itself is one call.
                                if export.bif.is_some() && code_before(entry) == Some(breakpoint) {
                                    let found = p.vm.breakpoints.at(entry);
                                    entry = found.and_then(|found| found.target()).unwrap_or(entry);
                                    p.is_past_breakpoint = code_before(entry) == Some(breakpoint);
                                }
                                enter!(entry, count);
                            }
                            Err(BifExit::Room(words)) => {
                                collect!(words, arity);
                                // The call is made again: it is not the one step yet.
                                stepped = false;
                                continue;
                            }
                            Err(BifExit::Yield) => {
                                p.saved.save(x_slice!(arity));
                                p.ip = ip;
                                p.is_past_breakpoint = is_past_breakpoint!();
                                leave!(Outcome::Yield);
                            }
                            Err(BifExit::Wait) => {
                                p.saved.save(x_slice!(arity));
                                p.ip = ip;
                                p.is_past_breakpoint = is_past_breakpoint!();
                                leave!(Outcome::Wait);
                            }
                            Err(BifExit::Hibernate) => {
                                let [module, function, args, _] = p.trap_args.take();
                                let mut start = [module, function, args];
                                // The stack is dropped: the process begins anew when it wakes.
                                p.heap.stop = p.heap.stack_base().sub(1);
                                *p.heap.stop = p.vm.code.process_end() as u64;
                                p.collect_to_fit(&mut start);
                                p.saved.save(&start);
                                p.ip = p.vm.code.hibernated_entry();
                                p.mailbox.rewind();
                                leave!(if p.mailbox.is_empty() { Outcome::Wait } else { Outcome::Yield });
                            }
                            Err(BifExit::ExitNow(reason)) => {
                                p.exception.class = am::EXIT;
                                p.exception.reason = reason;
                                leave!(Outcome::Exit);
                            }
                            Err(raise) => {
                                let args = x_slice!(arity);
                                let mfa = $mfa();
                                let is_running = matches!(*ip, Instr::BifBody { .. } | Instr::NativeBody { .. });
                                raise!(raise, Top::Bif { mfa, args, is_running });
                            }
                        }
                    }};
                }
                macro_rules! call_fun {
                    ($fun:expr, $arity:expr, $pop_or_push:block) => {{
                        let fun = $fun;
                        let arity = $arity as usize;
                        if SAVE && let Some(fun) = fun.as_export_fun() {
                            p.save_call(SavedCall::Call(*fun.mfa()));
                        }
                        sync!();
                        let call = operations::call_fun(p, x, fun, arity);
                        top = p.heap.top;
                        match call {
                            FunCall::Go(target, free) => {
                                $pop_or_push
                                enter!(target, arity + free);
                            }
                            FunCall::Undefined(export) => {
                                reds = p.reductions - deferred;
                                $pop_or_push
                                enter!(export.entry(), 3);
                            }
                            FunCall::BifExit(raise) => {
                                // As in OTP: the caller of what is no such fun is listed twice.
                                $pop_or_push
                                raise!(raise)
                            }
                        }
                    }};
                }
                // An application that failed: it has an entry of its own in the stack trace.
                macro_rules! raise_applying {
                    ($raise:expr, $module:expr, $function:expr, $args:expr) => {{
                        let mfa = Mfa { module: am::ERLANG, function: am::APPLY, arity: 3 };
                        raise!(
                            $raise,
                            Top::Bif {
                                mfa,
                                args: &[$module, $function, $args],
                                is_running: matches!(*ip, Instr::ApplyArgs)
                            }
                        );
                    }};
                }
                macro_rules! apply_target {
                    ($arity:expr) => {{
                        let arity = $arity as usize;
                        let (module, function) = (*x.add(arity), *x.add(arity + 1));
                        let (Some(module), Some(function)) = (module.as_atom(), function.as_atom())
                        else {
                            sync!();
                            let args = p.list(x_slice!(arity));
                            reload!();
                            raise_applying!(BifExit::BADARG, module, function, args);
                        };
                        Mfa { module, function, arity: arity as u32 }
                    }};
                }
                macro_rules! apply_args {
                    () => {
                        match operations::apply_args(x) {
                            Ok(mfa) => mfa,
                            Err(raise) => raise_applying!(raise, *x, *x.add(1), *x.add(2)),
                        }
                    };
                }
                macro_rules! apply_last {
                    ($mfa:expr, $frame:expr) => {{
                        let mfa = $mfa;
                        save!(SavedCall::Call(mfa));
                        if operations::shows_its_caller(mfa) {
                            // It raises, whatever happens, and so the frame stays for the stack
                            // trace.
                            push_return!();
                        } else {
                            e = e.add($frame as usize);
                        }
                        enter!(p.vm.code.export(mfa).entry(), mfa.arity);
                    }};
                }
                // Applies a fun to a list; `before` is done when the list is good, before anything
                // else can fail, and `after` when nothing can fail any more.
                macro_rules! apply_fun_args {
                    ($before:block, $after:block) => {{
                        let fun = *x;
                        let arity = match operations::spread_args(x, 2, operations::APPLY_FUN_ARGS_MAX) {
                            Ok(arity) => arity,
                            Err(raise) => {
                                let mfa = Mfa { module: am::ERLANG, function: am::APPLY, arity: 2 };
                                raise!(raise, Top::Bif { mfa, args: &[fun, *x.add(1)], is_running: false });
                            }
                        };
                        $before
                        sync!();
                        let call = operations::call_fun(p, x, fun, arity);
                        top = p.heap.top;
                        let (target, arity) = match call {
                            FunCall::Go(target, free) => (target, arity + free),
                            FunCall::Undefined(export) => {
                                reds = p.reductions - deferred;
                                (export.entry(), 3)
                            }
                            FunCall::BifExit(raise) => raise!(raise),
                        };
                        $after
                        enter!(target, arity);
                    }};
                }
                macro_rules! context {
                    ($dst:expr) => {{
                        match src!($dst.as_src()).as_match_context() {
                            Some(context) => context,
                            None => raise!(BifExit::BADARG),
                        }
                    }};
                }

                if code == no_code
                    && let Some(tier) = native
                    && tier.called(ip)
                {
                    code = cell_code(ip.sub(1));
                }
                while code.wrapping_sub(no_code) > no_code_span {
                    let Some(tier) = native else { break };
                    let state = &raw mut (*registers).native;
                    // The call has been counted here; it is counted there.
                    if is_entry(ip.sub(1)) {
                        reds += 1;
                    }
                    (*state).stop = e.cast();
                    (*state).top = top;
                    (*state).reductions = i64::from(reds);
                    (*state).deferred = i64::from(deferred);
                    let exit = (tier.enter)(registers, code);
                    if exit == Exit::Leave
                        && let Some(outcome) = (*state).outcome
                    {
                        leave!(outcome);
                    }
                    e = (*state).stop.cast();
                    top = (*state).top;
                    reds = (*state).reductions as i32;
                    deferred = (*state).deferred as i32;
                    ip = (*state).ip;
                    if exit == Exit::Enter {
                        turn_over!((*state).arity);
                        code = resume!((*state).arity);
                        continue;
                    }
                    tick!(tier);
                    code = code_before(ip).unwrap_or(interpreted);
                    // What machine code leaves to the interpreter, it does not get back before the
                    // next call or return.
                    if exit == Exit::Interpret || exit == Exit::Leave {
                        if code == no_code && tier.called(ip) {
                            code = cell_code(ip.sub(1));
                        } else if code != breakpoint {
                            code = interpreted;
                        }
                    }
                }
                if code == breakpoint
                    && !STEP
                    && !std::mem::take(&mut p.is_past_breakpoint)
                    && let Some(found) = p.vm.breakpoints.at(ip)
                {
                    let arity = found.mfa.arity;
                    sync!();
                    let frames = p.call_at_breakpoint(&found, x_slice!(arity));
                    reload!();
                    if STRESS || room!() < frames.len() as isize {
                        collect!(frames.len(), arity);
                    }
                    for word in frames {
                        e = e.sub(1);
                        *e.cast::<u64>() = word;
                    }
                    if let Some(target) = found.target() {
                        ip = target;
                        code = cell_code(target.sub(1));
                        continue 'exec;
                    }
                    code = interpreted;
                }

                loop {
                    if STEP {
                        if stepped {
                            sync!();
                            let state = &raw mut (*registers).native;
                            (*state).ip = ip;
                            (*state).top = top;
                            (*state).stop = e.cast();
                            // What presses for a collection ends the turn of the machine code at
                            // its next call.
                            let press = STRESS || p.heap.wants_collection;
                            let all = reds + deferred;
                            (*state).reductions = i64::from(if press { 0 } else { reds });
                            (*state).deferred = i64::from(if press { all } else { deferred });
                            return Left::Stepped;
                        }
                        stepped = true;
                    }
                    match *ip {
                        Instr::Cell { .. } | Instr::Nop | Instr::Fail { .. } => next!(),
                        Instr::MoveXX { from, to } => {
                            *x.add(to as usize) = *x.add(from as usize);
                            next!();
                        }
                        Instr::MoveXY { from, to } => {
                            *e.add(to as usize) = *x.add(from as usize);
                            next!();
                        }
                        Instr::MoveYX { from, to } => {
                            *x.add(to as usize) = *e.add(from as usize);
                            next!();
                        }
                        Instr::MoveKX { to, value } => {
                            *x.add(to as usize) = value;
                            next!();
                        }
                        Instr::Move { src, dst } => {
                            set!(dst, src!(src));
                            next!();
                        }
                        Instr::MoveXX2 { from1, to1, from2, to2 } => {
                            *x.add(to1 as usize) = *x.add(from1 as usize);
                            *x.add(to2 as usize) = *x.add(from2 as usize);
                            next!();
                        }
                        Instr::MoveXY2 { from1, to1, from2, to2 } => {
                            *e.add(to1 as usize) = *x.add(from1 as usize);
                            *e.add(to2 as usize) = *x.add(from2 as usize);
                            next!();
                        }
                        Instr::MoveYX2 { from1, to1, from2, to2 } => {
                            *x.add(to1 as usize) = *e.add(from1 as usize);
                            *x.add(to2 as usize) = *e.add(from2 as usize);
                            next!();
                        }
                        Instr::Swap { a, b } => {
                            let (first, second) = (src!(a.as_src()), src!(b.as_src()));
                            set!(a, second);
                            set!(b, first);
                            next!();
                        }
                        Instr::InitY { registers } => {
                            for &y in registers.iter() {
                                *e.add(y as usize) = Term::NIL;
                            }
                            next!();
                        }

                        Instr::Allocate { frame, live, heap } => {
                            let need = isize::from(frame as i16) + heap as isize;
                            if STRESS || room!() < need {
                                collect!(need as usize, live);
                            }
                            for _ in 0..frame {
                                e = e.sub(1);
                                *e = Term::NIL;
                            }
                            next!();
                        }
                        Instr::Deallocate { frame } => {
                            e = e.add(frame as usize);
                            next!();
                        }
                        Instr::Trim { words } => {
                            e = e.add(words as usize);
                            next!();
                        }
                        Instr::TestHeap { live, words } => {
                            if STRESS || room!() < words as isize {
                                collect!(words as usize, live);
                            }
                            next!();
                        }

                        Instr::Call { arity, target } => {
                            push_return!();
                            enter!(ip.offset(target as isize), arity);
                        }
                        Instr::CallLast { arity, frame, target } => {
                            e = e.add(frame as usize);
                            enter!(ip.offset(target as isize), arity);
                        }
                        Instr::CallOnly { arity, target } => {
                            enter!(ip.offset(target as isize), arity)
                        }
                        Instr::CallExt { arity, export } => {
                            save_export!(export);
                            push_return!();
                            enter!(Export::of(export).entry(), arity);
                        }
                        Instr::CallExtLast { arity, frame, export } => {
                            save_export!(export);
                            e = e.add(frame as usize);
                            enter!(Export::of(export).entry(), arity);
                        }
                        Instr::CallExtOnly { arity, export } => {
                            save_export!(export);
                            enter!(Export::of(export).entry(), arity)
                        }
                        Instr::CallBif { arity, bif } => {
                            call_bif!(
                                arity,
                                bif,
                                {
                                    ip = ip.add(2);
                                    continue;
                                },
                                { push_return!() }
                            );
                        }
                        Instr::CallBifLast { arity, frame, bif } => {
                            call_bif!(
                                arity,
                                bif,
                                {
                                    e = e.add(frame as usize);
                                    give_back!();
                                },
                                { e = e.add(frame as usize) }
                            );
                        }
                        Instr::CallBifOnly { arity, bif } | Instr::BifBody { arity, bif, .. } => {
                            call_bif!(
                                arity,
                                bif,
                                {
                                    give_back!();
                                },
                                {}
                            );
                        }
                        Instr::NativeBody { arity, slot } => {
                            let Some(native) = NativeSlot::at(slot).get() else { next!() };
                            let mfa = || {
                                p.vm.code
                                    .locate(ip as usize, |location| location.mfa)
                                    .expect("a native body is a function's")
                            };
                            call_outside!(
                                arity,
                                native.kind(p),
                                |args| native.call(p, args),
                                mfa,
                                {
                                    give_back!();
                                },
                                {}
                            );
                        }
                        Instr::Apply { arity } => {
                            let mut mfa = apply_target!(arity);
                            if operations::is_apply(mfa) {
                                mfa = apply_args!();
                            }
                            save!(SavedCall::Call(mfa));
                            push_return!();
                            enter!(p.vm.code.export(mfa).entry(), mfa.arity);
                        }
                        Instr::ApplyLast { arity, frame } => {
                            let mut mfa = apply_target!(arity);
                            if operations::is_apply(mfa) {
                                mfa = apply_args!();
                            }
                            apply_last!(mfa, frame);
                        }
                        Instr::CallFun { arity } => {
                            call_fun!(*x.add(arity as usize), arity, { push_return!() });
                        }
                        Instr::CallFun2 { arity, fun } => {
                            call_fun!(src!(fun), arity, { push_return!() });
                        }
                        Instr::CallFunLast { arity, frame, fun } => {
                            call_fun!(src!(fun), arity, { e = e.add(frame as usize) });
                        }
                        Instr::Return => {
                            give_back!();
                        }
                        Instr::ApplyArgs => {
                            let mfa = apply_args!();
                            save!(SavedCall::Call(mfa));
                            enter!(p.vm.code.export(mfa).entry(), mfa.arity);
                        }
                        Instr::ApplyArgsCall => {
                            let mfa = apply_args!();
                            save!(SavedCall::Call(mfa));
                            push_return!();
                            enter!(p.vm.code.export(mfa).entry(), mfa.arity);
                        }
                        Instr::ApplyArgsLast { frame } => {
                            let mfa = apply_args!();
                            apply_last!(mfa, frame);
                        }
                        Instr::ApplyFunArgs => apply_fun_args!({}, {}),
                        // A fun that cannot be called has its caller twice in the stack trace, as
                        // in OTP.
                        Instr::ApplyFunArgsCall => apply_fun_args!({ push_return!() }, {}),
                        Instr::ApplyFunArgsLast { frame } => {
                            apply_fun_args!({}, { e = e.add(frame as usize) })
                        }
                        Instr::CallErrorHandler { export } => {
                            let mfa = Export::of(export).mfa;
                            sync!();
                            let args = p.list(x_slice!(mfa.arity));
                            let handler = p.error_handler(am::UNDEFINED_FUNCTION);
                            reload!();
                            if !handler.is_defined() {
                                let args = x_slice!(mfa.arity);
                                raise!(
                                    BifExit::Error(Term::atom(am::UNDEF)),
                                    Top::Function { mfa, args }
                                );
                            }
                            *x = Term::atom(mfa.module);
                            *x.add(1) = Term::atom(mfa.function);
                            *x.add(2) = args;
                            enter!(handler.entry(), 3);
                        }
                        Instr::ProcessEnd => {
                            sync!();
                            p.returned(*x);
                            leave!(Outcome::Exit);
                        }
                        Instr::ReturnTraced => {
                            sync!();
                            let words = p.traced_return(ip.sub(1), *x);
                            reload!();
                            e = e.add(words);
                            give_back!();
                        }
                        Instr::Hibernated => {
                            if p.mailbox.is_empty() {
                                sync!();
                                p.saved.save(x_slice!(3));
                                p.ip = ip;
                                leave!(Outcome::Wait);
                            }
                            next!();
                        }

                        Instr::EndTurn { live } => {
                            reds -= 1;
                            if reds <= 0 && !STEP {
                                turn_over!(live);
                            }
                            next!();
                        }
                        Instr::Jump { target } => jump!(target),
                        Instr::SelectVal { src, select } => {
                            let distance = operations::select(&select, src!(src), |key| src!(key));
                            jump!(distance);
                        }
                        Instr::SelectArity { src, select } => {
                            let value = src!(src);
                            let arity = match value.as_tuple() {
                                Some(tuple) => Term::small(tuple.arity() as i64),
                                None => Term::NONE,
                            };
                            let distance = operations::select(&select, arity, |key| src!(key));
                            jump!(distance);
                        }

                        Instr::IsInteger { src, fail } => test!(src!(src).is_integer(), fail),
                        Instr::IsFloat { src, fail } => test!(src!(src).is_float(), fail),
                        Instr::IsNumber { src, fail } => test!(src!(src).is_number(), fail),
                        Instr::IsAtom { src, fail } => test!(src!(src).is_atom(), fail),
                        Instr::IsPid { src, fail } => test!(src!(src).is_any_pid(), fail),
                        Instr::IsReference { src, fail } => test!(src!(src).is_reference(), fail),
                        Instr::IsPort { src, fail } => test!(src!(src).is_any_port(), fail),
                        Instr::IsNil { src, fail } => test!(src!(src).is_nil(), fail),
                        Instr::IsNilX { x: number, fail } => {
                            test!((*x.add(number as usize)).is_nil(), fail)
                        }
                        Instr::IsBinary { src, fail } => test!(src!(src).is_binary(), fail),
                        Instr::IsBitstring { src, fail } => {
                            test!(src!(src).is_bitstring_or_context(), fail)
                        }
                        Instr::IsList { src, fail } => test!(src!(src).is_list(), fail),
                        Instr::IsCons { src, fail } => test!(src!(src).is_cons(), fail),
                        Instr::IsConsX { x: number, fail } => {
                            test!((*x.add(number as usize)).is_cons(), fail)
                        }
                        Instr::IsConsGetListX { x: number, head, tail, fail } => {
                            let list = *x.add(number as usize);
                            if !list.is_cons() {
                                jump!(fail);
                            }
                            let cell = list.cons_ptr().cast::<Term>();
                            let (first, rest) = (*cell, *cell.add(1));
                            set!(head, first);
                            set!(tail, rest);
                            next!();
                        }
                        Instr::IsTuple { src, fail } => test!(src!(src).is_tuple(), fail),
                        Instr::IsTupleOf { src, arity, fail } => {
                            test!(src!(src).is_tuple_of(arity as usize), fail)
                        }
                        Instr::TestArity { src, arity, fail } => {
                            test!(src!(src).is_tuple_of(arity as usize), fail)
                        }
                        Instr::IsTaggedTuple { src, arity, tag, fail } => {
                            let value = src!(src);
                            test!(
                                value.is_tuple_of(arity as usize)
                                    && arity > 0
                                    && *value.boxed_ptr().add(1) == src!(tag).raw(),
                                fail
                            );
                        }
                        Instr::IsTagged { src, tag, fail } => {
                            // SAFETY: the instruction before has seen that it is a tuple of many
                            // elements.
                            test!(*src!(src).boxed_ptr().add(1) == src!(tag).raw(), fail);
                        }
                        Instr::IsMap { src, fail } => test!(src!(src).is_map(), fail),
                        Instr::IsBoolean { src, fail } => {
                            test!(src!(src).as_bool().is_some(), fail)
                        }
                        Instr::IsFunction { src, fail } => test!(src!(src).is_fun(), fail),
                        Instr::IsFunctionOf { src, arity, fail } => {
                            test!(operations::is_function_of(src!(src), src!(arity)), fail)
                        }
                        Instr::IsLt { a, b, fail } => {
                            test!(operations::less(src!(a), src!(b)), fail)
                        }
                        Instr::IsLtXI { x: number, value, fail } => {
                            let a = *x.add(number as usize);
                            let b = Term::small(i64::from(value));
                            test!(operations::less(a, b), fail);
                        }
                        Instr::IsGeXI { x: number, value, fail } => {
                            let a = *x.add(number as usize);
                            let b = Term::small(i64::from(value));
                            test!(!operations::less(a, b), fail);
                        }
                        Instr::IsGe { a, b, fail } => {
                            test!(!operations::less(src!(a), src!(b)), fail)
                        }
                        Instr::IsEq { a, b, fail } => {
                            test!(operations::equal(src!(a), src!(b)), fail)
                        }
                        Instr::IsNe { a, b, fail } => {
                            test!(!operations::equal(src!(a), src!(b)), fail)
                        }
                        Instr::IsEqExact { a, b, fail } => {
                            test!(operations::equal_exact(src!(a), src!(b)), fail)
                        }
                        Instr::IsNeExact { a, b, fail } => {
                            test!(!operations::equal_exact(src!(a), src!(b)), fail)
                        }
                        Instr::IsEqImmX { x: number, fail, value } => {
                            test!(*x.add(number as usize) == value, fail)
                        }
                        Instr::IsNeImmX { x: number, fail, value } => {
                            test!(*x.add(number as usize) != value, fail)
                        }

                        Instr::GetList { src, head, tail } => {
                            let list = src!(src);
                            if !list.is_cons() {
                                raise!(BifExit::BADARG);
                            }
                            let cell = list.cons_ptr().cast::<Term>();
                            let (first, rest) = (*cell, *cell.add(1));
                            set!(head, first);
                            set!(tail, rest);
                            next!();
                        }
                        Instr::GetHead { src, dst } => {
                            let list = src!(src);
                            if !list.is_cons() {
                                raise!(BifExit::BADARG);
                            }
                            set!(dst, *list.cons_ptr().cast::<Term>());
                            next!();
                        }
                        Instr::GetTail { src, dst } => {
                            let list = src!(src);
                            if !list.is_cons() {
                                raise!(BifExit::BADARG);
                            }
                            set!(dst, *list.cons_ptr().cast::<Term>().add(1));
                            next!();
                        }
                        Instr::GetElement { src, index, dst } => {
                            let tuple = src!(src);
                            if !tuple.is_boxed()
                                || !tuple.boxed_header().has(Subtag::Tuple)
                                || tuple.boxed_header().words() <= index as usize
                            {
                                raise!(BifExit::BADARG);
                            }
                            set!(dst, *tuple.boxed_ptr().cast::<Term>().add(index as usize + 1));
                            next!();
                        }
                        Instr::GetElement2 { src, index, dst1, dst2 } => {
                            let tuple = src!(src);
                            if !tuple.is_boxed()
                                || !tuple.boxed_header().has(Subtag::Tuple)
                                || tuple.boxed_header().words() <= index as usize + 1
                            {
                                raise!(BifExit::BADARG);
                            }
                            let elements = tuple.boxed_ptr().cast::<Term>().add(index as usize + 1);
                            let (first, second) = (*elements, *elements.add(1));
                            set!(dst1, first);
                            set!(dst2, second);
                            next!();
                        }
                        Instr::SetElement { value, tuple, index } => {
                            let target = src!(tuple);
                            if !target.is_tuple()
                                || target.boxed_header().words() <= index as usize
                                || swarmrt_heap::is_literal(target)
                            {
                                raise!(BifExit::BADARG);
                            }
                            *target.boxed_ptr().cast::<Term>().add(index as usize + 1) =
                                src!(value);
                            next!();
                        }
                        Instr::PutList { head, tail, dst } => {
                            *top.cast::<Term>() = src!(head);
                            *top.cast::<Term>().add(1) = src!(tail);
                            set!(dst, Term::from_cons_ptr(top));
                            top = top.add(2);
                            next!();
                        }
                        Instr::PutTuple { dst, elements } => {
                            let elements = &**elements;
                            *top = Header::new(Subtag::Tuple, elements.len()).0;
                            let mut at = top.cast::<Term>();
                            for &element in elements {
                                at = at.add(1);
                                *at = src!(element);
                            }
                            set!(dst, Term::from_boxed_ptr(top));
                            top = at.add(1).cast();
                            next!();
                        }
                        Instr::UpdateRecord { dst, update } => {
                            let source = src!(update.source);
                            if !source.is_tuple_of(update.size as usize) {
                                raise_with!(am::BADRECORD, source);
                            }
                            let old = source.as_tuple().expect("just tested").elements();
                            if update.reuse
                                && update
                                    .updates
                                    .iter()
                                    .all(|&(at, value)| old[at as usize] == src!(value))
                            {
                                set!(dst, source);
                                next!();
                            }
                            sync!();
                            let copy = p.heap.tuple(old);
                            top = p.heap.top;
                            for &(at, value) in &update.updates {
                                *copy.boxed_ptr().cast::<Term>().add(at as usize + 1) = src!(value);
                            }
                            set!(dst, copy);
                            next!();
                        }
                        Instr::MakeFun { dst, arity, free } => {
                            let (entry, free) = &*free;
                            sync!();
                            let fun = operations::make_fun(
                                p,
                                *entry,
                                arity,
                                free.iter().map(|&value| src!(value)),
                            );
                            top = p.heap.top;
                            set!(dst, fun);
                            next!();
                        }

                        Instr::AddXI { x: number, to, value } => {
                            add_constant!(*x.add(number as usize), value, Dst::x(to));
                        }
                        Instr::AddYI { y: number, dst, value } => {
                            add_constant!(*e.add(number as usize), value, dst);
                        }
                        Instr::Add { a, b, dst } => small_arithmetic!(
                            a,
                            b,
                            dst,
                            |x, y| unless_overflow(small_bits(x).overflowing_add(scaled(y))),
                            {
                                if is_constant(b) {
                                    arithmetic_with_constant!(Op::Add, x, y, dst);
                                }
                                arithmetic!(Op::Add, x, y, dst);
                            }
                        ),
                        // The negative of a negative constant is added with the subtraction in the
                        // trace.
                        Instr::Sub { a, b, dst } => small_arithmetic!(
                            a,
                            b,
                            dst,
                            |x, y| unless_overflow(small_bits(x).overflowing_sub(scaled(y))),
                            {
                                if is_constant(b) && y.as_small().is_some_and(|value| value >= 0) {
                                    arithmetic_with_constant!(Op::Sub, x, y, dst);
                                }
                                arithmetic!(Op::Sub, x, y, dst);
                            }
                        ),
                        Instr::Mul { a, b, dst } => {
                            small_arithmetic!(Op::Mul, a, b, dst, |x, y| {
                                let (product, overflow) =
                                    scaled(x).overflowing_mul(y.small_value());
                                unless_overflow((product | SMALL_TAG, overflow))
                            });
                        }
                        Instr::IntDiv { a, b, dst } => {
                            small_arithmetic!(Op::Div, a, b, dst, |x, y| {
                                let quotient = x.small_value().checked_div(y.small_value());
                                quotient.filter(|&value| Term::fits_small(value)).map(Term::small)
                            });
                        }
                        Instr::Rem { a, b, dst } => {
                            small_arithmetic!(Op::Rem, a, b, dst, |x, y| {
                                x.small_value().checked_rem(y.small_value()).map(Term::small)
                            });
                        }
                        Instr::Band { a, b, dst } => {
                            small_arithmetic!(Op::Band, a, b, dst, |x, y| {
                                Some(Term::from_raw(x.raw() & y.raw()))
                            });
                        }
                        Instr::Bor { a, b, dst } => {
                            small_arithmetic!(Op::Bor, a, b, dst, |x, y| {
                                Some(Term::from_raw(x.raw() | y.raw()))
                            });
                        }
                        Instr::Bxor { a, b, dst } => {
                            small_arithmetic!(Op::Bxor, a, b, dst, |x, y| {
                                Some(Term::from_raw((x.raw() ^ y.raw()) | SMALL_TAG as u64))
                            });
                        }
                        Instr::Bsl { a, b, dst } => {
                            small_arithmetic!(Op::Bsl, a, b, dst, |x, y| {
                                shifted_left(x.small_value(), y.small_value())
                            });
                        }
                        Instr::Bsr { a, b, dst } => {
                            small_arithmetic!(Op::Bsr, a, b, dst, |x, y| {
                                let (value, shift) = (x.small_value(), y.small_value());
                                (shift >= 0).then(|| Term::small(value >> shift.min(63)))
                            });
                        }
                        Instr::Bif0 { bif, dst } => inline_bif!(bif, dst, &[]),
                        Instr::Bif1 { bif, a, dst } => inline_bif!(bif, dst, &[src!(a)]),
                        Instr::Bif2 { bif, a, b, dst } => {
                            inline_bif!(bif, dst, &[src!(a), src!(b)]);
                        }
                        Instr::Bif3 { bif, dst, args } => {
                            inline_bif!(bif, dst, &[src!(args[0]), src!(args[1]), src!(args[2])]);
                        }
                        Instr::Element { a, b, dst } => {
                            let (index, tuple) = (src!(a), src!(b));
                            if let (Some(number), Some(view)) = (index.as_small(), tuple.as_tuple())
                                && number >= 1
                                && number as usize <= view.arity()
                            {
                                set!(dst, view.get(number as usize - 1));
                                next!();
                            }
                            fail_or_raise!(
                                BifExit::BADARG,
                                swarmrt_term::atom!("element"),
                                &[index, tuple]
                            );
                        }
                        Instr::Hd { a, dst } => {
                            let list = src!(a);
                            if let Some(cell) = list.as_cons() {
                                set!(dst, cell.head());
                                next!();
                            }
                            fail_or_raise!(BifExit::BADARG, swarmrt_term::atom!("hd"), &[list]);
                        }
                        Instr::Tl { a, dst } => {
                            let list = src!(a);
                            if let Some(cell) = list.as_cons() {
                                set!(dst, cell.tail());
                                next!();
                            }
                            fail_or_raise!(BifExit::BADARG, swarmrt_term::atom!("tl"), &[list]);
                        }
                        Instr::TupleSize { a, dst } => {
                            let tuple = src!(a);
                            if let Some(view) = tuple.as_tuple() {
                                set!(dst, Term::small(view.arity() as i64));
                                next!();
                            }
                            fail_or_raise!(
                                BifExit::BADARG,
                                swarmrt_term::atom!("tuple_size"),
                                &[tuple]
                            );
                        }
                        Instr::SelfPid { dst } => {
                            set!(dst, p.pid());
                            next!();
                        }

                        Instr::LoadFloat { src, to } => {
                            let value = src!(src);
                            let float = if let Some(small) = value.as_small() {
                                Some(small as f64)
                            } else {
                                value.as_float().or_else(|| swarmrt_term::bigint::to_f64(value))
                            };
                            match float {
                                Some(float) => *f.add(to as usize) = float,
                                None => raise!(BifExit::BADARITH),
                            }
                            next!();
                        }
                        Instr::StoreFloat { from, dst } => {
                            let value = *f.add(from as usize);
                            let term = match Term::float_immediate(value) {
                                Some(term) => term,
                                None => {
                                    sync!();
                                    let term = p.heap.float(value);
                                    top = p.heap.top;
                                    term
                                }
                            };
                            set!(dst, term);
                            next!();
                        }
                        Instr::MoveFloat { from, to } => {
                            *f.add(to as usize) = *f.add(from as usize);
                            next!();
                        }
                        Instr::FloatAdd { a, b, to } => float_arithmetic!(a, +, b, to),
                        Instr::FloatSub { a, b, to } => float_arithmetic!(a, -, b, to),
                        Instr::FloatMul { a, b, to } => float_arithmetic!(a, *, b, to),
                        Instr::FloatDiv { a, b, to } => float_arithmetic!(a, /, b, to),
                        Instr::FloatNeg { a, to } => {
                            let value = *f.add(a as usize);
                            // Until OTP 27 a subtraction, so that 0.0 stays positive.
                            let is_negation = release::current().distinguishes_zeros();
                            *f.add(to as usize) = if is_negation { -value } else { 0.0 - value };
                            next!();
                        }

                        Instr::NotLoaded => {
                            p.vm.code.load_function_at(ip as usize);
                            continue;
                        }
                        Instr::FuncInfo { function, .. } => {
                            sync!();
                            let found = p.vm.code.module_at(ip as usize).map(|module| {
                                (module.name, module.code.functions[function as usize])
                            });
                            let Some((module, function)) = found else {
                                raise!(BifExit::Error(Term::atom(am::FUNCTION_CLAUSE)))
                            };
                            let mfa =
                                Mfa { module, function: function.name, arity: function.arity };
                            let args = x_slice!(mfa.arity);
                            raise!(
                                BifExit::Error(Term::atom(am::FUNCTION_CLAUSE)),
                                Top::Function { mfa, args }
                            );
                        }
                        Instr::Badmatch { src } => raise_with!(am::BADMATCH, src!(src)),
                        Instr::CaseEnd { src } => raise_with!(am::CASE_CLAUSE, src!(src)),
                        Instr::TryCaseEnd { src } => raise_with!(am::TRY_CLAUSE, src!(src)),
                        Instr::Badrecord { src } => raise_with!(am::BADRECORD, src!(src)),
                        Instr::IfEnd => raise!(BifExit::Error(Term::atom(am::IF_CLAUSE))),
                        Instr::Catch { y, handler } => {
                            *e.add(y as usize) =
                                Term::catch_mark(ip.offset(handler as isize) as u64);
                            next!();
                        }
                        Instr::TryEnd { y } => {
                            *e.add(y as usize) = Term::NIL;
                            next!();
                        }
                        Instr::TryCase { y } => {
                            // Code may run into it with any frame. The mark says that an exception
                            // has led here.
                            if !(*x).is_none() {
                                raise!(BifExit::BADARG);
                            }
                            *e.add(y as usize) = Term::NIL;
                            x.copy_from(x.add(1), 3);
                            next!();
                        }
                        Instr::CatchEnd { y } => {
                            *e.add(y as usize) = Term::NIL;
                            if (*x).is_none() {
                                sync!();
                                let value =
                                    operations::catch_value(p, *x.add(1), *x.add(2), *x.add(3));
                                reload!();
                                *x = value;
                                note_pressure!();
                            }
                            next!();
                        }
                        Instr::BifExit { trace, reason } => {
                            let (trace, reason) = (src!(trace), src!(reason));
                            let class = Process::trace_class(trace).unwrap_or(am::ERROR);
                            raise!(BifExit::WithTrace { class, reason, trace });
                        }
                        Instr::RawRaise => {
                            let (class, reason, trace) = (*x, *x.add(1), *x.add(2));
                            match class.as_atom() {
                                Some(class @ (am::ERROR | am::EXIT | am::THROW)) => {
                                    raise!(BifExit::WithTrace { class, reason, trace })
                                }
                                _ => {
                                    *x = Term::atom(am::BADARG);
                                    next!();
                                }
                            }
                        }
                        Instr::BuildStacktrace => {
                            sync!();
                            *x = p.readable_trace(*x);
                            reload!();
                            next!();
                        }

                        Instr::Send => {
                            // In OTP it is a call of the built-in.
                            let (module, function) = (am::ERLANG, swarmrt_term::atom!("send"));
                            save!(SavedCall::Call(Mfa { module, function, arity: 2 }));
                            save!(SavedCall::Send);
                            let (to, message) = (*x, *x.add(1));
                            sync!();
                            if let Some(pid) = to.as_pid()
                                && !p.trace.is_on()
                                && p.sequential.is_none()
                            {
                                signal::send_message(p.vm, p.pid(), pid, message);
                            } else {
                                let mfa = Mfa {
                                    module: am::ERLANG,
                                    function: swarmrt_term::atom!("!"),
                                    arity: 2,
                                };
                                let Some(bif) = p.vm.bifs.number(mfa) else {
                                    raise!(BifExit::Error(Term::atom(am::UNDEF)))
                                };
                                let result = p.vm.bifs.get(bif).call(p, x_slice!(2));
                                // It is suspended before it has sent anything, and sends again
                                // afterwards.
                                if let Err(BifExit::Yield) = result {
                                    p.saved.save(x_slice!(2));
                                    p.ip = ip;
                                    leave!(Outcome::Yield);
                                }
                                if let Err(raise) = result {
                                    let args = x_slice!(2);
                                    // As in OTP, which has the operator as this function.
                                    let mfa = Mfa {
                                        module: am::ERLANG,
                                        function: swarmrt_term::atom!("send"),
                                        arity: 2,
                                    };
                                    raise!(raise, Top::Bif { mfa, args, is_running: false });
                                }
                            }
                            reload!();
                            reds -= 4;
                            *x = message;
                            next!();
                        }
                        Instr::LoopRec { wait } => {
                            if let Some(message) = p.mailbox.receive_peek() {
                                *x = message;
                                next!();
                            }
                            if p.has_incoming() {
                                sync!();
                                p.ip = ip;
                                p.handle_signals();
                                reload!();
                                if p.exit_pending {
                                    leave!(Outcome::Yield);
                                }
                                continue;
                            }
                            jump!(wait);
                        }
                        Instr::LoopRecEnd { target } => {
                            p.mailbox.advance();
                            reds -= 1;
                            if reds > 0 {
                                jump!(target);
                            }
                            ip = operations::past_cell(ip.offset(target as isize));
                            if deferred > 0 {
                                reds += deferred;
                                deferred = 0;
                                // A long walk is worth machine code as much as many calls.
                                if let Some(tier) = native {
                                    sample!(tier, &[]);
                                }
                                slice!();
                            }
                            if reds <= 0 {
                                sync!();
                                p.ip = ip;
                                leave!(Outcome::Yield);
                            }
                            if native.is_some() {
                                code = code_before(ip).unwrap_or(interpreted);
                            }
                            continue 'exec;
                        }
                        Instr::OwnMessage => {
                            sync!();
                            p.own_message();
                            reload!();
                            note_pressure!();
                            next!();
                        }
                        Instr::RemoveMessage => {
                            save!(SavedCall::Receive);
                            if !p.take_message() {
                                raise!(BifExit::BADARG);
                            }
                            note_pressure!();
                            next!();
                        }
                        Instr::Wait { target } => {
                            ip = operations::past_cell(ip.offset(target as isize));
                            sync!();
                            p.ip = ip;
                            leave!(Outcome::Wait);
                        }
                        Instr::WaitTimeout { target, time } => {
                            if p.receive_timer.fired {
                                next!();
                            }
                            if p.receive_timer.key.is_none() && !p.receive_timer.endless {
                                let time = src!(time);
                                if let Some(milliseconds) =
                                    time.as_small().filter(|ms| (0..=0xffff_ffff).contains(ms))
                                {
                                    if milliseconds == 0 {
                                        next!();
                                    }
                                    let timer = &mut p.receive_timer;
                                    timer.sequence = timer.sequence.wrapping_add(1);
                                    let at = p.vm.clock.since_start_ns()
                                        + milliseconds as u64 * 1_000_000;
                                    p.receive_timer.key = Some(p.vm.start_receive_timer(
                                        at,
                                        p.id(),
                                        p.receive_timer.sequence,
                                    ));
                                } else if time == Term::atom(am::INFINITY) {
                                    p.receive_timer.endless = true;
                                } else {
                                    p.mailbox.rewind();
                                    raise!(BifExit::Error(Term::atom(am::TIMEOUT_VALUE)));
                                }
                            }
                            ip = operations::past_cell(ip.offset(target as isize));
                            sync!();
                            p.ip = ip;
                            leave!(Outcome::Wait);
                        }
                        Instr::Timeout => {
                            save!(SavedCall::Timeout);
                            p.receive_timer.fired = false;
                            p.mailbox.rewind();
                            next!();
                        }
                        Instr::RecvMarkerReserve { dst } => {
                            sync!();
                            if p.has_incoming() {
                                p.ip = ip;
                                p.handle_signals();
                            }
                            reload!();
                            set!(dst, operations::reserve_marker(p));
                            next!();
                        }
                        Instr::RecvMarkerBind { marker, reference } => {
                            operations::bind_marker(p, src!(marker), src!(reference));
                            next!();
                        }
                        Instr::RecvMarkerClear { reference } => {
                            operations::clear_marker(p, src!(reference));
                            next!();
                        }
                        Instr::RecvMarkerUse { reference } => {
                            operations::use_marker(p, src!(reference));
                            next!();
                        }

                        Instr::GetMap { get } => {
                            let source = src!(get.map);
                            if !source.is_map() {
                                if get.fail == 0 {
                                    raise_with!(am::BADMAP, source);
                                }
                                jump!(get.fail);
                            }
                            // All keys are read before anything is written.
                            let mut many = Vec::new();
                            let values: *mut u64 = if get.pairs.len() <= SCRATCH_WORDS {
                                (&raw mut (*registers).native.scratch).cast()
                            } else {
                                many.resize(get.pairs.len(), 0u64);
                                many.as_mut_ptr()
                            };
                            let found =
                                get.pairs.iter().enumerate().all(|(at, &(key, _))| match map::get(
                                    source,
                                    src!(key),
                                ) {
                                    Some(found) => {
                                        *values.add(at) = found.raw();
                                        true
                                    }
                                    None => false,
                                });
                            if !found {
                                jump!(get.fail);
                            }
                            for (at, &(_, dst)) in get.pairs.iter().enumerate() {
                                if let Some(dst) = dst {
                                    set!(dst, Term::from_raw(*values.add(at)));
                                }
                            }
                            next!();
                        }
                        Instr::NewMap { keys, values, dst } => {
                            sync!();
                            let map = p.heap.alloc(values.len() + 2);
                            top = p.heap.top;
                            *map = Header::new(Subtag::FlatMap, values.len() + 1).0;
                            let mut at = map.add(1).cast::<Term>();
                            *at = src!(keys);
                            for &value in &*values {
                                at = at.add(1);
                                *at = src!(value);
                            }
                            set!(dst, Term::from_boxed_ptr(map));
                            note_pressure!();
                            next!();
                        }
                        Instr::PutMap { dst, put } => {
                            let source = src!(put.map);
                            if !source.is_map() {
                                if put.fail != 0 {
                                    jump!(put.fail);
                                }
                                raise_with!(am::BADMAP, source);
                            }
                            sync!();
                            let mut map = source;
                            let mut missing = None;
                            for &(key, value) in &put.pairs {
                                let key = src!(key);
                                if put.exact && map::get(map, key).is_none() {
                                    missing = Some(key);
                                    break;
                                }
                                map = map::put(&mut p.heap, map, key, src!(value));
                            }
                            reload!();
                            if let Some(key) = missing {
                                if put.fail != 0 {
                                    jump!(put.fail);
                                }
                                raise_with!(am::BADKEY, key);
                            }
                            set!(dst, map);
                            note_pressure!();
                            next!();
                        }

                        Instr::IsRecord { src, fail } => {
                            test!(src!(src).as_record().is_some(), fail)
                        }
                        Instr::IsRecordOf { test } => {
                            test!(records::is_record_of(&test, src!(test.record)), test.fail)
                        }
                        Instr::IsRecordAccessible { src, fail, own } => {
                            test!(records::is_accessible(src!(src), own), fail)
                        }
                        Instr::GetRecordFields { get } => {
                            let record = src!(get.record);
                            test!(
                                records::get_fields(&get, record, |dst, value| set!(dst, value)),
                                get.fail
                            );
                        }
                        Instr::GetRecordField { get, dst } => {
                            sync!();
                            let value = records::get_field(p, &get, src!(get.record));
                            reload!();
                            match value {
                                Ok(value) => {
                                    set!(dst, value);
                                    next!();
                                }
                                Err(_) if get.fail != 0 => jump!(get.fail),
                                Err(raise) => raise!(raise),
                            }
                        }
                        Instr::PutRecord { put, dst } => {
                            sync!();
                            let made = records::put(p, &put, |key| src!(key));
                            reload!();
                            match made {
                                Ok(record) => {
                                    set!(dst, record);
                                    note_pressure!();
                                    next!();
                                }
                                Err(raise) => raise!(raise),
                            }
                        }

                        Instr::BsStartMatch { src, dst, fail } => {
                            let source = src!(src);
                            sync!();
                            let context = binaries::start_match(p, source);
                            top = p.heap.top;
                            match context {
                                Some(context) => {
                                    set!(dst, context);
                                    note_pressure!();
                                    next!();
                                }
                                None if fail == 0 => raise!(BifExit::BADARG),
                                None => jump!(fail),
                            }
                        }
                        Instr::BsGetInteger { flags, unit, context, size, dst, fail } => {
                            let context = context!(context);
                            let bits =
                                binaries::wanted_bits(context, src!(size), stored_unit(unit));
                            let Some(bits) = bits else { jump!(fail) };
                            sync!();
                            let value = binaries::take_integer(p, context, bits, flags);
                            top = p.heap.top;
                            let Some(value) = value else { jump!(fail) };
                            set!(dst, value);
                            next!();
                        }
                        Instr::BsGetFloat { flags, unit, context, size, dst, fail } => {
                            let context = context!(context);
                            let Some(bits) =
                                binaries::wanted_bits(context, src!(size), stored_unit(unit))
                            else {
                                jump!(fail)
                            };
                            let data = bit_syntax::remaining(context).slice(0, bits);
                            let Some(value) = bit_syntax::read_float(data, flags) else {
                                jump!(fail)
                            };
                            context.set_offset(context.offset() + bits);
                            sync!();
                            let value = p.heap.float(value);
                            top = p.heap.top;
                            set!(dst, value);
                            next!();
                        }
                        Instr::BsGetBinary { unit, context, size, dst, fail } => {
                            let context = context!(context);
                            let Some(bits) =
                                binaries::wanted_bits(context, src!(size), stored_unit(unit))
                            else {
                                jump!(fail)
                            };
                            sync!();
                            let part = binaries::take_part(p, context, bits);
                            top = p.heap.top;
                            set!(dst, part);
                            note_pressure!();
                            next!();
                        }
                        Instr::BsGetRest { unit, context, dst, fail } => {
                            let context = context!(context);
                            let left = context.end() - context.offset();
                            if !left.is_multiple_of(unit as usize) {
                                jump!(fail);
                            }
                            sync!();
                            let part = binaries::take_part(p, context, left);
                            top = p.heap.top;
                            set!(dst, part);
                            note_pressure!();
                            next!();
                        }
                        Instr::BsSkip { unit, context, size, fail } => {
                            let context = context!(context);
                            match binaries::wanted_bits(context, src!(size), stored_unit(unit)) {
                                Some(bits) => {
                                    context.set_offset(context.offset() + bits);
                                    next!();
                                }
                                None => jump!(fail),
                            }
                        }
                        Instr::BsSkipRest { unit, context, fail } => {
                            let context = context!(context);
                            let left = context.end() - context.offset();
                            if !left.is_multiple_of(unit as usize) {
                                jump!(fail);
                            }
                            context.set_offset(context.end());
                            next!();
                        }
                        Instr::BsTestTail { context, bits, fail } => {
                            let context = context!(context);
                            test!(context.end() - context.offset() == bits as usize, fail);
                        }
                        Instr::BsTestUnit { context, unit, fail } => {
                            let context = context!(context);
                            test!(
                                (context.end() - context.offset()).is_multiple_of(unit as usize),
                                fail
                            );
                        }
                        Instr::BsMatchString { context, bits, fail } => {
                            let context = context!(context);
                            let (size, bytes) = &*bits;
                            let size = *size as usize;
                            if context.end() - context.offset() < size {
                                jump!(fail);
                            }
                            let data = bit_syntax::remaining(context).slice(0, size);
                            let wanted =
                                Bits { base: bytes.as_ptr(), bit_offset: 0, bit_size: size };
                            let equal = (0..size.div_ceil(8))
                                .all(|index| data.byte(index) == wanted.byte(index));
                            if !equal {
                                jump!(fail);
                            }
                            context.set_offset(context.offset() + size);
                            next!();
                        }
                        Instr::BsGetUtf { utf, flags, context, dst, fail } => {
                            let context = context!(context);
                            match bit_syntax::read_utf(utf, bit_syntax::remaining(context), flags) {
                                Some((code, bits)) => {
                                    context.set_offset(context.offset() + bits);
                                    set!(dst, Term::small(i64::from(code)));
                                    next!();
                                }
                                None => jump!(fail),
                            }
                        }
                        Instr::BsSkipUtf { utf, flags, context, fail } => {
                            let context = context!(context);
                            debug_assert!(matches!(utf, Utf::Utf8 | Utf::Utf16 | Utf::Utf32));
                            match bit_syntax::read_utf(utf, bit_syntax::remaining(context), flags) {
                                Some((_, bits)) => {
                                    context.set_offset(context.offset() + bits);
                                    next!();
                                }
                                None => jump!(fail),
                            }
                        }
                        Instr::BsGetTail { context, dst } => {
                            let context = context!(context);
                            sync!();
                            let (offset, end) = (context.offset(), context.end());
                            let tail = p.heap.part(context.original(), offset, end - offset);
                            top = p.heap.top;
                            set!(dst, tail);
                            note_pressure!();
                            next!();
                        }
                        Instr::BsGetPosition { context, dst } => {
                            let context = context!(context);
                            set!(dst, Term::small(context.offset() as i64));
                            next!();
                        }
                        Instr::BsSetPosition { context, position } => {
                            let context = context!(context);
                            let position = src!(position).as_small().unwrap_or(0) as usize;
                            if position > context.end() {
                                raise!(BifExit::BADARG);
                            }
                            context.set_offset(position);
                            next!();
                        }
                        Instr::BsMatch { plan } => {
                            let Some(context) = src!(plan.context).as_match_context() else {
                                raise!(BifExit::BADARG)
                            };
                            sync!();
                            let matched = binaries::run_plan(
                                p,
                                &plan,
                                context,
                                |key| src!(key),
                                |dst, value| set!(dst, value),
                            );
                            top = p.heap.top;
                            note_pressure!();
                            test!(matched, plan.fail);
                        }
                        Instr::BsCreateBin { plan } => {
                            sync!();
                            let made =
                                binaries::create(p, &plan, plan.sources().map(|key| src!(key)));
                            top = p.heap.top;
                            reds = p.reductions - deferred;
                            match made {
                                Ok(value) => {
                                    set!(plan.dst, value);
                                    note_pressure!();
                                    next!();
                                }
                                Err(error) => {
                                    if plan.fail != 0 {
                                        jump!(plan.fail);
                                    }
                                    let raise = error.raise(p);
                                    reload!();
                                    raise!(raise);
                                }
                            }
                        }
                        Instr::BsInitWritable => {
                            sync!();
                            let made = binaries::init_writable(p, *x);
                            reload!();
                            *x = made;
                            next!();
                        }
                    }
                }
            };

            match leave {
                Leave::Outcome(outcome) => return Left::Turn(outcome),
                Leave::Raised => {
                    p.check_max_heap_size_when_raising();
                    if p.exit_pending {
                        p.saved.save(&[]);
                        return Left::Turn(Outcome::Yield);
                    }
                    // It may refer to the message that was looked at.
                    p.own_message();
                    let found = operations::find_handler(p);
                    if p.has_traced_frames {
                        let until = found.map_or(p.heap.stack_base(), |(_, frame)| frame);
                        p.traced_raise(until, found.map(|(handler, _)| handler));
                    }
                    match found {
                        Some((handler, frame)) => {
                            p.heap.stop = frame;
                            reload!();
                            *x = Term::NONE;
                            *x.add(1) = Term::atom(p.exception.class);
                            *x.add(2) = p.exception.reason;
                            *x.add(3) = p.exception.trace;
                            p.exception.reason = Term::NIL;
                            p.exception.trace = Term::NIL;
                            ip = handler;
                            code = interpreted;
                            if STEP {
                                let state = &raw mut (*registers).native;
                                (*state).ip = ip;
                                (*state).top = top;
                                (*state).stop = e.cast();
                                (*state).reductions = i64::from(reds);
                                (*state).deferred = i64::from(deferred);
                                return Left::Caught;
                            }
                            continue 'run;
                        }
                        None => {
                            p.uncaught();
                            return Left::Turn(Outcome::Exit);
                        }
                    }
                }
            }
        }
    }
}
