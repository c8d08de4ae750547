//! Environments: where the terms of a library live.
//!
//! One that is bound to a process is a view of it: new terms go to its heap, and stay where they are as no built-in
//! collects. Any other has words of its own, which go when it is cleared.

use crate::abi::{NON_VALUE, Out, c_bool};
use crate::library::Loaded;
use crate::resource_types::Opened;
use std::any::Any;
use std::ffi::c_int;
use std::sync::OnceLock;
use swarmrt_heap::copy_term;
use swarmrt_machine::code::natives::NifEntry;
use swarmrt_machine::{Process, Vm};
use swarmrt_term::alloc::OffHeap;
use swarmrt_term::{Alloc, FragmentHeap, SharedBytes, Term, am};

/// The machine: libraries call from threads that it knows nothing of.
static VM: OnceLock<&'static Vm> = OnceLock::new();

pub fn set_vm(vm: &'static Vm) {
    VM.get_or_init(|| vm);
}
pub fn vm() -> &'static Vm {
    VM.get().expect("libraries are loaded by a machine")
}

/// What is there for the rest of a call.
pub enum Temporary {
    Bytes(#[allow(dead_code, reason = "kept, not read")] Box<[u8]>),
    Shared(#[allow(dead_code, reason = "kept, not read")] SharedBytes),
    Other(#[allow(dead_code, reason = "kept, not read")] Box<dyn Any>),
}

/// `ErlNifEnv`.
pub struct Env {
    /// The process whose heap new terms go to, if it is bound to one.
    process: Option<*mut Process>,
    own: FragmentHeap,
    /// The library whose function or callback is running; null in an environment that a library has made.
    pub library: *const Loaded,
    /// The reason of the exception that was raised.
    pub exception: Option<Term>,
    /// What is to be called next, in place of the function that is running; with its arguments in a tuple.
    pub scheduled: Option<Box<(NifEntry, Term)>>,
    temporaries: Vec<Temporary>,
    /// While a library is loaded: the types of resources that it has opened.
    pub opened: Option<Vec<Opened>>,
}

impl Env {
    fn new(process: Option<*mut Process>, library: *const Loaded) -> Env {
        Env { process, own: FragmentHeap::new(), library, exception: None, scheduled: None, temporaries: Vec::new(), opened: None }
    }
    /// For a call in the context of a process.
    #[inline]
    pub fn bound(process: &mut Process, library: *const Loaded) -> Env {
        Env::new(Some(process), library)
    }
    /// For a callback.
    pub fn callback(library: *const Loaded) -> Env {
        Env::new(None, library)
    }
    pub fn process(&mut self) -> Option<&mut Process> {
        // SAFETY: an environment that is bound to a process lives no longer than the call, in which we hold the process.
        self.process.map(|process| unsafe { &mut *process })
    }
    pub fn keep(&mut self, temporary: Temporary) {
        self.temporaries.push(temporary);
    }
    /// Bytes that stay for the rest of the call.
    pub fn keep_bytes(&mut self, bytes: Vec<u8>) -> *mut u8 {
        let mut bytes = bytes.into_boxed_slice();
        let data = bytes.as_mut_ptr();
        self.keep(Temporary::Bytes(bytes));
        data
    }
    pub fn loaded(&self) -> Option<&Loaded> {
        // SAFETY: the library that is running is there.
        unsafe { self.library.as_ref() }
    }
    pub fn clear(&mut self) {
        self.own = FragmentHeap::new();
        self.exception = None;
        self.scheduled = None;
        self.temporaries.clear();
    }
    pub fn raise(&mut self, reason: Term) -> Term {
        self.exception = Some(reason);
        NON_VALUE
    }
    pub fn badarg(&mut self) -> Term {
        self.raise(Term::atom(am::BADARG))
    }
}

impl Alloc for Env {
    #[inline]
    fn alloc(&mut self, words: usize) -> *mut u64 {
        match self.process() {
            Some(process) => process.heap.alloc(words),
            None => self.own.alloc(words),
        }
    }
    fn off_heap(&mut self) -> &mut OffHeap {
        // SAFETY: as in `process`, which the borrow of all of the environment would not allow here.
        match self.process.map(|process| unsafe { &mut *process }) {
            Some(process) => process.heap.off_heap(),
            None => self.own.off_heap(),
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn enif_alloc_env() -> *mut Env {
    Box::into_raw(Box::new(Env::new(None, std::ptr::null())))
}

/// # Safety
/// `env` came from `enif_alloc_env`, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_free_env(env: *mut Env) {
    // SAFETY: the caller's.
    drop(unsafe { Box::from_raw(env) });
}

#[unsafe(no_mangle)]
pub extern "C" fn enif_clear_env(env: &mut Env) {
    env.clear();
}

#[unsafe(no_mangle)]
pub extern "C" fn enif_make_copy(to: &mut Env, term: Term) -> Term {
    copy_term(term, to)
}

#[unsafe(no_mangle)]
pub extern "C" fn enif_raise_exception(env: &mut Env, reason: Term) -> Term {
    env.raise(reason)
}

#[unsafe(no_mangle)]
pub extern "C" fn enif_make_badarg(env: &mut Env) -> Term {
    env.badarg()
}

#[unsafe(no_mangle)]
pub extern "C" fn enif_is_exception(env: &mut Env, term: Term) -> c_int {
    c_bool(env.exception.is_some() && term == NON_VALUE)
}

#[unsafe(no_mangle)]
pub extern "C" fn enif_has_pending_exception(env: &mut Env, reason: Out<Term>) -> c_int {
    if let Some(raised) = env.exception {
        reason.put_unless_null(raised);
    }
    c_bool(env.exception.is_some())
}
