//! Threads, and what they share: locks, conditions, data of their own. All are those of the system
//! (POSIX threads), with names.

use crate::abi::{CText, Out, c_bool};
use std::cell::{Cell, RefCell};
use std::ffi::{CString, c_char, c_int, c_void};

/// Something with the name that a library has given it.
pub struct Named<T> {
    value: T,
    name: CString,
}

impl<T> Named<T> {
    fn new(name: CText, value: T) -> *mut Named<T> {
        let name = CString::new(name.bytes()).unwrap_or_default();
        Box::into_raw(Box::new(Named { value, name }))
    }
    fn name(&self) -> *mut c_char {
        self.name.as_ptr().cast_mut()
    }
    fn get(&mut self) -> *mut T {
        &raw mut self.value
    }
}

type Mutex = Named<libc::pthread_mutex_t>;
type Condition = Named<libc::pthread_cond_t>;
type RwLock = Named<libc::pthread_rwlock_t>;

/// Functions on something that a library got from a function here and has not destroyed: 0 when the
/// system does it.
macro_rules! system_calls {
    ($($name:ident($of:ty): $call:ident;)*) => {
        $(
            /// # Safety
            /// The argument was made here, and is still there.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name(of: *mut $of) -> c_int {
                // SAFETY: the caller's.
                unsafe { libc::$call((*of).get()) }
            }
        )*
    };
}

macro_rules! destroyers {
    ($($name:ident($of:ty): $call:ident;)*) => {
        $(
            /// # Safety
            /// The argument was made here, and is not used any more.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name(of: *mut $of) {
                // SAFETY: the caller's.
                unsafe {
                    libc::$call((*of).get());
                    drop(Box::from_raw(of));
                }
            }
        )*
    };
}

macro_rules! names {
    ($($name:ident($of:ty);)*) => {
        $(#[unsafe(no_mangle)]
        pub extern "C" fn $name(of: &$of) -> *mut c_char {
            of.name()
        })*
    };
}

/// A mutex, for one thread once at a time.
#[unsafe(no_mangle)]
pub extern "C" fn enif_mutex_create(name: CText) -> *mut Mutex {
    Named::new(name, libc::PTHREAD_MUTEX_INITIALIZER)
}
/// A condition variable.
#[unsafe(no_mangle)]
pub extern "C" fn enif_cond_create(name: CText) -> *mut Condition {
    Named::new(name, libc::PTHREAD_COND_INITIALIZER)
}
/// A lock for readers and writers, preferring whom the system prefers.
#[unsafe(no_mangle)]
pub extern "C" fn enif_rwlock_create(name: CText) -> *mut RwLock {
    Named::new(name, libc::PTHREAD_RWLOCK_INITIALIZER)
}

// What has no result in C may have one here: callers do not look.
system_calls! {
    enif_mutex_trylock(Mutex): pthread_mutex_trylock;
    enif_mutex_lock(Mutex): pthread_mutex_lock;
    enif_mutex_unlock(Mutex): pthread_mutex_unlock;
    enif_cond_signal(Condition): pthread_cond_signal;
    enif_cond_broadcast(Condition): pthread_cond_broadcast;
    enif_rwlock_tryrlock(RwLock): pthread_rwlock_tryrdlock;
    enif_rwlock_rlock(RwLock): pthread_rwlock_rdlock;
    enif_rwlock_runlock(RwLock): pthread_rwlock_unlock;
    enif_rwlock_tryrwlock(RwLock): pthread_rwlock_trywrlock;
    enif_rwlock_rwlock(RwLock): pthread_rwlock_wrlock;
    enif_rwlock_rwunlock(RwLock): pthread_rwlock_unlock;
}

destroyers! {
    enif_mutex_destroy(Mutex): pthread_mutex_destroy;
    enif_cond_destroy(Condition): pthread_cond_destroy;
    enif_rwlock_destroy(RwLock): pthread_rwlock_destroy;
}

names! {
    enif_mutex_name(Mutex);
    enif_cond_name(Condition);
    enif_rwlock_name(RwLock);
    enif_thread_name(Thread);
}

