//! The shapes of the C interface, as `erl_nif.h` and `erl_drv_nif.h` have them, and what a library
//! hands over by address.

use crate::env::Env;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use swarmrt_term::Term;

/// `ERL_NIF_MAJOR_VERSION`: the newest version of the interface that libraries may be built for.
pub const MAJOR: c_int = 2;
/// `ERL_NIF_MINOR_VERSION` that goes with it.
pub const MINOR: c_int = 18;
/// `ERL_NIF_VM_VARIANT`, which libraries are built with.
pub const VM_VARIANT: &str = "beam.vanilla";

/// The word that is no term: what a function returns with an exception.
// SAFETY: nobody follows it, as it has the tag of no pointer.
pub const NON_VALUE: Term = unsafe { Term::from_raw(0) };

/// A function of a library: environment, number of arguments, arguments.
pub type NifFn = unsafe extern "C" fn(*mut Env, c_int, *const Term) -> Term;
/// `load` of `ErlNifEntry`: 0 when the library may stay.
pub type LoadFn = unsafe extern "C" fn(*mut Env, *mut *mut c_void, Term) -> c_int;
/// `upgrade` of `ErlNifEntry`: 0 when the library may take over from the old one.
pub type UpgradeFn =
    unsafe extern "C" fn(*mut Env, *mut *mut c_void, *mut *mut c_void, Term) -> c_int;
/// `unload` of `ErlNifEntry`.
pub type UnloadFn = unsafe extern "C" fn(*mut Env, *mut c_void);
/// The callbacks of `ERL_NIF_OPT_ON_HALT` and `ERL_NIF_OPT_ON_UNLOAD_THREAD`, with the library's
/// own data.
pub type HaltFn = unsafe extern "C" fn(*mut c_void);

/// `ERL_NIF_DIRTY_JOB_CPU_BOUND`.
pub const DIRTY_CPU: c_uint = 1;
/// `ERL_NIF_DIRTY_JOB_IO_BOUND`.
pub const DIRTY_IO: c_uint = 2;

/// `ErlNifFunc`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Function {
    pub name: CText,
    pub arity: c_uint,
    pub function: NifFn,
    /// Where it runs: 0, [`DIRTY_CPU`] or [`DIRTY_IO`]. Libraries for versions before 2.7 have
    /// nothing here, and no padding for it either.
    pub flags: c_uint,
}

/// What comes before `flags`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FunctionBefore27 {
    pub name: CText,
    pub arity: c_uint,
    pub function: NifFn,
}

/// `ErlNifEntry`. What stands behind `unload` is there from the version on that is named.
#[repr(C)]
pub struct Entry {
    pub major: c_int,
    pub minor: c_int,
    pub name: CText,
    pub function_count: c_int,
    pub functions: *const Function,
    pub load: Option<LoadFn>,
    pub reload: Option<LoadFn>,
    pub upgrade: Option<UpgradeFn>,
    pub unload: Option<UnloadFn>,
    /// 2.1
    pub vm_variant: CText,
    /// 2.7
    pub options: c_uint,
    /// 2.12
    pub type_init_bytes: usize,
    /// 2.14
    pub min_erts: CText,
}

/// `ErlNifBinary`. `shared` is the raw word of counted bytes that the binary owns, or null.
#[repr(C)]
pub struct Binary {
    pub size: usize,
    pub data: *mut u8,
    pub shared: *mut c_void,
    spare: [*mut c_void; 2],
}

/// `ErlNifPid` and `ErlNifPort`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Identifier {
    pub term: Term,
}

/// `ErlNifMonitor`: the numbers of a reference.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monitor {
    pub id: u64,
    pub low: u64,
    spare: [u64; 2],
}

impl Monitor {
    /// The monitor of a reference with these numbers.
    pub fn new(id: u64, low: u32) -> Monitor {
        Monitor { id, low: low.into(), spare: [0; 2] }
    }
}

/// `ErlNifResourceDtor`: the last holder of an object is gone.
pub type DtorFn = unsafe extern "C" fn(*mut Env, *mut c_void);
/// `ErlNifResourceStop`: a descriptor is not watched any more; whether `enif_select` itself calls
/// is last.
pub type StopFn = unsafe extern "C" fn(*mut Env, *mut c_void, c_int, c_int);
/// `ErlNifResourceDown`: a monitored process has ended.
pub type DownFn = unsafe extern "C" fn(*mut Env, *mut c_void, *const Identifier, *const Monitor);
/// `ErlNifResourceDynCall`, for `enif_dynamic_resource_call`.
pub type DyncallFn = unsafe extern "C" fn(*mut Env, *mut c_void, *mut c_void);

