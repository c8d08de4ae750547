//! Resources: objects of a library that terms refer to, and that go with the last term.
//!
//! An object lies in counted memory as that of any reference ([`SharedBytes`]): a head, then the
//! library's bytes. Terms and the library itself hold it. When nobody does, it is put off
//! ([`deferred`]) until its destructor can be called from a place that holds no locks.

use crate::abi::{Identifier, Monitor, NON_VALUE, Out, c_bool};
use crate::env::{Env, vm};
use crate::resource_types::{self, Owner, ResourceType};
use parking_lot::Mutex;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ffi::{c_int, c_void};
use std::mem::ManuallyDrop;
use std::sync::LazyLock;
use swarmrt_machine::process::{OnExit, Watcher};
use swarmrt_machine::schedule::deferred;
use swarmrt_machine::{pin, signal};
use swarmrt_term::{Alloc, RefValue, SharedBytes, Term, binary, reference, stop};

/// What comes before the library's bytes. The first word is the memory's own.
#[repr(C)]
struct Head {
    finish: usize,
    resource_type: *const ResourceType,
    /// The library's bytes.
    size: usize,
    /// The raw word of the memory.
    raw: u64,
    /// Whether the object has ever monitored a process.
    monitors: u64,
}

const HEAD_WORDS: usize = size_of::<Head>() / 8;
// With the head of counted bytes, the library's bytes begin at a multiple of 16.
const _: () = assert!(HEAD_WORDS == 5);

/// An object that is there.
#[derive(Clone, Copy)]
struct Object(*mut Head);

impl Object {
    /// # Safety
    /// `data` are the bytes of an object that is there.
    unsafe fn of(data: *mut c_void) -> Object {
        // SAFETY: the head comes before them.
        Object(unsafe { data.cast::<Head>().sub(1) })
    }
    fn in_memory(shared: &SharedBytes) -> Option<Object> {
        shared.is_finished_by(finish).then(|| Object(shared.data().cast()))
    }
    fn head<'a>(self) -> &'a Head {
        // SAFETY: the object is there.
        unsafe { &*self.0 }
    }
    fn data(self) -> *mut c_void {
        // SAFETY: the bytes follow the head.
        unsafe { self.0.add(1).cast() }
    }
    fn resource_type<'a>(self) -> &'a ResourceType {
        // SAFETY: an object is counted as a user of its type.
        unsafe { &*self.head().resource_type }
    }
    /// Another holder.
    fn hold(self) -> SharedBytes {
        // SAFETY: the object is there.
        unsafe { SharedBytes::clone_raw(self.head().raw) }
    }
    fn number(self) -> u64 {
        // SAFETY: the object is there; its count stays.
        ManuallyDrop::new(unsafe { SharedBytes::from_raw(self.head().raw) }).number()
    }
}

/// The last holder is gone.
fn finish(raw: u64) {
    deferred::defer(destroy, raw);
}

/// Has the library destroy an object that nobody holds, and frees it.
fn destroy(raw: u64) {
    // The memory is no longer counted, but there.
    let object = {
        // SAFETY: nothing but `free` below ends the memory.
        let memory = ManuallyDrop::new(unsafe { SharedBytes::from_raw(raw) });
        Object(memory.data().cast())
    };
    if object.head().monitors != 0 {
        forget_monitors(object.number());
    }
    let (callbacks, owner) = object.resource_type().callbacks();
    if let Some(dtor) = callbacks.dtor {
        let mut env = Env::callback(owner.as_ref().map_or(std::ptr::null(), Owner::library));
        // SAFETY: the owner is kept loaded until it is dropped.
        stop::unwatched(|| unsafe { dtor(&raw mut env, object.data()) });
    }
    drop(owner);
    // SAFETY: the object was counted, and nobody uses its memory any more.
    unsafe {
        resource_types::drop_user(object.head().resource_type);
        SharedBytes::free(raw);
    }
}

const _: binary::Finish = finish;

/// # Safety
/// `resource_type` is a type that is loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_alloc_resource(
    resource_type: *const ResourceType,
    size: usize,
) -> *mut c_void {
    let Some(shared) = SharedBytes::finished_by(finish, HEAD_WORDS, size) else {
        return std::ptr::null_mut();
    };
    let object = Object(shared.data().cast());
    // SAFETY: the memory has room for the head, and nobody else has seen it.
    unsafe {
        (*object.0).resource_type = resource_type;
        (*object.0).size = size;
        (*object.0).monitors = 0;
        (*resource_type).add_user();
        (*object.0).raw = shared.into_raw();
    }
    object.data()
}

/// # Safety
/// `data` is an object that the caller holds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_release_resource(data: *mut c_void) {
    // SAFETY: the caller's.
    drop(unsafe { SharedBytes::from_raw(Object::of(data).head().raw) });
}

