//! The limits that a control group (version 2) puts on this process: those of all groups above it,
//! the tightest first.

use std::fs;
use std::path::{Path, PathBuf};

/// What a group allows; nothing where it sets no limit.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// Processors' worth of time.
    pub(super) cores: Option<f64>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) processes: Option<u64>,
}

/// The limits on this process.
pub(super) fn limits() -> Limits {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    group(&own).map_or_else(Limits::default, |group| below(Path::new("/sys/fs/cgroup"), &group))
}

/// The path of a process's group in the unified hierarchy.
fn group(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // A group outside the view of a container is shown with dots.
    (!path.split('/').any(|part| part == "..")).then(|| PathBuf::from(path))
}

fn below(root: &Path, group: &Path) -> Limits {
    let mut limits = Limits::default();
    for ancestor in group.ancestors() {
        let read = |name: &str| fs::read_to_string(root.join(ancestor).join(name)).ok();
        let whole = |name: &str| read(name).and_then(|text| text.trim().parse().ok());
        tighten(&mut limits.cores, read("cpu.max").as_deref().and_then(cores));
        tighten(&mut limits.memory_bytes, whole("memory.max"));
        tighten(&mut limits.processes, whole("pids.max"));
    }
    limits
}

fn tighten<T: PartialOrd + Copy>(limit: &mut Option<T>, other: Option<T>) {
    match (*limit, other) {
        (Some(own), Some(other)) if other < own => *limit = Some(other),
        (None, other) => *limit = other,
        _ => {}
    }
}

/// `200000 100000` as two cores.
fn cores(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tightest_limit_of_all_groups_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let write = |path: &str, text: &str| fs::write(root.path().join(path), text).unwrap();
        write("a/cpu.max", "150000 100000\n");
        write("a/b/cpu.max", "400000 100000\n");
        write("a/b/memory.max", "max\n");
        write("a/memory.max", "1073741824\n");
        write("a/b/pids.max", "64\n");
        let limits = below(root.path(), Path::new("a/b"));
        let expected = (Some(1.5), Some(1 << 30), Some(64));
        assert_eq!((limits.cores, limits.memory_bytes, limits.processes), expected);
        assert_eq!(below(root.path(), Path::new("elsewhere")), Limits::default());
    }

    #[test]
    fn group_is_that_of_the_unified_hierarchy() {
        let text = "12:cpu:/old\n0::/system.slice/a.service\n";
        assert_eq!(group(text), Some(PathBuf::from("system.slice/a.service")));
        assert_eq!(group("0::/\n"), Some(PathBuf::new()));
        assert_eq!(group("0::/../../other\n"), None);
        assert_eq!(group("1:name=systemd:/\n"), None);
    }

    proptest! {
        #[test]
        fn quotas_are_read_back(quota in 1u64..10_000_000, period in 1u64..1_000_000) {
            prop_assert_eq!(cores(&format!("{quota} {period}\n")), Some(quota as f64 / period as f64));
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in ".*") {
            let _ = cores(&text);
            let _ = group(&text);
        }
    }
}
