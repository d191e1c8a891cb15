//! How much memory the system has left. Shared memory is reserved page by page, and a system that
//! runs out of pages ends a process instead of refusing; so the arena asks before it reserves much.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that can be had without driving anything out: the system's own estimate, or what this
/// process's control group leaves if that is less. `None` where the system does not say.
pub fn available_bytes() -> Option<u64> {
    let system = memory_info(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let group = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| group_path(&text));
    let groups = group.iter().flat_map(|group| group.ancestors());
    let left = groups.filter_map(group_left).min();
    Some(left.map_or(system, |left| system.min(left)))
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn memory_info(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Where the group of the second version, which is the one that limits memory there, has its files.
fn group_path(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(path))
}

/// What a group with a limit leaves; reclaimable caches count as used, which errs on the safe side.
fn group_left(group: &Path) -> Option<u64> {
    let number =
        |name| -> Option<u64> { fs::read_to_string(group.join(name)).ok()?.trim().parse().ok() };
    // Without a limit the file says "max", which is no number.
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_read_from_what_the_system_says() {
        let text = "MemTotal:       24566012 kB\nMemAvailable:   23000000 kB\nCached: 1 kB\n";
        assert_eq!(memory_info(text), Some(23_000_000 * 1024));
        assert_eq!(memory_info("MemTotal: 1 kB\n"), None);
        assert_eq!(memory_info("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn the_group_is_the_one_of_the_second_version() {
        let found = group_path("4:memory:/old\n0::/user.slice/a.scope\n");
        assert_eq!(found.as_deref(), Some(Path::new("/sys/fs/cgroup/user.slice/a.scope")));
        assert_eq!(group_path("4:memory:/old\n"), None);
    }

    #[test]
    fn a_group_leaves_what_its_limit_says_and_one_without_a_limit_leaves_all() {
        let group = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(group.path().join(name), text).unwrap();
        write("memory.current", "4096\n");
        write("memory.max", "max\n");
        assert_eq!(group_left(group.path()), None);
        write("memory.max", "10000\n");
        assert_eq!(group_left(group.path()), Some(5904));
        write("memory.current", "20000\n");
        assert_eq!(group_left(group.path()), Some(0));
    }
}
