//! Native bodies of functions: the part of a native library that a module's version uses.
//!
//! A function that a native body may replace begins with
//! [`Instr::NativeBody`](swarmrt_beam::instr::Instr::NativeBody), which names a slot of its
//! module's version. Loading a library fills slots, once; they go with the version. Whether the
//! library is part of the machine (`prim_file`, `zlib` …) or was loaded from a file makes no
//! difference here.

use crate::bif::{BifEntry, BifKind, BifResult};
use crate::process::Process;
use crate::schedule::current_scheduler;
use std::any::Any;
use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, OnceLock};
use swarmrt_beam::instr::NativePtr;
use swarmrt_term::{Term, stop};

/// What runs in place of a function's own code.
pub enum Native {
    /// Part of the machine.
    Builtin(&'static BifEntry),
    /// Of a library that was loaded from a file.
    Library(Arc<NifEntry>),
    /// Of the program that embeds this machine.
    Host(Arc<dyn HostFunction>),
}

/// A function of the program that embeds this machine.
pub trait HostFunction: Send + Sync {
    /// Whether it runs on a normal scheduler or a dirty one.
    fn kind(&self) -> BifKind;
    /// Calls the function.
    ///
    /// # Errors
    /// The exception.
    fn call(&self, process: &mut Process, arguments: &[Term]) -> BifResult;
}

/// A function of a library.
pub struct NifEntry {
    /// Calls it with these arguments.
    pub call: NifCall,
    /// Where its machine code begins.
    pub address: *const c_void,
    pub kind: BifKind,
    /// The library it belongs to, which stays loaded meanwhile.
    pub library: Arc<dyn Library>,
}

impl NifEntry {
    #[inline]
    fn call(&self, p: &mut Process, args: &[Term]) -> Option<Term> {
        stop::unwatched(|| (self.call)(p, self, args))
    }
}

// SAFETY: the address is that of code, which any thread may run.
unsafe impl Send for NifEntry {}
// SAFETY: the address is that of code, which any thread may run.
unsafe impl Sync for NifEntry {}

/// As a [`BifFn`](crate::bif::BifFn).
pub type NifCall = fn(&mut Process, &NifEntry, &[Term]) -> Option<Term>;

/// A native library that a module's version has loaded.
pub trait Library: Any + Send + Sync {
    /// The version was taken out of the tables: nobody calls the library's functions any more.
    fn unload(&self);
}

/// A function that a library has scheduled (`enif_schedule_nif`), to be called in place of the body
/// that the process stands at. Its arguments are the elements of the tuple in
/// `Process::trap_args`, as the first.
pub struct Scheduled {
    pub function: NifEntry,
}

impl Native {
    /// Where the function that is called next may run.
    pub fn kind(&self, p: &Process) -> BifKind {
        p.scheduled.as_ref().map_or_else(|| self.own_kind(), |scheduled| scheduled.function.kind)
    }
    #[inline]
    fn own_kind(&self) -> BifKind {
        match self {
            Native::Builtin(entry) => entry.kind,
            Native::Library(entry) => entry.kind,
            Native::Host(function) => function.kind(),
        }
    }
    /// Calls the body, or the function that a library has scheduled in its place.
    ///
    /// # Errors
    /// Why there is no result (yet).
    pub fn call(&self, p: &mut Process, args: &[Term]) -> BifResult {
        if p.scheduled.is_some() {
            let result = call_scheduled(p);
            let result = go_on(p, result);
            return p.bif_result(result);
        }
        let result = self.call_directly(p, args);
        p.bif_result(result)
    }
    /// Whether [`Self::call_directly`] may be called on a normal scheduler.
    #[inline]
    pub fn may_be_called_directly(&self, p: &Process) -> bool {
        p.scheduled.is_none() && !self.own_kind().is_dirty()
    }
    /// Calls it although a library may have scheduled something in its place. It returns what a
    /// [`BifFn`](crate::bif::BifFn) does.
    #[inline]
    pub fn call_directly(&self, p: &mut Process, args: &[Term]) -> Option<Term> {
        let result = match self {
            Native::Builtin(entry) => (entry.function)(p, args),
            Native::Library(entry) => entry.call(p, args),
            Native::Host(function) => {
                let result = stop::unwatched(|| function.call(p, args));
                p.return_result(result)
            }
        };
        if result.is_none() { go_on(p, result) } else { result }
    }
}

#[cold]
fn call_scheduled(p: &mut Process) -> Option<Term> {
    let Some(scheduled) = p.scheduled.take() else { unreachable!("just seen") };
    let [args, ..] = p.trap_args.take();
    let args =
        args.as_tuple().expect("the arguments of a scheduled function are a tuple").elements();
    scheduled.function.call(p, args)
}

/// Calls what was scheduled at once, as long as the turn is not over and it may run here.
#[cold]
fn go_on(p: &mut Process, mut result: Option<Term>) -> Option<Term> {
    let may_go_on = |p: &Process| {
        p.scheduled.as_ref().is_some_and(|next| next.function.kind == BifKind::Normal)
            && p.reductions > 0
    };
    while may_go_on(p) && !p.heap.wants_collection && current_scheduler().is_some() {
        p.reductions -= 1;
        p.result_at_hand = None;
        result = call_scheduled(p);
    }
    result
}

/// The place for a function's native body. Empty at first, filled at most once.
#[derive(Default)]
#[repr(transparent)]
pub struct NativeSlot(AtomicPtr<Native>);

impl NativeSlot {
    /// The slot that an instruction names.
    ///
    /// # Safety
    /// The module's version that the instruction belongs to is there.
    #[inline(always)]
    pub unsafe fn at<'a>(ptr: NativePtr) -> &'a NativeSlot {
        // SAFETY: the caller's; such a pointer is only made by `NativeSlots`.
        unsafe { &*(ptr.0 as *const NativeSlot) }
    }
    /// The native body; `None` until it is filled.
    #[inline(always)]
    pub fn get(&self) -> Option<&Native> {
        // SAFETY: a slot is filled with a boxed native, which goes with the slot. Acquire: it is
        // seen whole.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }
    /// `false` when it was filled already.
    fn fill(&self, native: Native) -> bool {
        let native = Box::into_raw(Box::new(native));
        let filled = self.0.compare_exchange(
            std::ptr::null_mut(),
            native,
            Ordering::Release,
            Ordering::Relaxed,
        );
        if filled.is_err() {
            // SAFETY: just made, and nobody has seen it.
            drop(unsafe { Box::from_raw(native) });
        }
        filled.is_ok()
    }
}

impl Drop for NativeSlot {
    fn drop(&mut self) {
        let native = *self.0.get_mut();
        if !native.is_null() {
            // SAFETY: filled with a boxed native, which nobody else frees.
            drop(unsafe { Box::from_raw(native) });
        }
    }
}

/// The native bodies of a module's version.
#[derive(Default)]
pub struct Natives {
    /// One for each function of the module, in the order of the file; none where the module loads
    /// no library.
    slots: Box<[NativeSlot]>,
    /// Whether every function may have a native body: the compiler does not always say which.
    all: bool,
    /// The library that they are from, once it is loaded.
    library: OnceLock<Arc<dyn Library>>,
}

impl Natives {
    pub(crate) fn new(functions: usize, all: bool) -> Natives {
        Natives {
            slots: (0..functions).map(|_| NativeSlot::default()).collect(),
            all,
            library: OnceLock::new(),
        }
    }
    /// The slot of the function with this number, if it may have a native body.
    pub(crate) fn place(&self, function: u32, is_marked: &dyn Fn() -> bool) -> Option<NativePtr> {
        let slot = self.slots.get(function as usize).filter(|_| self.all || is_marked())?;
        Some(NativePtr(std::ptr::from_ref(slot) as u64))
    }
    /// The native body of a function (by its number, in the order of the file); `None` where it has
    /// none.
    pub fn get(&self, function: usize) -> Option<&Native> {
        self.slots.get(function)?.get()
    }
    /// Gives a function its native body. `false` when it has one.
    pub fn fill(&self, function: usize, native: Native) -> bool {
        self.slots.get(function).is_some_and(|slot| slot.fill(native))
    }
    /// The library that the native bodies are from; `None` until it is loaded.
    pub fn library(&self) -> Option<&Arc<dyn Library>> {
        self.library.get()
    }
    /// Keeps the library as long as the version is there. `false` when there is one already.
    pub fn set_library(&self, library: Arc<dyn Library>) -> bool {
        self.library.set(library).is_ok()
    }
}