/// # Safety
/// `data` is an object that is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_keep_resource(data: *mut c_void) {
    // SAFETY: the caller's.
    let _ = unsafe { Object::of(data) }.hold().into_raw();
}

/// # Safety
/// `data` is an object that is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_make_resource(env: &mut Env, data: *mut c_void) -> Term {
    // SAFETY: the caller's.
    env.counted_ref(unsafe { Object::of(data) }.hold())
}

/// A binary of bytes that stay as long as the object does.
///
/// # Safety
/// `data` is an object that is there, and `bytes` are as many as `size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_make_resource_binary(
    env: &mut Env,
    data: *mut c_void,
    bytes: *const u8,
    size: usize,
) -> Term {
    // SAFETY: the caller's.
    unsafe { env.shared_bin_of(Object::of(data).hold(), bytes, size * 8) }
}

/// The object that a term refers to.
fn object_of(term: Term) -> Option<Object> {
    let raw = match term.as_local_ref() {
        Some(reference) => reference.counted_raw()?,
        None if term.is_binary() => binary::Bits::shared_of(term)?,
        None => return None,
    };
    // SAFETY: a term holds the memory that it refers to.
    Object::in_memory(&ManuallyDrop::new(unsafe { SharedBytes::from_raw(raw) }))
}

/// The object that a term refers to; 0 when it is none of this type.
#[unsafe(no_mangle)]
pub extern "C" fn enif_get_resource(
    _env: *mut Env,
    term: Term,
    resource_type: *const ResourceType,
    to: Out<*mut c_void>,
) -> c_int {
    let Some(object) =
        object_of(term).filter(|object| std::ptr::eq(object.head().resource_type, resource_type))
    else {
        return 0;
    };
    to.put(object.data());
    1
}

/// The library's bytes of an object.
///
/// # Safety
/// `data` is an object that is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_sizeof_resource(data: *mut c_void) -> usize {
    // SAFETY: the caller's.
    unsafe { Object::of(data) }.head().size
}

/// Calls a function of the library that the type of an object belongs to; 0 when that was done.
#[unsafe(no_mangle)]
pub extern "C" fn enif_dynamic_resource_call(
    env: &mut Env,
    module: Term,
    name: Term,
    term: Term,
    argument: *mut c_void,
) -> c_int {
    let Some(object) = object_of(term).filter(|_| !term.is_binary()) else { return 1 };
    let resource_type = object.resource_type();
    if module.as_atom() != Some(resource_type.module) || name.as_atom() != Some(resource_type.name)
    {
        return 1;
    }
    let (callbacks, owner) = resource_type.callbacks();
    let Some(dyncall) = callbacks.dyncall else { return 1 };
    // SAFETY: the owner is kept loaded until it is dropped.
    unsafe { dyncall(env, object.data(), argument) };
    drop(owner);
    0
}

// ---- Stopping, for descriptors that are watched ----

/// An object that is held, for the poller.
#[derive(Clone)]
pub struct Held(SharedBytes);

impl Held {
    /// # Safety
    /// `data` is an object that is there.
    pub unsafe fn new(data: *mut c_void) -> Held {
        // SAFETY: the caller's.
        Held(unsafe { Object::of(data) }.hold())
    }
    /// The library's bytes.
    pub fn data(&self) -> *mut c_void {
        Object(self.0.data().cast()).data()
    }
    /// Tells the library that a descriptor is not watched any more.
    pub fn stop(&self, descriptor: c_int, is_direct: bool) {
        let object = Object(self.0.data().cast());
        let (callbacks, owner) = object.resource_type().callbacks();
        let Some(stop) = callbacks.stop else { return };
        let mut env = Env::callback(owner.as_ref().map_or(std::ptr::null(), Owner::library));
        // SAFETY: the owner is kept loaded until it is dropped.
        stop::unwatched(|| unsafe {
            stop(&raw mut env, object.data(), descriptor, c_bool(is_direct));
        });
    }
    /// A term that refers to the object.
    pub fn to_term(&self, to: &mut impl Alloc) -> Term {
        to.counted_ref(self.0.clone())
    }
}

// ---- Monitors ----

/// A process that an object monitors.
struct Watched {
    monitor: Monitor,
    object: u64,
    pid: u64,
}

static MONITORS: LazyLock<Mutex<Monitors>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Monitors {
    /// By the numbers of their references.
    watched: HashMap<u64, Watched>,
    /// The numbers of the references that each object has.
    of_object: HashMap<u64, HashSet<u64>>,
}

