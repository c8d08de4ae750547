//! `prim_socket`: the native side of OTP's `socket`.
//!
//! `state.rs` is a socket and who waits for it; the functions of the module are in `calls.rs`
//! (opening to closing), `transfer.rs` (data), `messages.rs` (headers and control messages),
//! `options.rs`, `ioctl.rs` and `info.rs`.

mod address;
mod calls;
mod info;
mod ioctl;
mod messages;
mod net;
mod options;
mod state;
mod transfer;

use state::{Done, Fail};
use swarmrt_io::posix;
use swarmrt_machine::{BifExit, BifResult, Process};
use swarmrt_term::{Alloc, Term, am, atom};

/// What a function of the module answers.
fn answer(p: &mut Process, done: Done) -> BifResult {
    let (tag, reason) = match done {
        Ok(term) => return Ok(term),
        Err(Fail::BifExit(raise)) => return Err(raise),
        Err(Fail::System(number)) => return posix::error(p, posix::name(number)),
        Err(Fail::Reason(reason)) => (am::ERROR, reason),
        Err(Fail::Misuse(what)) => {
            let reason = p.tuple(&[Term::atom(atom!("invalid")), Term::atom(what)]);
            return Ok(p.tuple(&[Term::atom(am::ERROR), reason]));
        }
        Err(Fail::Invalid(what)) => (atom!("invalid"), what),
    };
    Ok(p.tuple(&[Term::atom(tag), Term::atom(reason)]))
}

/// `{ok, Value}`.
fn ok(p: &mut Process, value: Term) -> Done {
    Ok(p.tuple(&[Term::atom(am::OK), value]))
}

fn integer<T: TryFrom<i64>>(term: Term) -> Result<T, Fail> {
    term.as_small().and_then(|value| T::try_from(value).ok()).ok_or(Fail::BifExit(BifExit::BADARG))
}
