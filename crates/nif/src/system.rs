//! The machine and the system: memory, what there is, the environment's variables, and the end of
//! the run.

use crate::abi::{CRoom, CText, HaltFn, MAJOR, MINOR, SystemInfo};
use crate::env::{Env, vm};
use crate::library::{Loaded, begin_halting};
use parking_lot::Mutex;
use std::ffi::{CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use swarmrt_term::Release;

/// `ErlNifOption`.
const DELAY_HALT: c_int = 1;
const ON_HALT: c_int = 2;
const ON_UNLOAD_THREAD: c_int = 3;

// ---- Memory ----

/// `malloc(3)`; null without memory. For 0 bytes, too, it returns an address of its own.
#[unsafe(no_mangle)]
pub extern "C" fn enif_alloc(size: usize) -> *mut c_void {
    // SAFETY: malloc may be called with any size.
    unsafe { libc::malloc(size.max(1)) }
}

/// `realloc(3)`, which for 0 bytes frees nothing.
///
/// # Safety
/// `memory` came from here, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_realloc(memory: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's.
    unsafe { libc::realloc(memory, size.max(1)) }
}

/// `free(3)`.
///
/// # Safety
/// `memory` came from here, or is null, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_free(memory: *mut c_void) {
    // SAFETY: the caller's.
    unsafe { libc::free(memory) };
}

// ---- What there is ----

/// What the library's `load` has set; null in an environment without a library.
#[unsafe(no_mangle)]
pub extern "C" fn enif_priv_data(env: &mut Env) -> *mut c_void {
    env.loaded().map_or(std::ptr::null_mut(), |library| library.data.load(Ordering::Acquire))
}

struct Versions {
    erts: CString,
    otp: CString,
}

static VERSIONS: OnceLock<Versions> = OnceLock::new();

/// Sets what [`enif_system_info`] answers for the versions of ERTS and OTP. The first call counts.
pub fn set_versions(erts: &str, otp: &str) {
    let text = |text: &str| CString::new(text).unwrap_or_default();
    VERSIONS.get_or_init(|| Versions { erts: text(erts), otp: text(otp) });
}

/// The version of the interface in a release, as `system_info(nif_version)` has it. Newer libraries
/// are loaded all the same.
fn minor_of(release: Release) -> c_int {
    match release {
        Release::R25 => 16,
        Release::R26 | Release::R27 | Release::R28 => 17,
        Release::R29 => MINOR,
    }
}

/// `ErlNifSysInfo`, or its first `size` bytes. Threads and dirty schedulers are only said to be
/// there.
///
/// # Safety
/// There is room for `size` bytes at `to`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_system_info(to: *mut u8, size: usize) {
    let text = |of: fn(&Versions) -> &CString| {
        VERSIONS.get().map_or(c"".as_ptr(), |versions| of(versions).as_ptr()).cast::<c_char>()
    };
    let info = SystemInfo {
        driver_major: 3,
        driver_minor: 3,
        erts_version: text(|versions| &versions.erts),
        otp_release: text(|versions| &versions.otp),
        threads: 1,
        smp: 1,
        async_threads: 1,
        schedulers: vm().schedulers.count() as c_int,
        nif_major: MAJOR,
        nif_minor: minor_of(vm().release()),
        dirty_schedulers: 1,
    };
    // SAFETY: the caller's; no more than there is of both.
    unsafe {
        to.copy_from_nonoverlapping((&raw const info).cast(), size.min(size_of::<SystemInfo>()));
    };
}

/// 0 when the value is there; else how much room it needs, or less than 0 when there is none.
///
/// # Safety
/// `size` is the address of how much room there is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn enif_getenv(name: CText, value: CRoom, size: *mut usize) -> c_int {
    let Some(found) = std::env::var_os(OsStr::from_bytes(name.bytes())) else { return -1 };
    let bytes = found.as_bytes();
    // SAFETY: the caller's.
    unsafe {
        if bytes.len() >= *size {
            *size = bytes.len() + 1;
            return 1;
        }
        *size = bytes.len();
    }
    value.put_text(bytes);
    0
}

// ---- Libraries, and the end of the run ----

static LIBRARIES: Mutex<Vec<Weak<Loaded>>> = Mutex::new(Vec::new());

/// Keeps a library in mind that is loaded now.
pub fn note_loaded(library: &Arc<Loaded>) {
    let mut libraries = LIBRARIES.lock();
    libraries.retain(|library| library.strong_count() > 0);
    libraries.push(Arc::downgrade(library));
}

/// The libraries that are loaded: module and file.
pub fn libraries() -> Vec<(String, String)> {
    let libraries: Vec<_> = LIBRARIES.lock().iter().filter_map(Weak::upgrade).collect();
    libraries
        .iter()
        .map(|library| (library.module.name().to_owned(), library.path.clone()))
        .collect()
}

/// Tells the libraries that want to know that the run is over, and waits for the functions of those
/// that delay it.
pub fn halt() {
    begin_halting();
    let libraries: Vec<_> = LIBRARIES.lock().iter().filter_map(Weak::upgrade).collect();
    for library in &libraries {
        let on_halt = library.on_halt.lock().take();
        if let Some(on_halt) = on_halt {
            // SAFETY: the library's own function, with its own data.
            unsafe { on_halt(library.data.load(Ordering::Acquire)) };
        }
    }
    let delays = |library: &&Arc<Loaded>| library.delays_halt.load(Ordering::Acquire);
    libraries.iter().filter(delays).for_each(|library| library.wait_for_calls());
}

/// 0 when the option is set. The function of the option is null where it has none.
#[unsafe(no_mangle)]
pub extern "C" fn swarmrt_nif_set_option(
    env: &mut Env,
    option: c_int,
    function: Option<HaltFn>,
) -> c_int {
    // Options are set while a library is loaded.
    if env.opened().is_none() {
        return libc::EINVAL;
    }
    let Some(library) = env.loaded() else { return libc::EINVAL };
    let place = match option {
        // Once, and not taken back.
        DELAY_HALT if library.delays_halt.swap(true, Ordering::AcqRel) => return libc::EINVAL,
        DELAY_HALT => return 0,
        ON_HALT => &library.on_halt,
        ON_UNLOAD_THREAD => &library.on_unload_thread,
        _ => return libc::EINVAL,
    };
    let mut place = place.lock();
    if function.is_none() || place.is_some() {
        return libc::EINVAL;
    }
    *place = function;
    0
}

// ---- Names of errors ----

/// The name of an error of the system, in lower case, as `erl_driver.h` promises it to libraries of
/// both kinds.
#[unsafe(no_mangle)]
pub extern "C" fn erl_errno_id(error: c_int) -> *const c_char {
    static NAMES: Mutex<Vec<(c_int, CString)>> = Mutex::new(Vec::new());
    let mut names = NAMES.lock();
    let at = names.iter().position(|(known, _)| *known == error).unwrap_or_else(|| {
        let name = match swarmrt_io::posix::name(error) {
            // OTP 29 says which one it does not know.
            "unknown" if vm().release() >= Release::R29 => format!("errno_{error}"),
            name => name.to_owned(),
        };
        names.push((error, CString::new(name).unwrap_or_default()));
        names.len() - 1
    });
    // A name is never taken out, and its bytes stay where they are.
    names[at].1.as_ptr()
}
