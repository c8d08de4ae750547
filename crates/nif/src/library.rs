//! A library that was loaded from a file: what it says of itself, its data, and its end.

use crate::abi::{CText, Entry, Function, FunctionBefore27, HaltFn, LoadFn, UnloadFn, UpgradeFn};
use crate::env::{Env, vm};
use crate::resource_types;
use parking_lot::{Condvar, Mutex};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use swarmrt_machine::Vm;
use swarmrt_machine::code::natives::Library;
use swarmrt_machine::schedule::Errand;
use swarmrt_term::Atom;

/// A file in memory. It stays there until it is closed.
pub struct File(*mut c_void);

// SAFETY: a handle of dlopen may be used from any thread.
unsafe impl Send for File {}
// SAFETY: a handle of dlopen may be used from any thread.
unsafe impl Sync for File {}

/// What the dynamic linker says of its last failure.
fn linker_error() -> String {
    // SAFETY: the text is the calling thread's, until it calls the linker again.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() {
            "unspecified error".to_owned()
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    }
}

fn open(name: &CStr, flags: c_int) -> Result<File, String> {
    // SAFETY: a library's initialisers run here: it is trusted, as all native code is.
    let handle = unsafe { libc::dlopen(name.as_ptr(), flags) };
    if handle.is_null() { Err(linker_error()) } else { Ok(File(handle)) }
}

/// What OTP's emulator is linked with: there are libraries that use it without saying so.
const SYSTEM_LIBRARIES: [&CStr; 3] = [c"libz.so.1", c"libstdc++.so.6", c"libtinfo.so.6"];

/// Loads these for all others to see; whether that was not done before.
fn share_system_libraries() -> bool {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::AcqRel) {
        return false;
    }
    for name in SYSTEM_LIBRARIES {
        // A library that is missing shows when one that needs it is loaded.
        let _ = open(name, libc::RTLD_NOW | libc::RTLD_GLOBAL).map(File::into_raw);
    }
    true
}

impl File {
    /// Loads `path` with the ending of shared libraries.
    ///
    /// # Errors
    /// What the dynamic linker says.
    pub fn open(path: &[u8]) -> Result<File, String> {
        let name = CString::new([path, b".so"].concat())
            .map_err(|_| "the name of the file has a zero byte".to_owned())?;
        match open(&name, libc::RTLD_NOW) {
            Err(why) if why.contains("undefined symbol") && share_system_libraries() => {
                open(&name, libc::RTLD_NOW)
            }
            opened => opened,
        }
    }
    /// The address of a symbol of the file.
    ///
    /// # Errors
    /// What the dynamic linker says.
    pub fn symbol(&self, name: &CStr) -> Result<*mut c_void, String> {
        symbol(self.0, name)
    }
    /// The linker's handle. The file is not closed any more when this is dropped.
    pub fn into_raw(self) -> *mut c_void {
        let handle = self.0;
        std::mem::forget(self);
        handle
    }
}

/// The address of a symbol of a file that is open.
///
/// # Errors
/// What the dynamic linker says.
pub fn symbol(handle: *mut c_void, name: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: the handle is that of an open file.
    unsafe {
        libc::dlerror();
        let address = libc::dlsym(handle, name.as_ptr());
        if address.is_null() { Err(linker_error()) } else { Ok(address) }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the handle is ours, and nothing of the file is used any more.
        unsafe { libc::dlclose(self.0) };
    }
}

/// An entry in the shape of the newest version.
pub struct Description {
    pub major: c_int,
    pub minor: c_int,
    pub name: String,
    pub functions: Vec<Function>,
    pub load: Option<LoadFn>,
    pub upgrade: Option<UpgradeFn>,
    unload: Option<UnloadFn>,
    pub vm_variant: Option<String>,
    pub min_erts: String,
}

