//! How much memory there is for the machine: what the computer has, or what its container or its
//! limits leave.

use std::fs::read_to_string;

/// Sets a bound of its own, in bytes.
const VARIABLE: &str = "SWARMRT_MEMORY_MAX";

/// The least of all the bounds that are known; `None` where the system does not tell.
pub fn available_bytes() -> Option<usize> {
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let container =
        files.into_iter().filter_map(|path| read_to_string(path).ok()?.trim().parse().ok());
    let computer = read_to_string("/proc/meminfo").ok().and_then(|text| installed(&text));
    let limits = read_to_string("/proc/self/limits").ok().and_then(|text| address_space(&text));
    let wanted = std::env::var(VARIABLE).ok().and_then(|bytes| bytes.parse().ok());
    container.chain(computer).chain(limits).chain(wanted).min()
}

/// From a line such as `MemTotal:       24576000 kB`.
fn installed(meminfo: &str) -> Option<usize> {
    let kilobytes = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    kilobytes.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// From a line such as `Max address space         30720000000          unlimited            bytes`.
fn address_space(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_from_the_systems_files() {
        assert_eq!(installed("MemTotal:       24 kB\nMemFree: 1 kB\n"), Some(24 * 1024));
        assert_eq!(installed("MemFree: 1 kB\n"), None);
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax address space         4096          unlimited            bytes\n";
        assert_eq!(address_space(limits), Some(4096));
        assert_eq!(address_space(&limits.replace("4096", "unlimited")), None);
    }
}
