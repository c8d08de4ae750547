//! The return of built-ins that have sent a signal to another node: not before the process has
//! stopped waiting for the connection.

use swarmrt_machine::process::links::Tag;
use swarmrt_machine::{BifExit, BifResult, Process};
use swarmrt_term::Term;

/// The signal is sent; `None`: the result is known to the built-in.
struct Sent(Option<Tag>);

/// Whether this call goes on after a wait; with the result, if it was kept.
fn waited(p: &mut Process) -> Option<Option<Tag>> {
    if !p.bif_state.as_ref()?.is::<Sent>() {
        return None;
    }
    let state = p.bif_state.take()?.downcast::<Sent>().ok()?;
    Some(state.0)
}

/// Calls `send`, whose result is returned once the process does not wait for a connection.
pub(super) fn when_sent(
    p: &mut Process,
    send: impl FnOnce(&mut Process) -> BifResult,
) -> BifResult {
    if let Some(Some(result)) = waited(p) {
        return Ok(swarmrt_heap::copy_term(result.term(), &mut p.heap));
    }
    let result = send(p)?;
    if !p.waits_for_connection() {
        return Ok(result);
    }
    p.bif_state = Some(Box::new(Sent(Some(Tag::new(result)))));
    Err(BifExit::Yield)
}

/// As [`when_sent`], for a result that the built-in has at hand.
pub(super) fn given_when_sent<T>(
    p: &mut Process,
    given: Term,
    send: impl FnOnce(&mut Process) -> Result<T, BifExit>,
) -> BifResult {
    if waited(p).is_some() {
        return Ok(given);
    }
    send(p)?;
    if !p.waits_for_connection() {
        return Ok(given);
    }
    p.bif_state = Some(Box::new(Sent(None)));
    Err(BifExit::Yield)
}
