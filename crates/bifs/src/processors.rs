//! Processors: how many there are, how many this program may use, and the quota of its container.
//!
//! The quota is what a control group (version 1 or 2) allows of a processor's time, `quota /
//! period`, as OTP 27 and later read it. OTP 25 reads the same of common containers; it finds no
//! quota where the mount has no optional fields, or below the root of a version 2 hierarchy.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Numbers of logical processors; `None` is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Processors {
    /// That the system has.
    pub configured: Option<usize>,
    /// That are switched on.
    pub online: Option<usize>,
    /// That this program may run on.
    pub available: Option<usize>,
    /// Whose time the control group may use: at most as many as are online.
    pub quota: Option<usize>,
}

impl Processors {
    /// All numbers of this system; control groups are read from files.
    pub fn of_system() -> Processors {
        let counted = Processors::counted();
        Processors { quota: quota(Path::new("/"), counted.online.unwrap_or(1)), ..counted }
    }

    /// All but the quota, for which files have to be read.
    pub fn counted() -> Processors {
        let known = |count: i64| usize::try_from(count).ok().filter(|&count| count > 0);
        // SAFETY: `sysconf` only asks; the set of processors is plain memory that the call fills.
        let (configured, online, available) = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let is_known =
                libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) == 0;
            let available = if is_known { i64::from(libc::CPU_COUNT(&set)) } else { -1 };
            (
                libc::sysconf(libc::_SC_NPROCESSORS_CONF),
                libc::sysconf(libc::_SC_NPROCESSORS_ONLN),
                available,
            )
        };
        Processors {
            configured: known(configured),
            online: known(online),
            available: known(available),
            quota: None,
        }
    }

    /// How many schedulers there are unless a flag says otherwise.
    pub fn schedulers(&self) -> usize {
        self.configured.unwrap_or(1)
    }

    /// How many of them are online unless a flag says otherwise: `min(available, quota)`.
    pub fn schedulers_online(&self) -> usize {
        let available =
            self.available.map(|available| available.min(self.quota.unwrap_or(available)));
        available.or(self.online).unwrap_or_else(|| self.schedulers())
    }
}

/// The quota in processors, rounded down, 1 at least and `limit` at most. `None` where no control
/// group tells.
///
/// `root` is the root of the file system, which tests make themselves.
fn quota(root: &Path, limit: usize) -> Option<usize> {
    let within = |quota: i64, period: i64| match usize::try_from(quota / period.max(1)) {
        Ok(count) if quota > 0 && period > 0 => count.clamp(1, limit),
        _ => limit,
    };
    let number = |text: &str| text.trim().parse::<i64>().ok();
    match Group::find(root)? {
        Group::One(folder) => {
            let read = |name: &str| number(&read_to_string(folder.join(name)).ok()?);
            Some(within(read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?))
        }
        Group::Two(folder) => {
            let text = read_to_string(folder.join("cpu.max")).ok()?;
            let mut words = text.split_whitespace();
            match (words.next()?, number(words.next()?)?) {
                ("max", _) => Some(limit),
                (quota, period) => Some(within(number(quota)?, period)),
            }
        }
    }
}

/// The folder of the control group whose `cpu` controller this program is under.
#[derive(PartialEq, Eq, Debug)]
enum Group {
    /// Version 1: a hierarchy for each controller.
    One(PathBuf),
    /// Version 2: one hierarchy.
    Two(PathBuf),
}

const CONTROLLER: &str = "cpu";

impl Group {
    fn find(root: &Path) -> Option<Group> {
        let groups = read_to_string(root.join("proc/self/cgroup")).ok()?;
        let mounts = read_to_string(root.join("proc/self/mountinfo")).ok()?;
        // A controller is in one hierarchy only: that of version 2 does not have it if one of
        // version 1 does.
        match group_path(&groups, |controllers| {
            controllers.split(',').any(|name| name == CONTROLLER)
        }) {
            Some(group) => mounts.lines().filter_map(Mount::parse).find_map(|mount| {
                let has_it = mount.kind == "cgroup"
                    && mount.options.split(',').any(|name| name == CONTROLLER);
                has_it.then(|| {
                    Group::One(mount.folder(root, if mount.root == group { "" } else { group }))
                })
            }),
            None => {
                let group = group_path(&groups, str::is_empty)?;
                mounts
                    .lines()
                    .filter_map(Mount::parse)
                    .filter(|mount| mount.kind == "cgroup2")
                    .find_map(|mount| {
                        let folder = mount.folder(root, group);
                        let controllers = read_to_string(folder.join("cgroup.controllers")).ok()?;
                        controllers
                            .split_whitespace()
                            .any(|name| name == CONTROLLER)
                            .then_some(Group::Two(folder))
                    })
            }
        }
    }
}

