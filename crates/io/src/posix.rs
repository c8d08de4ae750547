//! Errors of the operating system as Erlang sees them.

use swarmrt_machine::{BifResult, Process};
use swarmrt_term::{Alloc, Atom, Term, am};

/// POSIX's name of an error number, in lower case.
pub fn name(number: i32) -> &'static str {
    match number {
        libc::E2BIG => "e2big",
        libc::EACCES => "eacces",
        libc::EADDRINUSE => "eaddrinuse",
        libc::EADDRNOTAVAIL => "eaddrnotavail",
        libc::EAGAIN => "eagain",
        libc::EBADF => "ebadf",
        libc::EBUSY => "ebusy",
        libc::ECHILD => "echild",
        libc::ECONNREFUSED => "econnrefused",
        libc::ECONNRESET => "econnreset",
        libc::EDEADLK => "edeadlk",
        libc::EDOM => "edom",
        libc::EDQUOT => "edquot",
        libc::EEXIST => "eexist",
        libc::EFAULT => "efault",
        libc::EFBIG => "efbig",
        libc::EINTR => "eintr",
        libc::EINVAL => "einval",
        libc::EIO => "eio",
        libc::EISDIR => "eisdir",
        libc::ELOOP => "eloop",
        libc::EMFILE => "emfile",
        libc::EMLINK => "emlink",
        libc::ENAMETOOLONG => "enametoolong",
        libc::ENFILE => "enfile",
        libc::ENODEV => "enodev",
        libc::ENOENT => "enoent",
        libc::ENOEXEC => "enoexec",
        libc::ENOLCK => "enolck",
        libc::ENOMEM => "enomem",
        libc::ENOSPC => "enospc",
        libc::ENOSYS => "enosys",
        libc::ENOTBLK => "enotblk",
        libc::ENOTDIR => "enotdir",
        libc::ENOTEMPTY => "enotempty",
        libc::ENOTSUP => "enotsup",
        libc::ENOTTY => "enotty",
        libc::ENXIO => "enxio",
        libc::EPERM => "eperm",
        libc::EPIPE => "epipe",
        libc::ERANGE => "erange",
        libc::EROFS => "erofs",
        libc::ESPIPE => "espipe",
        libc::ESRCH => "esrch",
        libc::ESTALE => "estale",
        libc::ETIMEDOUT => "etimedout",
        libc::ETXTBSY => "etxtbsy",
        libc::EXDEV => "exdev",
        libc::EAFNOSUPPORT => "eafnosupport",
        libc::EALREADY => "ealready",
        libc::ECONNABORTED => "econnaborted",
        libc::EDESTADDRREQ => "edestaddrreq",
        libc::EHOSTDOWN => "ehostdown",
        libc::EHOSTUNREACH => "ehostunreach",
        libc::EINPROGRESS => "einprogress",
        libc::EISCONN => "eisconn",
        libc::EMSGSIZE => "emsgsize",
        libc::ENETDOWN => "enetdown",
        libc::ENETRESET => "enetreset",
        libc::ENETUNREACH => "enetunreach",
        libc::ENOBUFS => "enobufs",
        libc::ENOPROTOOPT => "enoprotoopt",
        libc::ENOTCONN => "enotconn",
        libc::ENOTSOCK => "enotsock",
        libc::EOVERFLOW => "eoverflow",
        libc::EPFNOSUPPORT => "epfnosupport",
        libc::EPROTO => "eproto",
        libc::EPROTONOSUPPORT => "eprotonosupport",
        libc::EPROTOTYPE => "eprototype",
        libc::EBADMSG => "ebadmsg",
        libc::ECANCELED => "ecanceled",
        libc::EIDRM => "eidrm",
        libc::EILSEQ => "eilseq",
        libc::ESHUTDOWN => "eshutdown",
        libc::ESOCKTNOSUPPORT => "esocktnosupport",
        libc::ETOOMANYREFS => "etoomanyrefs",
        libc::EUSERS => "eusers",
        libc::EREMOTE => "eremote",
        libc::ENODATA => "enodata",
        libc::ENOSTR => "enostr",
        libc::ETIME => "etime",
        libc::ENOSR => "enosr",
        libc::ENOLINK => "enolink",
        libc::EMULTIHOP => "emultihop",
        libc::ENONET => "enonet",
        libc::ENOPKG => "enopkg",
        libc::ECOMM => "ecomm",
        libc::ESRMNT => "esrmnt",
        libc::EADV => "eadv",
        _ => "unknown",
    }
}

/// `{error, Reason}`.
pub fn error(p: &mut Process, reason: &str) -> BifResult {
    Ok(p.tuple(&[Term::atom(am::ERROR), Term::atom(Atom::new(reason))]))
}

/// `{error, Posix}` for an error of the standard library.
pub fn io_error(p: &mut Process, problem: &std::io::Error) -> BifResult {
    error(p, problem.raw_os_error().map_or("eio", name))
}

/// `{ok, Value}`.
pub fn ok(p: &mut Process, value: Term) -> BifResult {
    Ok(p.tuple(&[Term::atom(am::OK), value]))
}

/// `ok`, or the error.
pub fn done(p: &mut Process, result: std::io::Result<()>) -> BifResult {
    match result {
        Ok(()) => Ok(Term::atom(am::OK)),
        Err(problem) => io_error(p, &problem),
    }
}
