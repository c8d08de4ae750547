//! Environments: where the terms of a library live.
//!
//! One that is bound to a process is a view of it: new terms go to its heap, and stay where they
//! are as no built-in collects. Any other has words of its own, which go when it is cleared.

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

/// Whether libraries can work for a machine: they call without an argument that names it, so it is
/// the first one that asks. That one is never freed.
pub fn claim(machine: &'static Vm) -> bool {
    let claimed = std::ptr::eq(machine, *VM.get_or_init(|| machine));
    if claimed {
        machine.keep_because("native libraries work for it");
    }
    claimed
}
/// The machine that libraries work for.
///
/// # Panics
/// Before [`claim`] has succeeded once.
pub fn vm() -> &'static Vm {
    VM.get().expect("libraries are loaded by a machine")
}

/// What is there for the rest of a call.
pub enum Temporary {
    Bytes(#[allow(dead_code, reason = "kept, not read")] Box<[u8]>),
    Shared(#[allow(dead_code, reason = "kept, not read")] SharedBytes),
    Other(#[allow(dead_code, reason = "kept, not read")] Box<dyn Any>),
}

/// `ErlNifEnv`. Made for every call, and so as small as it can be.
pub struct Env {
    /// The process whose heap new terms go to; null when it is bound to none.
    process: *mut Process,
    /// The library whose function or callback is running; null in an environment that a library has
    /// made.
    pub library: *const Loaded,
    /// The reason of the exception that was raised, or [`NON_VALUE`].
    pub exception: Term,
    more: Option<Box<More>>,
}

/// What few environments have.
#[derive(Default)]
struct More {
    /// The terms of one that is bound to no process.
    own: FragmentHeap,
    temporaries: Vec<Temporary>,
    scheduled: Option<Next>,
    opened: Option<Vec<Opened>>,
}

/// What is to be called in place of the function that is running, and the tuple of its arguments.
pub type Next = (NifEntry, Term);

impl Env {
    /// For a call in the context of a process.
    #[inline]
    pub fn bound(process: &mut Process, library: *const Loaded) -> Env {
        Env { process, library, exception: NON_VALUE, more: None }
    }
    /// For a callback.
    pub fn callback(library: *const Loaded) -> Env {
        Env { process: std::ptr::null_mut(), library, exception: NON_VALUE, more: None }
    }
    /// The process that the environment is bound to.
    pub fn process(&mut self) -> Option<&mut Process> {
        // SAFETY: an environment that is bound to a process lives no longer than the call, in which
        // we hold the process.
        unsafe { self.process.as_mut() }
    }
    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
    /// Keeps something for the rest of the call, or until the environment is cleared.
    pub fn keep(&mut self, temporary: Temporary) {
        self.more().temporaries.push(temporary);
    }
    /// Bytes that stay for the rest of the call.
    pub fn keep_bytes(&mut self, bytes: Vec<u8>) -> *mut u8 {
        let mut bytes = bytes.into_boxed_slice();
        let data = bytes.as_mut_ptr();
        self.keep(Temporary::Bytes(bytes));
        data
    }
    /// Has another function called when this one has returned.
    pub fn schedule(&mut self, next: Next) {
        self.more().scheduled = Some(next);
    }
    /// Whether the call has done no more than compute a term.
    #[inline]
    pub fn is_untouched(&self) -> bool {
        self.exception == NON_VALUE && self.more.is_none()
    }
    /// What [`schedule`](Self::schedule) has been given.
    pub fn take_scheduled(&mut self) -> Option<Next> {
        self.more.as_mut()?.scheduled.take()
    }
    /// A library is being loaded: it may open types of resources from now on.
    pub fn begin_loading(&mut self) {
        self.more().opened = Some(Vec::new());
    }
    /// The types that the library being loaded has opened; none at other times.
    pub fn opened(&mut self) -> Option<&mut Vec<Opened>> {
        self.more.as_mut()?.opened.as_mut()
    }
    /// The library whose function or callback is running.
    pub fn loaded(&self) -> Option<&Loaded> {
        // SAFETY: the library that is running is there.
        unsafe { self.library.as_ref() }
    }
    /// Forgets the exception, and frees all that the environment has of its own.
    pub fn clear(&mut self) {
        self.exception = NON_VALUE;
        self.more = None;
    }
    /// Notes an exception of the class `error`; the result is to be returned to the machine.
    pub fn raise(&mut self, reason: Term) -> Term {
        self.exception = reason;
        NON_VALUE
    }
    /// Notes the error `badarg`; the result is to be returned to the machine.
    pub fn badarg(&mut self) -> Term {
        self.raise(Term::atom(am::BADARG))
    }
}

impl Alloc for Env {
    #[inline]
    fn alloc(&mut self, words: usize) -> *mut u64 {
        match self.process() {
            Some(process) => process.heap.alloc(words),
            None => self.more().own.alloc(words),
        }
    }
    fn off_heap(&mut self) -> &mut OffHeap {
        // SAFETY: the process of a call lives as long as the call; `process` would borrow all of
        // the environment.
        match unsafe { self.process.as_mut() } {
            Some(process) => process.heap.off_heap(),
            None => self.more().own.off_heap(),
        }
    }
}

/// A new environment, bound to no process. The memory comes from where
/// [`enif_alloc`](crate::system::enif_alloc) takes its: OTP's own tests free environments with
/// `enif_free`, which leaves behind what their terms hold, and nothing worse.
#[unsafe(no_mangle)]
pub extern "C" fn enif_alloc_env() -> *mut Env {
    const { assert!(align_of::<Env>() <= 16) };
    // SAFETY: `malloc` aligns to 16 bytes, and there is room for what is written.
    unsafe {
        let env = libc::malloc(size_of::<Env>()).cast::<Env>();
        if env.is_null() {
            swarmrt_term::refusal::end(size_of::<Env>());
        }
        env.write(Env::callback(std::ptr::null()));
        env
    }
}

/// Frees an environment and its terms.
///
/// # Safety
/// `env` came from `enif_alloc_env`, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_free_env(env: *mut Env) {
    // SAFETY: the caller's; `enif_alloc_env` took the memory from `malloc`.
    unsafe {
        std::ptr::drop_in_place(env);
        libc::free(env.cast());
    }
}

/// Frees the terms of an environment, which may be used again.
#[unsafe(no_mangle)]
pub extern "C" fn enif_clear_env(env: &mut Env) {
    env.clear();
}

/// A copy of a term, which may be of any environment.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_copy(to: &mut Env, term: Term) -> Term {
    copy_term(term, to)
}

/// Raises an error with any reason; the result is to be returned.
#[unsafe(no_mangle)]
pub extern "C" fn enif_raise_exception(env: &mut Env, reason: Term) -> Term {
    env.raise(reason)
}

/// Raises `badarg`; the result is to be returned.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_badarg(env: &mut Env) -> Term {
    env.badarg()
}

/// Whether the term is what a function that raises an exception returns.
#[unsafe(no_mangle)]
pub extern "C" fn enif_is_exception(env: &mut Env, term: Term) -> c_int {
    c_bool(env.exception != NON_VALUE && term == NON_VALUE)
}

/// Whether an exception was raised, and its reason where that is wanted.
#[unsafe(no_mangle)]
pub extern "C" fn enif_has_pending_exception(env: &mut Env, reason: Out<Term>) -> c_int {
    let is_pending = env.exception != NON_VALUE;
    if is_pending {
        reason.put_unless_null(env.exception);
    }
    c_bool(is_pending)
}
