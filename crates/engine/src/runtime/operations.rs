//! What instructions do beyond moving words: the parts that are too long for an arm of the main
//! match.

use std::cmp::Ordering;
use swarmrt_beam::instr::{FunPtr, Instr, Select};
use swarmrt_machine::code::{Export, FunEntry, PurgeWait};
use swarmrt_machine::process::X_REGISTERS;
use swarmrt_machine::{BifExit, Process};
use swarmrt_term::bigint::{self, ArithError};
use swarmrt_term::{Alloc, Header, Mfa, Subtag, Term, am, atom, compare};

/// The Erlang error of a failed operation on integers: `badarith` or `system_limit`.
pub fn arith_error(error: ArithError) -> BifExit {
    match error {
        ArithError::BadArith => BifExit::BADARITH,
        ArithError::SystemLimit => BifExit::SYSTEM_LIMIT,
    }
}

/// An arithmetic operator of two operands. [`slow_arithmetic`] does it for integers and floats.
#[derive(Clone, Copy)]
pub enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Band,
    Bor,
    Bxor,
    Bsl,
    Bsr,
}

impl Op {
    /// The name of the function of `erlang` that it is, for the trace of an error.
    pub fn name(self) -> swarmrt_term::Atom {
        match self {
            Op::Add => am::PLUS,
            Op::Sub => am::MINUS,
            Op::Mul => am::TIMES,
            Op::Div => am::DIV,
            Op::Rem => am::REM,
            Op::Band => am::BAND,
            Op::Bor => am::BOR,
            Op::Bxor => am::BXOR,
            Op::Bsl => am::BSL,
            Op::Bsr => am::BSR,
        }
    }
}

/// Arithmetic when the operands are not both small, or the result is not.
///
/// # Errors
/// `badarith`, or `system_limit` where the result is too large.
#[cold]
#[inline(never)]
pub fn slow_arithmetic(p: &mut Process, op: Op, a: Term, b: Term) -> Result<Term, BifExit> {
    let heap = &mut p.heap;
    let result = match op {
        Op::Add => bigint::add(heap, a, b),
        Op::Sub => bigint::sub(heap, a, b),
        Op::Mul => bigint::mul(heap, a, b),
        Op::Div => bigint::div(heap, a, b),
        Op::Rem => bigint::rem(heap, a, b),
        Op::Band => bigint::band(heap, a, b),
        Op::Bor => bigint::bor(heap, a, b),
        Op::Bxor => bigint::bxor(heap, a, b),
        Op::Bsl => bigint::bsl(heap, a, b),
        Op::Bsr => bigint::bsr(heap, a, b),
    };
    let result = result.map_err(arith_error)?;
    p.count_digits(a, b, result, matches!(op, Op::Mul | Op::Div | Op::Rem));
    Ok(result)
}

/// `a < b` in the order of terms, where integers and floats compare by value.
#[inline(always)]
pub fn less(a: Term, b: Term) -> bool {
    if Term::both_small(a, b) {
        return (a.raw() as i64) < (b.raw() as i64);
    }
    slow_less(a, b)
}
#[inline(never)]
fn slow_less(a: Term, b: Term) -> bool {
    order(a, b).is_lt()
}

/// The order of two terms, where integers and floats compare by value.
#[inline]
pub fn order(a: Term, b: Term) -> Ordering {
    if a.is_float_immediate() && b.is_float_immediate() {
        let (a, b) = (a.float_immediate_value(), b.float_immediate_value());
        return a.partial_cmp(&b).unwrap_or(Ordering::Equal);
    }
    compare(a, b)
}

/// `a == b`, where integers and floats compare by value.
#[inline(always)]
pub fn equal(a: Term, b: Term) -> bool {
    a == b || (!Term::both_small(a, b) && swarmrt_term::equal(a, b))
}
/// `a =:= b`.
#[inline(always)]
pub fn equal_exact(a: Term, b: Term) -> bool {
    a == b || (!Term::both_small(a, b) && swarmrt_term::equal_exact(a, b))
}

