//! Limits of the operating system (`ulimit`).

/// The limit that holds for this process; `None` is none.
pub fn limit(resource: libc::__rlimit_resource_t) -> Option<u64> {
    let mut found = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is one of the kind that the call fills.
    let is_known = unsafe { libc::getrlimit(resource, &raw mut found) } == 0;
    (is_known && found.rlim_cur != libc::RLIM_INFINITY).then_some(found.rlim_cur)
}
