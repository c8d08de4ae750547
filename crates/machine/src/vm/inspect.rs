//! What the break menu and crash dumps tell of a machine. Crates above fill it, since they know
//! tables and ports.

use crate::vm::Vm;
use std::io::{self, Write};
use std::path::PathBuf;

/// The first line of a crash dump: what it is, and in which version of the form.
pub const DUMP_HEAD: &str = "=erl_crash_dump:0.5\n";
/// Crash dumps hold whatever the program holds, secrets too.
pub const DUMP_MODE: u32 = 0o640;
const DUMP_FILE_DEFAULT: &str = "erl_crash.dump";

/// Where crash dumps go: `ERL_CRASH_DUMP`; `None` where `ERL_CRASH_DUMP_SECONDS` or
/// `ERL_CRASH_DUMP_BYTES` is 0, which means no dump.
pub fn dump_file() -> Option<PathBuf> {
    let is_zero = |name: &str| std::env::var(name).is_ok_and(|value| value.trim() == "0");
    if is_zero("ERL_CRASH_DUMP_SECONDS") || is_zero("ERL_CRASH_DUMP_BYTES") {
        return None;
    }
    Some(std::env::var_os("ERL_CRASH_DUMP").unwrap_or_else(|| DUMP_FILE_DEFAULT.into()).into())
}

/// Tells of a machine as text, in the form of OTP's crash dumps. Any thread that is no scheduler
/// may ask.
pub trait Inspect: Send + Sync {
    /// Sizes of memory and of tables.
    ///
    /// # Errors
    /// Writing to `out` fails.
    fn sizes(&self, vm: &'static Vm, out: &mut dyn Write) -> io::Result<()>;
    /// A section for each process and each port.
    ///
    /// # Errors
    /// Writing to `out` fails.
    fn processes(&self, vm: &'static Vm, out: &mut dyn Write) -> io::Result<()>;
    /// The section of one process; `None` when it is gone.
    fn process(&self, vm: &'static Vm, pid: u64) -> Option<Vec<u8>>;
    /// Loaded modules and the sizes of their code in bytes.
    ///
    /// # Errors
    /// Writing to `out` fails.
    fn modules(&self, vm: &'static Vm, out: &mut dyn Write) -> io::Result<()>;
    /// A section for each ETS table, with its objects where these are wanted.
    ///
    /// # Errors
    /// Writing to `out` fails.
    fn tables(&self, vm: &'static Vm, objects: bool, out: &mut dyn Write) -> io::Result<()>;
    /// This node and those that it is connected with.
    ///
    /// # Errors
    /// Writing to `out` fails.
    fn nodes(&self, vm: &'static Vm, out: &mut dyn Write) -> io::Result<()>;
    /// Writes a crash dump to where `ERL_CRASH_DUMP` says, and tells on standard error.
    fn crash_dump(&self, vm: &'static Vm, slogan: &str);
}