/// The distance in instructions that the table has for a value. `resolve` gives the terms of the
/// keys in [`Select::Each`].
#[inline]
pub fn select(
    table: &Select,
    value: Term,
    resolve: impl Fn(swarmrt_beam::instr::Src) -> Term,
) -> i32 {
    match table {
        Select::Jump { min, targets, fail } => match value.as_small() {
            Some(small) => targets.get(small.wrapping_sub(*min) as usize).copied().unwrap_or(*fail),
            None => *fail,
        },
        Select::Search { keys, targets, fail } => {
            let raw = value.raw();
            if keys.len() <= 8 {
                return keys.iter().position(|&key| key == raw).map_or(*fail, |at| targets[at]);
            }
            keys.binary_search(&raw).map_or(*fail, |at| targets[at])
        }
        Select::Each { keys, targets, fail } => keys
            .iter()
            .position(|&key| equal_exact(resolve(key), value))
            .map_or(*fail, |at| targets[at]),
    }
}

/// A local fun over these free variables.
pub fn make_fun(
    p: &mut Process,
    entry: FunPtr,
    arity: u16,
    free: impl ExactSizeIterator<Item = Term>,
) -> Term {
    let creator = p.id();
    let ptr = p.heap.alloc(3 + free.len());
    // SAFETY: the words of the fun were given.
    unsafe {
        *ptr = Header::new(Subtag::Fun, 2 + free.len()).0;
        *ptr.add(1) = entry.0;
        *ptr.add(2) = u64::from(arity) | creator << 8;
        for (at, value) in free.enumerate() {
            *ptr.cast::<Term>().add(3 + at) = value;
        }
    }
    Term::from_boxed_ptr(ptr)
}

/// Where a process that is suspended before `ip` resumes: behind the cell, if `ip` is one, as
/// machine code is looked up in the cell before the resume address.
///
/// # Safety
/// `ip` points at an instruction that another follows.
pub unsafe fn past_cell(ip: *const Instr) -> *const Instr {
    // SAFETY: the caller's.
    unsafe { if matches!(*ip, Instr::Cell { .. }) { ip.add(1) } else { ip } }
}

