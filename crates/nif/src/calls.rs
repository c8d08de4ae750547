//! Calls of a library's functions, and what such a function can ask of the scheduler.

use crate::abi::{CArray, CText, DIRTY_CPU, DIRTY_IO, NON_VALUE, NifFn, c_bool};
use crate::env::Env;
use crate::library::{Loaded, is_halting};
use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use swarmrt_machine::bif::BifKind;
use swarmrt_machine::code::natives::{NifCall, NifEntry, Scheduled};
use swarmrt_machine::process::REDUCTIONS_PER_TURN;
use swarmrt_machine::schedule::current_scheduler;
use swarmrt_machine::schedule::deferred;
use swarmrt_machine::{BifExit, BifResult, Process};
use swarmrt_term::{Alloc, Term, atom};

thread_local! {
    /// The kind of dirty scheduler that the thread is, while it runs a library's function.
    static DIRTY: Cell<Option<BifKind>> = const { Cell::new(None) };
}

const ARGUMENTS_MAX: usize = 255;

/// How functions of this kind are called.
pub fn call_of(kind: BifKind) -> NifCall {
    if kind == BifKind::Normal { call_normal } else { call_dirty }
}

fn call_normal(p: &mut Process, entry: &NifEntry, args: &[Term]) -> Option<Term> {
    // What this thread has put off may be destructors of objects that the function asks for.
    deferred::run();
    let library = Arc::as_ptr(&entry.library).cast::<Loaded>();
    call(p, library, entry, args)
}

/// Calls a function on a dirty scheduler. The process may be ended meanwhile, and its module
/// purged: the entry is not to be used afterwards, and the library has a user until then.
fn call_dirty(p: &mut Process, entry: &NifEntry, args: &[Term]) -> Option<Term> {
    deferred::run();
    let library = entry.library.clone();
    let loaded = Arc::as_ptr(&library).cast::<Loaded>();
    // SAFETY: the library of an entry is one of ours, and we hold it.
    let user = unsafe { &*loaded };
    user.add_user();
    let result = p.in_native(|p| {
        DIRTY.set(Some(entry.kind));
        let result = call(p, loaded, entry, args);
        DIRTY.set(None);
        result
    });
    user.drop_user();
    result.unwrap_or_else(|| p.return_result(Err(BifExit::Wait)))
}

/// Calls a function of the library.
#[inline]
fn call(p: &mut Process, library: *const Loaded, entry: &NifEntry, args: &[Term]) -> Option<Term> {
    // SAFETY: the library of an entry is one of ours, and there as long as the entry is.
    let loaded = unsafe { &*library };
    let running = if loaded.delays_halt.load(Ordering::Relaxed) {
        // The process runs no more once the machine is about to halt.
        let Some(running) = loaded.begin_call() else { return p.return_result(Err(BifExit::Wait)) };
        Some(running)
    } else {
        None
    };
    let mut env = Env::bound(p, library);
    // SAFETY: the address is that of a function of the library, which is loaded as long as the
    // entry is there.
    let function = unsafe { std::mem::transmute::<*const c_void, NifFn>(entry.address) };
    // SAFETY: the library is trusted to be what it says. The environment and the arguments are
    // there during the call.
    let result = unsafe { function(&raw mut env, args.len() as c_int, args.as_ptr()) };
    if running.is_some() && is_halting() {
        return p.return_result(Err(BifExit::Wait));
    }
    if env.is_untouched() && result != NON_VALUE {
        // Nothing to drop either.
        std::mem::forget(env);
        return Some(result);
    }
    let result = finish(p, env, result);
    p.return_result(result)
}

/// The result of a call that has raised an exception, scheduled another function, or kept something
/// in its environment.
#[inline(never)]
fn finish(p: &mut Process, mut env: Env, result: Term) -> BifResult {
    if env.exception != NON_VALUE {
        return Err(BifExit::Error(env.exception));
    }
    if let Some((function, args)) = env.take_scheduled() {
        drop(env);
        p.trap_args.put(&[args]);
        p.scheduled = Some(Box::new(Scheduled { function }));
        return Err(BifExit::Yield);
    }
    if result == NON_VALUE {
        return Err(BifExit::Error(Term::atom(atom!("badreturn"))));
    }
    Ok(result)
}

/// Has another function called in place of the running one, on the scheduler that `flags` names;
/// `badarg` for wrong arguments. The result is to be returned.
#[unsafe(no_mangle)]
pub extern "C" fn enif_schedule_nif(
    env: &mut Env,
    name: CText,
    flags: c_int,
    function: NifFn,
    count: c_int,
    args: CArray<Term>,
) -> Term {
    let Ok(count) = usize::try_from(count) else { return env.badarg() };
    let kind = match c_uint::try_from(flags) {
        Ok(0) => BifKind::Normal,
        Ok(DIRTY_CPU) => BifKind::DirtyCpu,
        Ok(DIRTY_IO) => BifKind::DirtyIo,
        _ => return env.badarg(),
    };
    if count > ARGUMENTS_MAX || name.bytes().len() > ARGUMENTS_MAX {
        return env.badarg();
    }
    if env.process().is_none() || env.library.is_null() {
        return env.badarg();
    }
    let args = env.tuple(args.of(count));
    // SAFETY: the library that is running is there, and held by an `Arc` as every loaded library
    // is.
    let library = unsafe {
        Arc::increment_strong_count(env.library);
        Arc::from_raw(env.library)
    };
    env.schedule((
        NifEntry { call: call_of(kind), address: function as *const c_void, kind, library },
        args,
    ));
    NON_VALUE
}

/// Whether the turn is over.
#[unsafe(no_mangle)]
pub extern "C" fn enif_consume_timeslice(env: &mut Env, percent: c_int) -> c_int {
    if current_scheduler().is_none() {
        return 0;
    }
    let Some(process) = env.process() else { return 0 };
    let percent = usize::try_from(percent).unwrap_or(1).clamp(1, 100);
    process.bump_reductions((REDUCTIONS_PER_TURN as usize).div_ceil(100) * percent);
    c_bool(process.reductions <= 0)
}

/// `ERL_NIF_THR_…`.
#[unsafe(no_mangle)]
pub extern "C" fn enif_thread_type() -> c_int {
    match DIRTY.get() {
        Some(BifKind::DirtyCpu) => 2,
        Some(BifKind::DirtyIo | BifKind::BriefIo) => 3,
        _ => c_bool(current_scheduler().is_some()),
    }
}
