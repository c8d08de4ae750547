//! `enif_select`: messages when a descriptor of a library's can be read or written.
//!
//! One thread waits for all of them. Interest is one-shot: a message is sent once for each call
//! that asks for it.

use crate::abi::{Identifier, c_bool};
use crate::env::{Env, vm};
use crate::epoll::Epoll;
use crate::resources::Held;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::io;
use std::sync::LazyLock;
use swarmrt_heap::copy_term;
use swarmrt_machine::{pin, signal};
use swarmrt_term::{Alloc, FragmentHeap, Term, atom};

/// `ErlNifSelectFlags`.
const READ: c_int = 1;
const WRITE: c_int = 2;
const STOP: c_int = 4;
const CANCEL: c_int = 8;
const CUSTOM_MESSAGE: c_int = 16;
const ERROR: c_int = 32;

/// What a call comes to.
const STOP_CALLED: c_int = 1;
const INVALID: c_int = c_int::MIN | 4;
const FAILED: c_int = c_int::MIN | 8;
const READ_CANCELLED: c_int = 16;
const WRITE_CANCELLED: c_int = 32;
const ERROR_CANCELLED: c_int = 64;

/// What is waited for, in the order of the flags.
const KINDS: [(c_int, c_int, c_int, &str); 3] = [
    (READ, libc::EPOLLIN, READ_CANCELLED, "ready_input"),
    (WRITE, libc::EPOLLOUT, WRITE_CANCELLED, "ready_output"),
    (ERROR, libc::EPOLLERR, ERROR_CANCELLED, "ready_error"),
];

/// A message that was asked for.
struct Notice {
    to: u64,
    /// Whether `term` is all of the message, or its reference.
    is_message: bool,
    term: Term,
    _heap: FragmentHeap,
}

struct Descriptor {
    object: Held,
    wanted: [Option<Notice>; 3],
}

static DESCRIPTORS: LazyLock<Mutex<HashMap<c_int, Descriptor>>> = LazyLock::new(Mutex::default);
static EPOLL: Epoll = Epoll::new("select", ready);

/// How many descriptors are watched.
pub fn watched() -> usize {
    DESCRIPTORS.lock().len()
}

impl Descriptor {
    /// Has the poller wait for what is wanted.
    fn arm(&self, descriptor: c_int) -> io::Result<()> {
        let wanted = KINDS.iter().zip(&self.wanted).filter(|(_, wanted)| wanted.is_some());
        EPOLL.arm(descriptor, wanted.fold(0, |events, ((_, event, ..), _)| events | event))
    }
}

/// Tells those who wait for a descriptor.
fn ready(descriptor: c_int, events: c_int) {
    let _guard = pin();
    let mut descriptors = DESCRIPTORS.lock();
    let Some(state) = descriptors.get_mut(&descriptor) else { return };
    // Both sides learn of an error or of the other end's end by what they do next.
    let broken = events & (libc::EPOLLERR | libc::EPOLLHUP) != 0;
    for ((kind, event, _, name), wanted) in KINDS.iter().zip(&mut state.wanted) {
        let is_error = *kind == ERROR;
        if (events & event != 0 || (broken && !is_error))
            && let Some(wanted) = wanted.take()
        {
            send(&state.object, &wanted, name);
        }
    }
    if state.wanted.iter().any(Option::is_some) {
        // It may be closed by now.
        let _ = state.arm(descriptor);
    }
}

fn send(object: &Held, wanted: &Notice, event: &str) {
    if wanted.is_message {
        signal::send_message(vm(), Term::NONE, wanted.to, wanted.term);
        return;
    }
    let mut heap = FragmentHeap::new();
    let object = object.to_term(&mut heap);
    let event = Term::atom(swarmrt_term::Atom::new(event));
    let message = heap.tuple(&[Term::atom(atom!("select")), object, wanted.term, event]);
    signal::send_message(vm(), Term::NONE, wanted.to, message);
}

/// # Safety
/// `object` is an object that is there; the others are what the interface says or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_select(
    env: *mut Env,
    descriptor: c_int,
    flags: c_int,
    object: *mut c_void,
    pid: *const Identifier,
    reference: Term,
) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        enif_select_x(
            env,
            descriptor,
            flags & !CUSTOM_MESSAGE,
            object,
            pid,
            reference,
            std::ptr::null_mut(),
        )
    }
}

/// # Safety
/// As for `enif_select`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_select_x(
    env: *mut Env,
    descriptor: c_int,
    flags: c_int,
    object: *mut c_void,
    pid: *const Identifier,
    message: Term,
    message_env: *mut Env,
) -> c_int {
    // SAFETY: the caller's.
    let (env, pid, message_env, object) =
        unsafe { (env.as_mut(), pid.as_ref(), message_env.as_mut(), Held::new(object)) };
    if descriptor < 0 {
        return INVALID;
    }
    if flags & STOP != 0 {
        return stop(descriptor, &object);
    }
    let mut descriptors = DESCRIPTORS.lock();
    if flags & CANCEL != 0 {
        let Some(state) = descriptors.get_mut(&descriptor) else { return 0 };
        let mut result = 0;
        for ((kind, _, cancelled, _), wanted) in KINDS.iter().zip(&mut state.wanted) {
            if flags & kind != 0 && wanted.take().is_some() {
                result |= cancelled;
            }
        }
        return if result != 0 && state.arm(descriptor).is_err() { FAILED } else { result };
    }
    let to = match pid {
        Some(pid) => pid.term.as_pid(),
        None => env.and_then(Env::process).map(|process| process.id()),
    };
    let Some(to) = to else { return INVALID };
    let wanted = || {
        let mut heap = FragmentHeap::new();
        let term = copy_term(message, &mut heap);
        Notice { to, is_message: flags & CUSTOM_MESSAGE != 0, term, _heap: heap }
    };
    let state = descriptors
        .entry(descriptor)
        .or_insert_with(|| Descriptor { object: object.clone(), wanted: Default::default() });
    // Another object takes the descriptor away from the one before.
    let before = (state.object.data() != object.data()).then(|| {
        state.wanted = Default::default();
        std::mem::replace(&mut state.object, object)
    });
    for ((kind, ..), place) in KINDS.iter().zip(&mut state.wanted) {
        if flags & kind != 0 {
            *place = Some(wanted());
        }
    }
    if state.arm(descriptor).is_err() {
        let gone = descriptors.remove(&descriptor);
        drop(descriptors);
        drop(gone);
        return FAILED;
    }
    drop(descriptors);
    drop(before);
    if let Some(message_env) = message_env {
        message_env.clear();
    }
    0
}

/// Ends to watch a descriptor; the library may close it.
fn stop(descriptor: c_int, object: &Held) -> c_int {
    let state = DESCRIPTORS.lock().remove(&descriptor);
    let mut result = STOP_CALLED;
    if let Some(state) = &state {
        EPOLL.disarm(descriptor);
        for ((kind, _, cancelled, _), wanted) in KINDS.iter().zip(&state.wanted) {
            result |= cancelled * c_bool(*kind != ERROR && wanted.is_some());
        }
    }
    object.stop(descriptor, true);
    result
}
