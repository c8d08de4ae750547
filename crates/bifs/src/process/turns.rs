//! Giving up turns, and collecting garbage.

use super::spawn::start_of;
use super::{OK, TRUE};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Term, atom};

#[bif("erlang:hibernate/3")]
fn hibernate(p: &mut Process, module: Term, function: Term, args: Term) -> BifResult {
    start_of(module, function, args)?;
    // As many as an engine has registers for; what OTP allows differs from release to release.
    const ARGUMENTS_MAX: usize = 1022;
    if args.list_len().is_some_and(|count| count > ARGUMENTS_MAX) {
        return Err(BifExit::SYSTEM_LIMIT);
    }
    p.trap_args.put(&[module, function, args]);
    Err(BifExit::Hibernate)
}

/// Waits for a message, with nothing on the heap that is not used; the stack stays.
#[bif("erlang:hibernate/0", unlisted, since = 28)]
fn hibernate_0(p: &mut Process) -> BifResult {
    p.handle_signals();
    if p.exit_pending || !p.mailbox.is_empty() {
        return Ok(OK);
    }
    // SAFETY: where a built-in is called the heap pointers are current, and nothing but its
    // arguments, none here, is in registers.
    unsafe { p.collect_to_fit(&mut []) };
    Err(BifExit::Wait)
}

#[bif("erlang:yield/0", unlisted)]
fn yield_0(p: &mut Process) -> BifResult {
    // The second call, in the next turn, goes on.
    if p.bif_state.take().is_some() {
        return Ok(TRUE);
    }
    p.bif_state = Some(Box::new(()));
    Err(BifExit::Yield)
}

#[bif("erlang:bump_reductions/1")]
fn bump_reductions(p: &mut Process, count: Term) -> BifResult {
    let count = count.as_small().filter(|&count| count >= 0).ok_or(BifExit::BADARG)?;
    p.bump_reductions(count as usize);
    Ok(TRUE)
}

/// Collects at the next safepoint, which follows at once: all, or the young generation alone.
pub fn collect_soon(p: &mut Process, major: bool) {
    p.heap.wants_major |= major;
    p.heap.wants_collection = true;
}

#[bif("erts_internal:garbage_collect/1")]
fn garbage_collect(p: &mut Process, kind: Term) -> BifResult {
    if !is_collection(kind) {
        return Err(BifExit::BADARG);
    }
    // The second call, after a dirty scheduler has collected.
    if p.bif_state.take().is_some() {
        return Ok(TRUE);
    }
    collect_soon(p, kind == Term::atom(atom!("major")));
    if p.collects_apart() {
        p.bif_state = Some(Box::new(()));
        return Err(BifExit::Yield);
    }
    Ok(TRUE)
}

#[bif("erlang:garbage_collect/0", unlisted)]
fn garbage_collect_0(p: &mut Process) -> BifResult {
    garbage_collect(p, Term::atom(atom!("major")))
}

/// Whether this is a kind of collection.
pub(super) fn is_collection(kind: Term) -> bool {
    kind.as_atom().is_some_and(|kind| matches!(kind.name(), "major" | "minor"))
}
