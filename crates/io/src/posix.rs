//! Errors of the operating system as Erlang sees them.

use swarmrt_machine::{BifResult, Process};
use swarmrt_term::{Alloc, Atom, Term, am};

/// POSIX's name of an error number, in lower case. OTP 25 knows fewer of them than later releases.
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
        libc::ENOMSG => "enomsg",
        libc::ECHRNG => "echrng",
        libc::EL2NSYNC => "el2nsync",
        libc::EL3HLT => "el3hlt",
        libc::EL3RST => "el3rst",
        libc::ELNRNG => "elnrng",
        libc::EUNATCH => "eunatch",
        libc::ENOCSI => "enocsi",
        libc::EL2HLT => "el2hlt",
        libc::EBADE => "ebade",
        libc::EBADR => "ebadr",
        libc::EXFULL => "exfull",
        libc::ENOANO => "enoano",
        libc::EBADRQC => "ebadrqc",
        libc::EBADSLT => "ebadslt",
        libc::EBFONT => "ebfont",
        libc::EDOTDOT => "edotdot",
        libc::ENOTUNIQ => "enotuniq",
        libc::EBADFD => "ebadfd",
        libc::EREMCHG => "eremchg",
        libc::ELIBACC => "elibacc",
        libc::ELIBBAD => "elibbad",
        libc::ELIBSCN => "elibscn",
        libc::ELIBMAX => "elibmax",
        libc::ELIBEXEC => "elibexec",
        libc::ERESTART => "erestart",
        libc::ESTRPIPE => "estrpipe",
        libc::EUCLEAN => "euclean",
        libc::ENOTNAM => "enotnam",
        libc::ENAVAIL => "enavail",
        libc::EISNAM => "eisnam",
        libc::EREMOTEIO => "eremoteio",
        libc::ENOMEDIUM => "enomedium",
        libc::EMEDIUMTYPE => "emediumtype",
        libc::ENOKEY => "enokey",
        libc::EKEYEXPIRED => "ekeyexpired",
        libc::EKEYREVOKED => "ekeyrevoked",
        libc::EKEYREJECTED => "ekeyrejected",
        libc::EOWNERDEAD => "eownerdead",
        libc::ENOTRECOVERABLE => "enotrecoverable",
        libc::ERFKILL => "erfkill",
        libc::EHWPOISON => "ehwpoison",
        _ => "unknown",
    }
}

/// `{error, Reason}`.
///
/// # Errors
/// None: the answer is a term.
pub fn error(p: &mut Process, reason: &str) -> BifResult {
    Ok(p.tuple(&[Term::atom(am::ERROR), Term::atom(Atom::new(reason))]))
}

/// `{error, Posix}` for an error of the standard library.
///
/// # Errors
/// None: the answer is a term.
pub fn io_error(p: &mut Process, problem: &std::io::Error) -> BifResult {
    error(p, problem.raw_os_error().map_or("eio", name))
}

/// `{ok, Value}`.
///
/// # Errors
/// None: the answer is a term.
pub fn ok(p: &mut Process, value: Term) -> BifResult {
    Ok(p.tuple(&[Term::atom(am::OK), value]))
}

/// `ok`, or the error.
///
/// # Errors
/// None: the answer is a term.
pub fn done(p: &mut Process, result: std::io::Result<()>) -> BifResult {
    match result {
        Ok(()) => Ok(Term::atom(am::OK)),
        Err(problem) => io_error(p, &problem),
    }
}
