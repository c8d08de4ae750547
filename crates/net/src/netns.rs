//! Network namespaces of Linux.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

/// Does something with the calling thread in the namespace with this path.
///
/// # Errors
/// What the system says, or what was done answers.
pub fn inside<T>(path: &[u8], make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let there = File::open(OsStr::from_bytes(path))?;
    let here = File::open("/proc/thread-self/ns/net")?;
    enter(&there)?;
    let made = make();
    enter(&here)?;
    made
}

fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: an open file; only the calling thread changes its namespace.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