/// Waits for the condition, without the mutex meanwhile. It may return without a signal.
///
/// # Safety
/// Both were made here and are still there, and the calling thread has the mutex.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_cond_wait(condition: *mut Condition, mutex: *mut Mutex) {
    // SAFETY: the caller's.
    unsafe { libc::pthread_cond_wait((*condition).get(), (*mutex).get()) };
}

// ---- Data of threads ----

// POSIX has 1,024 keys for the whole program; libraries may make any number of them.

/// Keys that were destroyed, and the number of those that were ever made.
static KEYS: parking_lot::Mutex<(Vec<c_int>, c_int)> = parking_lot::Mutex::new((Vec::new(), 0));

thread_local! {
    /// By keys. A key that is used again has the values of the one before: OTP asks libraries to
    /// reset them before.
    static VALUES: RefCell<Vec<*mut c_void>> = const { RefCell::new(Vec::new()) };
}

/// A key for data of threads, whose name is not kept; always 0.
#[unsafe(no_mangle)]
pub extern "C" fn enif_tsd_key_create(_name: CText, to: Out<c_int>) -> c_int {
    let mut keys = KEYS.lock();
    let key = keys.0.pop().unwrap_or_else(|| {
        keys.1 += 1;
        keys.1 - 1
    });
    to.put(key);
    0
}
/// Gives up a key. Only the calling thread's value is reset.
#[unsafe(no_mangle)]
pub extern "C" fn enif_tsd_key_destroy(key: c_int) {
    enif_tsd_set(key, std::ptr::null_mut());
    KEYS.lock().0.push(key);
}
/// Sets the calling thread's value.
#[unsafe(no_mangle)]
pub extern "C" fn enif_tsd_set(key: c_int, data: *mut c_void) {
    let Ok(at) = usize::try_from(key) else { return };
    // A thread that is ending has no place for its values any more.
    let _ = VALUES.try_with(|values| {
        let mut values = values.borrow_mut();
        if at >= values.len() {
            values.resize(at + 1, std::ptr::null_mut());
        }
        values[at] = data;
    });
}
/// The calling thread's value; null where it has set none.
#[unsafe(no_mangle)]
pub extern "C" fn enif_tsd_get(key: c_int) -> *mut c_void {
    let at = usize::try_from(key).ok();
    let value = VALUES.try_with(|values| values.borrow().get(at?).copied());
    value.ok().flatten().unwrap_or(std::ptr::null_mut())
}

// ---- Threads ----

/// What a library's thread runs.
pub struct Work {
    id: libc::pthread_t,
    function: unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
}

/// `ErlNifTid` is the address of one.
pub type Thread = Named<Work>;

/// `ErlNifThreadOpts`.
#[repr(C)]
pub struct ThreadOptions {
    /// In kilowords; less than 0 leaves it to the system.
    stack_size: c_int,
}

thread_local! {
    static CURRENT: Cell<*mut Thread> = const { Cell::new(std::ptr::null_mut()) };
    /// What a thread is known by that no library has made.
    static OTHER: Cell<Option<OtherThread>> = const { Cell::new(None) };
}

/// Owns [`CURRENT`] of a thread that nobody joins.
struct OtherThread(*mut Thread);

