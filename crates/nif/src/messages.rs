//! Processes and ports: who they are, and messages to them.

use crate::abi::{Identifier, Out, c_bool};
use crate::env::{Env, vm};
use std::ffi::c_int;
use swarmrt_io::port::Ports;
use swarmrt_machine::{Process, pin, signal};
use swarmrt_term::binary::io_parts;
use swarmrt_term::{Term, am};

const UNDEFINED: Term = Term::atom(am::UNDEFINED);

/// The calling process; null where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn enif_self(env: &mut Env, to: *mut Identifier) -> *mut Identifier {
    let Some(process) = env.process() else { return std::ptr::null_mut() };
    // SAFETY: by the interface it is the address of a place for the answer.
    unsafe { to.write(Identifier { term: process.pid() }) };
    to
}

/// The term as a pid; 0 when it is none of this node.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_local_pid(_env: *mut Env, term: Term, to: Out<Identifier>) -> c_int {
    if term.is_pid() {
        to.put(Identifier { term });
    }
    c_bool(term.is_pid())
}

/// The term as a port; 0 when it is none of this node.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_local_port(_env: *mut Env, term: Term, to: Out<Identifier>) -> c_int {
    if term.is_port() {
        to.put(Identifier { term });
    }
    c_bool(term.is_port())
}

/// Makes a pid that is none: the atom `undefined` as a term.
#[unsafe(no_mangle)]
pub extern "C" fn enif_set_pid_undefined(to: Out<Identifier>) {
    to.put(Identifier { term: UNDEFINED });
}

/// Whether the pid is what [`enif_set_pid_undefined`] makes.
#[unsafe(no_mangle)]
pub extern "C" fn enif_is_pid_undefined(pid: &Identifier) -> c_int {
    c_bool(pid.term == UNDEFINED)
}

fn registered(name: Term) -> Option<Term> {
    vm().names.whereis(name.as_atom()?)
}

/// The process that is registered under a name; 0 when there is none.
#[unsafe(no_mangle)]
pub extern "C" fn enif_whereis_pid(env: *mut Env, name: Term, to: Out<Identifier>) -> c_int {
    registered(name).map_or(0, |found| enif_get_local_pid(env, found, to))
}

/// The port that is registered under a name; 0 when there is none.
#[unsafe(no_mangle)]
pub extern "C" fn enif_whereis_port(env: *mut Env, name: Term, to: Out<Identifier>) -> c_int {
    registered(name).map_or(0, |found| enif_get_local_port(env, found, to))
}

/// Whether the calling process goes on after the call.
#[unsafe(no_mangle)]
pub extern "C" fn enif_is_current_process_alive(env: &mut Env) -> c_int {
    env.process().map_or(0, |process| c_bool(!process.is_ending()))
}

/// Whether the process was ended while the function is running.
fn has_ended(process: &Process) -> bool {
    if !process.is_in_native() {
        return false;
    }
    let _kept = process.shared().in_native.keep_signals();
    process.exiting
}

/// Whether the process takes signals: it has not ended, and is not doing so.
#[unsafe(no_mangle)]
pub extern "C" fn enif_is_process_alive(_env: *mut Env, pid: &Identifier) -> c_int {
    let _guard = pin();
    let cell = pid.term.as_pid().and_then(|pid| vm().processes.get(pid));
    c_bool(cell.is_some_and(|cell| !cell.shared.incoming.is_closed()))
}

/// Whether the port is open.
#[unsafe(no_mangle)]
pub extern "C" fn enif_is_port_alive(_env: *mut Env, port: &Identifier) -> c_int {
    c_bool(Ports::of(vm()).get(port.term).is_some())
}

/// Sends a message, from any thread. One that was made in an environment of the library's own takes
/// all of that with it.
///
/// # Safety
/// `env` and `message_env` are environments or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_send(
    env: *mut Env,
    to: &Identifier,
    message_env: *mut Env,
    message: Term,
) -> c_int {
    let _guard = pin();
    // SAFETY: the caller's.
    let (env, message_env) = unsafe { (env.as_mut(), message_env.as_mut()) };
    let sender = env.and_then(Env::process);
    let Some(pid) = to.term.as_pid() else { return 0 };
    // As in OTP: one that is gone sends nothing.
    if sender.as_deref().is_some_and(has_ended) {
        return 0;
    }
    let from = sender.as_ref().map_or(Term::NONE, |process| process.pid());
    let sent = signal::send_message(vm(), from, pid, message);
    if let Some(process) = sender {
        process.unattended(|process| {
            if process.trace.is_on() {
                process.trace_sent(to.term, message, sent);
            }
        });
    }
    if sent && let Some(message_env) = message_env {
        message_env.clear();
    }
    c_bool(sent)
}

/// Writes to a port.
///
/// # Safety
/// `message_env` is an environment or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_port_command(
    env: &mut Env,
    port: &Identifier,
    message_env: *mut Env,
    message: Term,
) -> c_int {
    let _guard = pin();
    let from = env.process().map_or(0, |process| process.id());
    let Some(port) = Ports::of(vm()).get(port.term) else { return 0 };
    let Some(mut parts) = io_parts(message) else { return 0 };
    port.write(vm(), from, &mut parts);
    // SAFETY: the caller's.
    if let Some(message_env) = unsafe { message_env.as_mut() } {
        message_env.clear();
    }
    1
}
