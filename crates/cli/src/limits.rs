//! Limits of the operating system (`ulimit`), and what programs that are started inherit.

/// The limit that holds for this process; `None` is none.
pub fn limit(resource: libc::__rlimit_resource_t) -> Option<u64> {
    let mut found = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is one of the kind that the call fills.
    let is_known = unsafe { libc::getrlimit(resource, &raw mut found) } == 0;
    (is_known && found.rlim_cur != libc::RLIM_INFINITY).then_some(found.rlim_cur)
}

/// Programs of ports get no descriptors but those that a port gives them: what this process was
/// started with is not theirs. A host of an embedded machine decides that for its own descriptors.
pub fn keep_descriptors_from_children() {
    // SAFETY: descriptors stay open; only programs that are started do not have them.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
}
