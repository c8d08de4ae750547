//! The shapes of `erl_driver.h`: what a driver says of itself, and what it is called with.

use super::queues;
use crate::abi::{CText, Monitor};
use std::ffi::{c_char, c_int, c_uint, c_ulong, c_void};

/// `ErlDrvPort`: the number of a port, as an address.
pub type Handle = *mut c_void;
/// `ErlDrvData`: the library's own.
pub type Data = *mut c_void;

/// `ERL_DRV_ERROR_GENERAL` and what else stands for no port.
pub const NO_PORT: Handle = usize::MAX as Handle;

/// Milliseconds as the interface has them.
pub type Milliseconds = c_ulong;

pub use crate::abi::IoSlice;

/// `ErlIOVec`.
#[repr(C)]
pub struct DriverVector {
    pub count: c_int,
    pub size: usize,
    pub slices: *mut IoSlice,
    pub binaries: *mut *mut queues::DriverBinary,
}

/// `control`: data, operation, input and its length, the address of a buffer for the answer and its
/// room. The result is the answer's length, or less than 0 for `badarg`.
pub type ControlFn =
    unsafe extern "C" fn(Data, c_uint, *mut u8, usize, *mut *mut u8, usize) -> isize;
/// `call`: as [`ControlFn`], with flags that say whether the answer's buffer is to be kept.
pub type CallFn =
    unsafe extern "C" fn(Data, c_uint, *mut u8, usize, *mut *mut u8, usize, *mut c_uint) -> isize;

/// `ErlDrvEntry`.
#[repr(C)]
pub struct DriverEntry {
    pub init: Option<unsafe extern "C" fn() -> c_int>,
    pub start: Option<unsafe extern "C" fn(Handle, *mut c_char) -> Data>,
    pub stop: Option<unsafe extern "C" fn(Data)>,
    pub output: Option<unsafe extern "C" fn(Data, *mut u8, usize)>,
    pub ready_input: Option<unsafe extern "C" fn(Data, *mut c_void)>,
    pub ready_output: Option<unsafe extern "C" fn(Data, *mut c_void)>,
    pub name: CText,
    pub finish: Option<unsafe extern "C" fn()>,
    pub handle: *mut c_void,
    pub control: Option<ControlFn>,
    pub timeout: Option<unsafe extern "C" fn(Data)>,
    pub outputv: Option<unsafe extern "C" fn(Data, *mut DriverVector)>,
    pub ready_async: Option<unsafe extern "C" fn(Data, *mut c_void)>,
    pub flush: Option<unsafe extern "C" fn(Data)>,
    pub call: Option<CallFn>,
    pub unused: *const c_void,
    pub marker: c_uint,
    pub major: c_int,
    pub minor: c_int,
    pub flags: c_int,
    pub handle2: *mut c_void,
    pub process_exit: Option<unsafe extern "C" fn(Data, *const Monitor)>,
    pub stop_select: Option<unsafe extern "C" fn(*mut c_void, *mut c_void)>,
    pub emergency_close: Option<unsafe extern "C" fn(Data)>,
}

/// `ERL_DRV_EXTENDED_MARKER`, in each entry that has a version.
pub const MARKER: c_uint = 0xfeee_eeed;
/// `ERL_DRV_EXTENDED_MAJOR_VERSION`: the newest version of the interface that a driver may be built
/// for.
pub const MAJOR: c_int = 3;
/// `ERL_DRV_EXTENDED_MINOR_VERSION` that goes with it.
pub const MINOR: c_int = 3;
/// The oldest major version that a driver may be built for.
pub const MAJOR_MIN: c_int = 2;

/// `flags`: callbacks of different ports may be called at the same time.
pub const USE_PORT_LOCKING: c_int = 1;
/// `flags`: it takes what is written by force while it is busy.
pub const SOFT_BUSY: c_int = 2;
/// `flags`: a port is open when the driver says so (`erl_drv_init_ack`).
pub const USE_INIT_ACK: c_int = 8;
