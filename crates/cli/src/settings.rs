//! Settings that hold for this program and for those that it starts: environment variables, which
//! options set.

use crate::arguments::Options;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What `--engine` says.
pub const ENGINE: &str = "SWARMRT_ENGINE";
/// What `--code-cache` says.
pub const CODE_CACHE: &str = "SWARMRT_CODE_CACHE";
/// Has the native engine write a map of its code.
pub const PERF_MAP: &str = "SWARMRT_JIT_DUMP";
/// How much machine code there may be at a time.
pub const CODE_MAX: &str = "SWARMRT_JIT_CODE_MAX";
/// Has the native engine say at the end what it has done.
pub const STATS: &str = "SWARMRT_JIT_STATS";
/// The folder of OTP.
pub const OTP_ROOT: &str = "SWARMRT_OTP_ROOT";

/// Makes the options of the command line settings. Call it before there are other threads.
pub fn apply(options: &Options) {
    let set = |name: &str, value: Option<&OsStr>| {
        if let Some(value) = value {
            // SAFETY: no other thread runs yet.
            unsafe { std::env::set_var(name, value) };
        }
    };
    let flag = |is_set: bool| is_set.then_some(OsStr::new("1"));
    set(OTP_ROOT, options.otp_root.as_deref().map(Path::as_os_str));
    set(ENGINE, options.engine.as_deref().map(OsStr::new));
    set(CODE_CACHE, options.code_cache.as_deref().map(Path::as_os_str));
    set(CODE_MAX, options.jit_code_max.as_deref().map(OsStr::new));
    set(PERF_MAP, flag(options.jit_dump));
    set(STATS, flag(options.jit_stats));
}

/// A number of bytes: `4096`, `512K`, `64M`.
pub fn bytes_of(text: &str) -> Option<usize> {
    let (number, unit) = match text.char_indices().last()? {
        (end, 'K' | 'k') => (&text[..end], 1 << 10),
        (end, 'M' | 'm') => (&text[..end], 1 << 20),
        _ => (text, 1),
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

/// Where code is cached: where the flag says, or below the user's folder for such things.
pub fn code_cache() -> Option<PathBuf> {
    if let Some(told) = std::env::var_os(CODE_CACHE) {
        return (told != "off").then(|| PathBuf::from(told));
    }
    Some(user_caches()?.join("swarmrt"))
}

/// The user's folder for what can be made again.
pub fn user_caches() -> Option<PathBuf> {
    let absolute = |variable: &str| {
        std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").filter(|home| home.is_dir()).map(|home| home.join(".cache")))
}