impl Drop for OtherThread {
    fn drop(&mut self) {
        CURRENT.set(std::ptr::null_mut());
        // SAFETY: it was made for this thread, which is ending and is nobody's to join.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// Options, with the system's stack size.
#[unsafe(no_mangle)]
pub extern "C" fn enif_thread_opts_create(_name: CText) -> *mut ThreadOptions {
    Box::into_raw(Box::new(ThreadOptions { stack_size: -1 }))
}

/// Frees options.
///
/// # Safety
/// `options` were made here, and are not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_thread_opts_destroy(options: *mut ThreadOptions) {
    // SAFETY: the caller's.
    drop(unsafe { Box::from_raw(options) });
}

/// The first function of a thread. It owns nothing, so that the thread may end anywhere within
/// (`enif_thread_exit`).
extern "C-unwind" fn run(thread: *mut c_void) -> *mut c_void {
    let thread = thread.cast::<Thread>();
    CURRENT.set(thread);
    // SAFETY: the thread is there until it is joined.
    unsafe { ((*thread).value.function)((*thread).value.argument) }
}

unsafe extern "C" {
    fn pthread_create(
        thread: *mut libc::pthread_t,
        attributes: *const libc::pthread_attr_t,
        function: extern "C-unwind" fn(*mut c_void) -> *mut c_void,
        argument: *mut c_void,
    ) -> c_int;
}
unsafe extern "C-unwind" {
    fn pthread_exit(result: *mut c_void) -> !;
}

/// 0, or the number of an error.
///
/// # Safety
/// `function` may be called with `argument`; `options` were made here, or are null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_thread_create(
    name: CText,
    to: Out<*mut Thread>,
    function: unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
    options: *const ThreadOptions,
) -> c_int {
    let thread: *mut Thread = Named::new(name, Work { id: 0, function, argument });
    // SAFETY: the caller's; the attributes are initialised before use.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        libc::pthread_attr_init(&raw mut attributes);
        if let Some(kilowords) =
            options.as_ref().and_then(|options| usize::try_from(options.stack_size).ok())
        {
            libc::pthread_attr_setstacksize(
                &raw mut attributes,
                (kilowords * 8 * 1024).max(64 * 1024),
            );
        }
        let error =
            pthread_create(&raw mut (*thread).value.id, &raw const attributes, run, thread.cast());
        libc::pthread_attr_destroy(&raw mut attributes);
        if error == 0 {
            to.put(thread);
        } else {
            drop(Box::from_raw(thread));
        }
        error
    }
}

/// The calling thread. One that no library has made is given a name of its own.
#[unsafe(no_mangle)]
pub extern "C" fn enif_thread_self() -> *mut Thread {
    extern "C-unwind" fn nothing(_: *mut c_void) -> *mut c_void {
        std::ptr::null_mut()
    }
    if CURRENT.get().is_null() {
        // SAFETY: a thread always has its own number.
        let id = unsafe { libc::pthread_self() };
        let work = Work { id, function: nothing, argument: std::ptr::null_mut() };
        let thread = Named::new(CText(c"".as_ptr()), work);
        CURRENT.set(thread);
        // Where a library asks while its thread ends, nobody is left to free it.
        let _ = OTHER.try_with(|other| other.set(Some(OtherThread(thread))));
    }
    CURRENT.get()
}

/// Whether both are the same thread.
#[unsafe(no_mangle)]
pub extern "C" fn enif_equal_tids(a: *const Thread, b: *const Thread) -> c_int {
    c_bool(std::ptr::eq(a, b))
}

/// Ends the calling thread with a result for [`enif_thread_join`].
///
/// # Safety
/// The calling thread was made by `enif_thread_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn enif_thread_exit(result: *mut c_void) {
    // SAFETY: the caller's.
    unsafe { pthread_exit(result) }
}

/// Waits for the thread's end, and frees what is known of it. 0, or the number of an error.
///
/// # Safety
/// `thread` was made by `enif_thread_create`, and is joined once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_thread_join(thread: *mut Thread, result: Out<*mut c_void>) -> c_int {
    let mut given = std::ptr::null_mut();
    // SAFETY: the caller's.
    unsafe {
        let error = libc::pthread_join((*thread).value.id, &raw mut given);
        if error == 0 {
            result.put_unless_null(given);
            drop(Box::from_raw(thread));
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// Says at the end of its thread what [`CURRENT`] is then.
    struct AtEnd(Cell<Option<Sender<bool>>>);

    impl Drop for AtEnd {
        fn drop(&mut self) {
            let sender = self.0.take().expect("it was set");
            sender.send(CURRENT.get().is_null()).expect("the test listens");
        }
    }

    thread_local! {
        static AT_END: AtEnd = const { AtEnd(Cell::new(None)) };
    }

    #[test]
    fn what_a_thread_of_ours_is_known_by_goes_with_it() {
        let (sender, ended) = channel();
        let thread = std::thread::spawn(move || {
            // What is used first ends last.
            AT_END.with(|at_end| at_end.0.set(Some(sender)));
            let first = enif_thread_self();
            assert_eq!((first.is_null(), enif_thread_self()), (false, first));
        });
        thread.join().expect("it does not panic");
        assert_eq!(ended.recv(), Ok(true));
    }
}