impl Description {
    /// Reads an entry, of which older versions have less.
    ///
    /// # Safety
    /// `entry` is what a library's `nif_init` has returned, and the library stays loaded.
    pub unsafe fn read(entry: *const Entry) -> Description {
        // SAFETY: the caller's; what follows `unload` is there from the named versions on.
        unsafe {
            let (major, minor) = ((*entry).major, (*entry).minor);
            let since = |number: c_int| (major, minor) >= (2, number);
            let count = usize::try_from((*entry).function_count).unwrap_or(0);
            let functions = match () {
                () if count == 0 => Vec::new(),
                () if since(7) => std::slice::from_raw_parts((*entry).functions, count).to_vec(),
                () => {
                    let functions = std::slice::from_raw_parts(
                        (*entry).functions.cast::<FunctionBefore27>(),
                        count,
                    );
                    functions
                        .iter()
                        .map(|&FunctionBefore27 { name, arity, function }| Function {
                            name,
                            arity,
                            function,
                            flags: 0,
                        })
                        .collect()
                }
            };
            Description {
                major,
                minor,
                name: (*entry).name.lossy(),
                functions,
                load: (*entry).load,
                upgrade: (*entry).upgrade,
                unload: (*entry).unload,
                vm_variant: since(1).then(|| (*entry).vm_variant.lossy()),
                min_erts: if since(14) { (*entry).min_erts.lossy() } else { "erts-?".to_owned() },
            }
        }
    }
}

/// A library in the use of a module's version.
pub struct Loaded {
    pub module: Atom,
    pub path: String,
    file: Mutex<Option<File>>,
    unload: Option<UnloadFn>,
    /// The library's own.
    pub data: AtomicPtr<c_void>,
    /// The module's version, and the types of resources with callbacks: it is closed when none is
    /// left.
    users: AtomicUsize,
    /// What it wants to be called when the machine halts, and for each scheduler's thread when it
    /// is unloaded.
    pub on_halt: Mutex<Option<HaltFn>>,
    pub on_unload_thread: Mutex<Option<HaltFn>>,
    /// Whether the machine's halt waits until its functions have returned.
    pub delays_halt: AtomicBool,
    /// How many of them run, where that is so.
    running: AtomicUsize,
}

/// Whether the machine is about to halt: no function of a library that delays it begins any more.
static HALTING: AtomicBool = AtomicBool::new(false);
/// Notified when a function has returned since.
static RETURNED: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());

/// A call of a function of a library that delays the machine's halt.
pub struct Running<'a>(&'a Loaded);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        if HALTING.load(Ordering::SeqCst) {
            let _guard = RETURNED.0.lock();
            RETURNED.1.notify_all();
        }
    }
}

/// Has no function begin any more of libraries that delay the halt.
pub fn begin_halting() {
    HALTING.store(true, Ordering::SeqCst);
}

/// Whether [`begin_halting`] was called.
pub fn is_halting() -> bool {
    HALTING.load(Ordering::SeqCst)
}