/// The path in the first line of `/proc/self/cgroup` (`NUMBER:CONTROLLERS:PATH`) with such
/// controllers.
fn group_path(groups: &str, wanted: impl Fn(&str) -> bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        wanted(controllers).then_some(path)
    })
}

/// What is of interest in a line of `/proc/self/mountinfo` (proc(5)).
struct Mount<'a> {
    /// The folder of the mounted file system that appears at `at`.
    root: &'a str,
    at: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl Mount<'_> {
    fn parse(line: &str) -> Option<Mount<'_>> {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let mut system = system.split(' ');
        Some(Mount {
            root: place.next()?,
            at: place.next()?,
            kind: system.next()?,
            options: system.nth(1)?,
        })
    }

    fn folder(&self, root: &Path, group: &str) -> PathBuf {
        root.join(self.at.trim_start_matches('/')).join(group.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system with these files, gone afterwards.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Root {
            let root = Root(
                std::env::temp_dir().join(format!("swarmrt-quota-{name}-{}", std::process::id())),
            );
            for (file, text) in files {
                root.write(file, text);
            }
            root
        }
        fn write(&self, file: &str, text: &str) {
            let path = self.0.join(file);
            std::fs::create_dir_all(path.parent().expect("inside")).expect("made");
            std::fs::write(path, text).expect("written");
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const MOUNT_ONE: &str =
        "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n";
    const MOUNT_TWO: &str =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn version_1() {
        let root = Root::new(
            "one",
            &[
                ("proc/self/cgroup", "3:cpuset:/\n1:cpuacct,cpu:/box\n0::/\n"),
                ("proc/self/mountinfo", MOUNT_ONE),
                ("sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n"),
            ],
        );
        for (text, wanted) in
            [("-1", 8), ("100000", 1), ("150000", 1), ("250000", 2), ("50000", 1), ("900000", 8)]
        {
            root.write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", text);
            assert_eq!(quota(&root.0, 8), Some(wanted), "{text}");
        }
        root.write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "nonsense");
        assert_eq!(quota(&root.0, 8), None);
    }

    /// Inside a container the group itself is mounted.
    #[test]
    fn a_mounted_group() {
        let mount = "9 1 0:29 /docker/1f /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
        let files = [("proc/self/cgroup", "1:cpu:/docker/1f\n"), ("proc/self/mountinfo", mount)];
        let root = Root::new("mounted", &files);
        assert_eq!(Group::find(&root.0), Some(Group::One(root.0.join("sys/fs/cgroup/cpu"))));
    }

    #[test]
    fn version_2() {
        let root = Root::new(
            "two",
            &[
                ("proc/self/cgroup", "0::/user/box\n"),
                ("proc/self/mountinfo", MOUNT_TWO),
                ("sys/fs/cgroup/user/box/cgroup.controllers", "cpuset cpu io\n"),
            ],
        );
        assert_eq!(quota(&root.0, 8), None);
        for (text, wanted) in [
            ("max 100000\n", 8),
            ("300000 100000\n", 3),
            ("10000 100000\n", 1),
            ("1600000 100000", 8),
        ] {
            root.write("sys/fs/cgroup/user/box/cpu.max", text);
            assert_eq!(quota(&root.0, 8), Some(wanted), "{text}");
        }
        root.write("sys/fs/cgroup/user/box/cgroup.controllers", "cpuset io\n");
        assert_eq!(quota(&root.0, 8), None);
    }

    /// Both versions are mounted: the controller is where a line names it.
    #[test]
    fn both_versions() {
        let root = Root::new(
            "both",
            &[
                ("proc/self/cgroup", "0::/two\n1:cpu:/\n"),
                ("proc/self/mountinfo", &(MOUNT_TWO.to_owned() + MOUNT_ONE)),
                ("sys/fs/cgroup/two/cgroup.controllers", "memory\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n"),
            ],
        );
        assert_eq!(quota(&root.0, 8), Some(2));
    }

    #[test]
    fn without_control_groups() {
        assert_eq!(quota(Path::new("/no/such/root"), 8), None);
        let files = [
            ("proc/self/cgroup", "garbage\n::\n"),
            ("proc/self/mountinfo", "a - b\n1 2 3 - cgroup\n"),
        ];
        let root = Root::new("none", &files);
        assert_eq!(quota(&root.0, 8), None);
    }

    #[test]
    fn as_many_schedulers_are_online_as_may_run() {
        let all =
            Processors { configured: Some(8), online: Some(8), available: Some(6), quota: Some(2) };
        assert_eq!((all.schedulers(), all.schedulers_online()), (8, 2));
        assert_eq!(Processors { quota: None, ..all }.schedulers_online(), 6);
        assert_eq!(Processors { quota: Some(8), ..all }.schedulers_online(), 6);
        assert_eq!(Processors { available: None, ..all }.schedulers_online(), 8);
        let none = Processors { configured: None, online: None, available: None, quota: None };
        assert_eq!((none.schedulers(), none.schedulers_online()), (1, 1));
    }
}