/// What a call of a fun comes to.
pub enum FunCall {
    /// Go there; this many free variables were put after the arguments.
    Go(*const Instr, usize),
    /// Call this function with `Module, Fun, Args`, which are in X\[0\]–X\[2\] now. The reductions
    /// left may be others.
    Undefined(&'static Export),
    BifExit(BifExit),
}

/// Resolves a call of `fun` with `arity` arguments in `x`.
///
/// # Safety
/// `x` points at the X registers.
#[inline]
pub unsafe fn call_fun(p: &mut Process, x: *mut Term, fun: Term, arity: usize) -> FunCall {
    if let Some(local) = fun.as_local_fun() {
        if local.arity() as usize == arity {
            let entry = FunEntry::of(local.entry_ptr());
            let mut code = entry.entry();
            let module = entry.identity.module;
            if code.is_null()
                && !p.vm.code.is_purging(module)
                && p.vm.code.current(module).is_some()
            {
                // The module is there. Unless it has come just now, it is without this fun, and
                // loading it would not help.
                code = entry.entry();
                if code.is_null() {
                    let reason = p.tuple(&[Term::atom(am::BADFUN), fun]);
                    return FunCall::BifExit(BifExit::Error(reason));
                }
            }
            if !code.is_null() {
                let free = local.free();
                // SAFETY: arguments and free variables fit the registers.
                unsafe { x.add(arity).copy_from_nonoverlapping(free.as_ptr(), free.len()) };
                return FunCall::Go(code, free.len());
            }
            // SAFETY: the arguments are in the first `arity` registers, and there are at least two.
            unsafe {
                let args = p.list(std::slice::from_raw_parts(x, arity));
                *x = Term::atom(module);
                *x.add(1) = fun;
                *x.add(2) = args;
            }
            let wait = p.vm.code.wait_for_purge(module, p.id());
            return FunCall::Undefined(if wait == PurgeWait::None {
                let handler = p.error_handler(am::UNDEFINED_LAMBDA);
                if !handler.is_defined() {
                    return FunCall::BifExit(BifExit::Error(Term::atom(am::UNDEF)));
                }
                handler
            } else {
                // It calls the fun again when the purge is over, one way or the other: its turn
                // ends here.
                if wait == PurgeWait::Suspend {
                    p.suspend_once();
                }
                p.reductions = 0;
                p.vm.code.export(Mfa {
                    module: atom!("erts_code_purger"),
                    function: atom!("pending_purge_lambda"),
                    arity: 3,
                })
            });
        }
    } else if let Some(external) = fun.as_export_fun() {
        // SAFETY: external funs point at exports.
        let export = unsafe { &*external.entry_ptr().cast::<Export>() };
        if export.mfa.arity as usize == arity {
            return FunCall::Go(export.entry(), 0);
        }
    } else {
        let reason = p.tuple(&[Term::atom(am::BADFUN), fun]);
        return FunCall::BifExit(BifExit::Error(reason));
    }
    // SAFETY: the arguments are in the registers.
    let args = p.list(unsafe { std::slice::from_raw_parts(x, arity) });
    let call = p.tuple(&[fun, args]);
    let reason = p.tuple(&[Term::atom(am::BADARITY), call]);
    FunCall::BifExit(BifExit::Error(reason))
}

/// `is_function(fun, arity)`; false where `arity` is not a small integer.
pub fn is_function_of(fun: Term, arity: Term) -> bool {
    let Some(arity) = arity.as_small() else { return false };
    if let Some(local) = fun.as_local_fun() {
        return i64::from(local.arity()) == arity;
    }
    fun.as_export_fun().is_some_and(|export| i64::from(export.mfa().arity) == arity)
}

/// Where an exception is caught: the handler, and the stack pointer of its frame.
pub fn find_handler(p: &Process) -> Option<(*const Instr, *mut u64)> {
    let mut at = p.heap.stop;
    let base = p.heap.stack_base();
    let mut frame = at;
    while at < base {
        // SAFETY: between the stack pointer and its base.
        let word = unsafe { *at };
        // SAFETY: `at` is below the base of the stack, so the next word is at most the base.
        at = unsafe { at.add(1) };
        if word & 0b111 == 0 {
            frame = at;
            continue;
        }
        // SAFETY: stack words are terms or return addresses.
        if let Some(handler) = unsafe { Term::from_raw(word) }.as_catch_mark() {
            return Some((handler as *const _, frame));
        }
    }
    None
}

/// The value of a `catch` that caught the exception described by class, reason, trace.
pub fn catch_value(p: &mut Process, class: Term, reason: Term, trace: Term) -> Term {
    if class == Term::atom(am::THROW) {
        return reason;
    }
    let reason = if class == Term::atom(am::ERROR) {
        let trace = p.readable_trace(trace);
        p.tuple(&[reason, trace])
    } else {
        reason
    };
    p.tuple(&[Term::atom(am::CAP_EXIT), reason])
}

// ---- Receive markers ----

/// `recv_marker_reserve`: a marker behind the messages that have arrived. Returns its number, which
/// the program hands to `recv_marker_bind`.
pub fn reserve_marker(p: &mut Process) -> Term {
    Term::small(p.mailbox.reserve_marker().into())
}
/// `recv_marker_bind`: the marker that [`reserve_marker`] gave belongs to this reference from now
/// on.
pub fn bind_marker(p: &mut Process, marker: Term, reference: Term) {
    if let (Some(number), Some(reference)) = (marker.as_small(), reference.as_local_ref()) {
        p.mailbox.bind_marker(number as u64, reference.id());
    }
}
/// `recv_marker_clear`: drops the marker of this reference.
pub fn clear_marker(p: &mut Process, reference: Term) {
    if let Some(reference) = reference.as_local_ref() {
        p.mailbox.clear_marker(reference.id());
    }
}
/// `recv_marker_use`: the next receive starts at the marker of this reference, as no message before
/// it can contain the reference.
pub fn use_marker(p: &mut Process, reference: Term) {
    if let Some(reference) = reference.as_local_ref() {
        p.mailbox.use_marker(reference.id());
    }
}

/// Whether the term is a small integer in OTP as well. OTP has 60 bits for them, we have 62.
pub fn is_otp_small(term: Term) -> bool {
    term.as_small().is_some_and(|value| (-(1 << 59)..1 << 59).contains(&value))
}

/// The most arguments that `erlang:apply/2` takes, as in OTP.
pub const APPLY_FUN_ARGS_MAX: usize = 1022;
/// The most arguments that `erlang:apply/3` takes, as in OTP. No function has as many; the error
/// handler gets them.
const APPLY_ARGS_MAX: usize = 1023;
// What `spread_args` needs.
const _: () = assert!(
    APPLY_ARGS_MAX + 3 <= X_REGISTERS + 256 && APPLY_FUN_ARGS_MAX + 255 <= X_REGISTERS + 256
);

/// Puts the elements of the list in X\[`before` - 1\] in the registers from X\[0\] on. Returns how
/// many there are. The registers below `before` are unchanged when it fails.
///
/// # Errors
/// `badarg` where the last argument is no proper list, `system_limit` where it has more than `max`
/// elements.
///
/// # Safety
/// `x` points at the X registers; they have room for `max` terms after the first `before`.
pub unsafe fn spread_args(x: *mut Term, before: usize, max: usize) -> Result<usize, BifExit> {
    // SAFETY: the caller's.
    unsafe {
        let mut arity = 0;
        let mut rest = *x.add(before - 1);
        while let Some(cell) = rest.as_cons() {
            if arity >= max {
                return Err(BifExit::SYSTEM_LIMIT);
            }
            *x.add(arity + before) = cell.head();
            arity += 1;
            rest = cell.tail();
        }
        if !rest.is_nil() {
            return Err(BifExit::BADARG);
        }
        x.copy_from(x.add(before), arity);
        Ok(arity)
    }
}

/// `erlang:apply/3` with module, function and list of arguments in X\[0\]–X\[2\]: what is to be
/// called, with the arguments in the registers. They stay as they are when it fails.
///
/// # Errors
/// `badarg` where module or function are no atoms.
///
/// # Safety
/// `x` points at the X registers.
pub unsafe fn apply_args(x: *mut Term) -> Result<Mfa, BifExit> {
    // SAFETY: there are more registers than three and the most arguments that a function has.
    unsafe {
        loop {
            let (Some(module), Some(function)) = ((*x).as_atom(), (*x.add(1)).as_atom()) else {
                return Err(BifExit::BADARG);
            };
            let arity = spread_args(x, 3, APPLY_ARGS_MAX)?;
            let mfa = Mfa { module, function, arity: arity as u32 };
            if !is_apply(mfa) {
                return Ok(mfa);
            }
        }
    }
}

/// Whether this is `erlang:apply/3`.
pub fn is_apply(mfa: Mfa) -> bool {
    mfa.module == am::ERLANG && mfa.function == am::APPLY && mfa.arity == 3
}

/// Whether a function has to find its caller on the stack though it was called by name in tail
/// position: one that raises what its caller seems to raise, or `erlang:apply/3` on the way to such
/// a one.
pub fn shows_its_caller(mfa: Mfa) -> bool {
    mfa.module == am::ERLANG
        && match mfa.arity {
            1 => mfa.function == am::ERROR || mfa.function == am::EXIT || mfa.function == am::THROW,
            2 => mfa.function == am::ERROR,
            3 => mfa.function == am::ERROR || mfa.function == am::APPLY,
            _ => false,
        }
}