impl Loaded {
    /// A library with one user, its module; `load` has not been called yet.
    pub fn new(module: Atom, path: String, file: File, description: &Description) -> Arc<Loaded> {
        Arc::new(Loaded {
            module,
            path,
            file: Mutex::new(Some(file)),
            unload: description.unload,
            data: AtomicPtr::new(std::ptr::null_mut()),
            users: AtomicUsize::new(1),
            on_halt: Mutex::new(None),
            on_unload_thread: Mutex::new(None),
            delays_halt: AtomicBool::new(false),
            running: AtomicUsize::new(0),
        })
    }
    /// Counts a call of a library that delays the halt; `None` when the machine is about to halt.
    pub fn begin_call(&self) -> Option<Running<'_>> {
        // SeqCst: either the halt sees the call, or the call the halt.
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(self);
        (!HALTING.load(Ordering::SeqCst)).then_some(running)
    }
    /// Waits until none of its functions runs.
    pub fn wait_for_calls(&self) {
        let mut guard = RETURNED.0.lock();
        while self.running.load(Ordering::SeqCst) > 0 {
            RETURNED.1.wait(&mut guard);
        }
    }
    /// Keeps the library open until [`drop_user`](Self::drop_user). The caller knows that it has a
    /// user.
    pub fn add_user(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }
    /// One user less; closes the library after the last.
    pub fn drop_user(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        *self.on_halt.lock() = None;
        let Some(callback) = self.on_unload_thread.lock().take() else { return self.close() };
        // SAFETY: every library that is loaded is held by an `Arc`.
        let library = unsafe {
            Arc::increment_strong_count(self);
            Arc::from_raw(self)
        };
        let last = Closing::new(library);
        let errand: Errand = Arc::new(move || {
            let data = last.0.data.load(Ordering::Acquire);
            // SAFETY: the library's own function, with its own data; it is still loaded.
            unsafe { callback(data) };
        });
        vm().schedulers.on_each(&errand);
    }
    /// Tells the library that it is not used any more, and gives it up.
    fn close(&self) {
        if let Some(unload) = self.unload {
            let mut env = Env::callback(self);
            // SAFETY: the library is still loaded.
            unsafe { unload(&raw mut env, self.data.load(Ordering::Acquire)) };
        }
        drop(self.file.lock().take());
    }
    /// Gives up a library whose `load` has refused: it is not told.
    pub fn discard(&self) {
        drop(self.file.lock().take());
    }
}

/// How many libraries the schedulers are still told of ([`Loaded::on_unload_thread`]).
static CLOSING: AtomicUsize = AtomicUsize::new(0);

/// A library that is closed when its callback has been called by each scheduler's thread.
struct Closing(Arc<Loaded>);

impl Closing {
    fn new(library: Arc<Loaded>) -> Closing {
        CLOSING.fetch_add(1, Ordering::AcqRel);
        Closing(library)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
        CLOSING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Waits until no library is about to be closed: one that is loaded again before would be the same
/// in memory.
pub fn wait_until_closed(vm: &Vm) {
    while CLOSING.load(Ordering::Acquire) > 0 {
        // The caller's scheduler may be the one that is waited for.
        vm.schedulers.run_own_errands();
        std::thread::yield_now();
    }
}

impl Library for Loaded {
    fn unload(&self) {
        resource_types::orphan(self);
        self.drop_user();
    }
}

/// Tells the machine what the dynamic linker said.
pub type ErrorHandler = unsafe extern "C" fn(*mut c_void, *const c_char);

fn report(handler: Option<ErrorHandler>, argument: *mut c_void, text: String) {
    if let (Some(handler), Ok(text)) = (handler, CString::new(text)) {
        // SAFETY: the library's own function, with its own argument.
        unsafe { handler(argument, text.as_ptr()) };
    }
}

/// Opens `path`, with `.so` at its end, and calls its `nif_init` if it has one, as OTP does. Null
/// when that fails; `handler` is told why.
#[unsafe(no_mangle)]
pub extern "C" fn enif_dlopen(
    path: CText,
    handler: Option<ErrorHandler>,
    argument: *mut c_void,
) -> *mut c_void {
    match File::open(path.bytes()) {
        Ok(file) => {
            if let Ok(init) = file.symbol(c"nif_init") {
                // SAFETY: a function of that name and shape is what such libraries have.
                unsafe {
                    std::mem::transmute::<*mut c_void, extern "C" fn() -> *const Entry>(init)()
                };
            }
            file.into_raw()
        }
        Err(text) => {
            report(handler, argument, text);
            std::ptr::null_mut()
        }
    }
}

/// The address of a symbol; null when there is none, and `handler` is told why.
///
/// # Safety
/// `handle` came from `enif_dlopen`, and `name` is ended by a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_dlsym(
    handle: *mut c_void,
    name: *const c_char,
    handler: Option<ErrorHandler>,
    argument: *mut c_void,
) -> *mut c_void {
    // SAFETY: the caller's.
    symbol(handle, unsafe { CStr::from_ptr(name) }).unwrap_or_else(|text| {
        report(handler, argument, text);
        std::ptr::null_mut()
    })
}