impl Monitors {
    fn insert(&mut self, watched: Watched) {
        self.of_object.entry(watched.object).or_default().insert(watched.monitor.id);
        self.watched.insert(watched.monitor.id, watched);
    }
    fn remove(&mut self, id: u64) -> Option<Watched> {
        let watched = self.watched.remove(&id)?;
        if let Entry::Occupied(mut of_object) = self.of_object.entry(watched.object) {
            of_object.get_mut().remove(&id);
            if of_object.get().is_empty() {
                of_object.remove();
            }
        }
        Some(watched)
    }
    fn remove_object(&mut self, object: u64) -> Vec<Watched> {
        let ids = self.of_object.remove(&object).unwrap_or_default();
        ids.iter().filter_map(|id| self.watched.remove(id)).collect()
    }
}

/// 0 when the process is monitored; less when the type has no function for that, more when the
/// process is gone.
///
/// # Safety
/// `data` is an object that is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_monitor_process(
    _env: *mut Env,
    data: *mut c_void,
    pid: &Identifier,
    to: Out<Monitor>,
) -> c_int {
    // SAFETY: the caller's.
    let object = unsafe { Object::of(data) };
    if object.resource_type().callbacks().0.down.is_none() {
        return -1;
    }
    let vm = vm();
    let _guard = pin();
    let Some(pid) = pid.term.as_pid() else { return 1 };
    if vm.processes.get(pid).is_none_or(|cell| cell.shared.incoming.is_closed()) {
        return 1;
    }
    let value = vm.next_ref();
    let monitor = Monitor::new(value.id, value.low);
    // SAFETY: the object is there; the word is written the same by all.
    unsafe { (&raw mut (*object.0).monitors).write_volatile(1) };
    let number = object.number();
    MONITORS.lock().insert(Watched { monitor, object: number, pid });
    to.put_unless_null(monitor);
    let id = value.id;
    signal::send_call(
        vm,
        pid,
        Box::new(move |_, process| match process {
            Some(process) => {
                let on_exit =
                    OnExit { watcher: Watcher::Memory(number), call: Box::new(move |_| down(id)) };
                process.extra().on_exit.insert(id, on_exit);
            }
            // We may be in a call of the library, which holds its locks.
            None => deferred::defer(down, id),
        }),
    );
    0
}

/// A monitored process is gone.
fn down(id: u64) {
    let (Watched { monitor, object: _, pid }, held) = {
        let mut monitors = MONITORS.lock();
        let Some(watched) = monitors.remove(id) else { return };
        // An object that is going is not told. Any other is held before a demonitor can fail: it is
        // told before it goes.
        let Some(held) = reference::find(watched.object) else { return };
        (watched, held)
    };
    let Some(object) = Object::in_memory(&held) else { return };
    let (callbacks, owner) = object.resource_type().callbacks();
    let Some(down) = callbacks.down else { return };
    let mut env = Env::callback(owner.as_ref().map_or(std::ptr::null(), Owner::library));
    let pid = Identifier { term: Term::pid(pid) };
    // SAFETY: the owner is kept loaded until it is dropped.
    stop::unwatched(|| unsafe {
        down(&raw mut env, object.data(), &raw const pid, &raw const monitor);
    });
}

/// Takes a monitor off the process that it watches.
pub fn take_off(id: u64, pid: u64) {
    let _guard = pin();
    signal::send_call(
        vm(),
        pid,
        Box::new(move |_, process| {
            if let Some(process) = process {
                process.extra().on_exit.remove(&id);
            }
        }),
    );
}

fn forget_monitors(object: u64) {
    let gone = MONITORS.lock().remove_object(object);
    gone.into_iter().for_each(|watched| take_off(watched.monitor.id, watched.pid));
}

/// 0 when there was such a monitor of the object.
///
/// # Safety
/// `data` is an object that is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_demonitor_process(
    _env: *mut Env,
    data: *mut c_void,
    monitor: &Monitor,
) -> c_int {
    // SAFETY: the caller's.
    let object = unsafe { Object::of(data) }.number();
    let mut monitors = MONITORS.lock();
    if monitors.watched.get(&monitor.id).is_none_or(|watched| watched.object != object) {
        return 1;
    }
    let pid = monitors.remove(monitor.id).map_or(0, |watched| watched.pid);
    drop(monitors);
    take_off(monitor.id, pid);
    0
}

/// -1, 0 or 1, in an order without a meaning.
#[unsafe(no_mangle)]
pub extern "C" fn enif_compare_monitors(a: &Monitor, b: &Monitor) -> c_int {
    a.cmp(b) as c_int
}

/// A reference for the monitor, which is no monitor to Erlang code.
#[unsafe(no_mangle)]
pub extern "C" fn enif_make_monitor_term(env: &mut Env, monitor: &Monitor) -> Term {
    match u32::try_from(monitor.low) {
        Ok(low) => RefValue { id: monitor.id, low }.to_term(env),
        Err(_) => NON_VALUE,
    }
}