/// `ErlNifResourceTypeInit`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct TypeInit {
    pub dtor: Option<DtorFn>,
    pub stop: Option<StopFn>,
    pub down: Option<DownFn>,
    /// How many of the functions are there, this one not counted.
    pub members: c_int,
    pub dyncall: Option<DyncallFn>,
}

/// `ErlNifMapIterator`. `pairs` is boxed, for maps that are no flat ones.
#[repr(C)]
pub struct MapIterator {
    pub map: Term,
    pub size: usize,
    /// From 1; 0 is before the first pair, `size + 1` behind the last.
    pub position: usize,
    pub pairs: *mut Vec<(Term, Term)>,
    spare: [*mut c_void; 3],
}

/// `SysIOVec`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IoSlice {
    pub base: *mut u8,
    pub length: usize,
}

/// `ERL_NIF_IOVEC_SIZE`: slices that a vector has room for without arrays of its own.
pub const IO_VECTOR_INLINE: usize = 16;

/// `ErlNifIOVec`. `shared` are the raw words of the counted bytes that the slices are of.
#[repr(C)]
pub struct IoVector {
    pub count: c_int,
    pub size: usize,
    pub slices: *mut IoSlice,
    pub shared: *mut u64,
    pub flags: c_int,
    pub inline_slices: [IoSlice; IO_VECTOR_INLINE],
    pub inline_shared: [u64; IO_VECTOR_INLINE],
}

/// `ErlNifSysInfo`.
#[repr(C)]
pub struct SystemInfo {
    pub driver_major: c_int,
    pub driver_minor: c_int,
    pub erts_version: *const c_char,
    pub otp_release: *const c_char,
    pub threads: c_int,
    pub smp: c_int,
    pub async_threads: c_int,
    pub schedulers: c_int,
    pub nif_major: c_int,
    pub nif_minor: c_int,
    pub dirty_schedulers: c_int,
}

/// Where a library wants an answer put.
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Writes the answer; by the interface the address is not null.
    #[inline(always)]
    pub fn put(self, value: T) {
        // SAFETY: by the interface such an address is that of a place for the answer.
        unsafe { self.0.write(value) }
    }
    /// Writes the answer if the library wants it.
    pub fn put_unless_null(self, value: T) {
        if !self.0.is_null() {
            self.put(value);
        }
    }
}

/// Text that a library hands over, ended by a zero byte.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct CText(pub *const c_char);

impl CText {
    /// The bytes before the zero; none of null.
    pub fn bytes<'a>(self) -> &'a [u8] {
        if self.0.is_null() {
            return &[];
        }
        // SAFETY: by the interface it is ended by a zero byte, and stays as it is during the call.
        unsafe { CStr::from_ptr(self.0) }.to_bytes()
    }
    /// As UTF-8, where other bytes become U+FFFD.
    pub fn lossy(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

/// An array that a library hands over.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct CArray<T>(*const T);

impl<T> CArray<T> {
    /// Whether no address was given.
    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }
    /// The first `count` elements; the address is not looked at where there are none.
    pub fn of<'a>(self, count: usize) -> &'a [T] {
        if count == 0 {
            return &[];
        }
        // SAFETY: by the interface so many stand there, and stay as they are during the call.
        unsafe { std::slice::from_raw_parts(self.0, count) }
    }
}

/// Room for text that a library wants.
#[repr(transparent)]
pub struct CRoom(*mut u8);

impl CRoom {
    /// Puts bytes there, and a zero byte behind them.
    pub fn put_text(&self, bytes: &[u8]) {
        // SAFETY: callers have seen that the library's room is enough.
        unsafe {
            self.0.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            *self.0.add(bytes.len()) = 0;
        }
    }
}

// The sizes that libraries are compiled with, on 64-bit systems.
const _: () = assert!(size_of::<Function>() == 32 && size_of::<FunctionBefore27>() == 24);
const _: () =
    assert!(size_of::<Entry>() == 96 && size_of::<Binary>() == 40 && size_of::<Monitor>() == 32);
const _: () = assert!(size_of::<TypeInit>() == 40 && size_of::<MapIterator>() == 56);
const _: () = assert!(size_of::<IoVector>() == 40 + IO_VECTOR_INLINE * 24);

/// 1 for true, 0 for false.
pub fn c_bool(value: bool) -> c_int {
    c_int::from(value)
}
