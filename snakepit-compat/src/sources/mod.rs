//! Owns CPython's source code as it was published: which file is one, of which version, and that it
//! is whole. Building it is `source_build`'s business.

mod apt;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) use self::apt::from_distribution;
use crate::child;

const ASK_LIMIT: Duration = Duration::from_secs(60);

/// CPython's source code as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tarball {
    pub(crate) path: PathBuf,
    pub(crate) version: SourceVersion,
}

/// Major, minor and micro version. Pre-releases are no version here: they have another ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceVersion(pub(crate) u32, pub(crate) u32, pub(crate) u32);

/// The newest source tarball in a directory, checked against a digest file beside it if there is
/// one (`<name>.sha256`, as `sha256sum` writes it).
pub(crate) fn in_directory(dir: &Path) -> Result<Tarball, String> {
    let entries = fs::read_dir(dir).map_err(|error| error.to_string())?;
    let found = entries.flatten().filter_map(|entry| {
        let version = tarball_version(entry.file_name().to_str()?)?;
        Some(Tarball { path: entry.path(), version })
    });
    let newest = found
        .max_by_key(|tarball| tarball.version)
        .ok_or("no file is called Python-3.14.*.tar.xz or python3.14_*.orig.tar.xz")?;
    check_digest_file(&newest.path)?;
    Ok(newest)
}

/// The version in a tarball's name, upstream's or Debian's, of a release with free threading.
fn tarball_version(name: &str) -> Option<SourceVersion> {
    let endings = [".tar.xz", ".tar.gz", ".tgz"];
    let stem = endings.iter().find_map(|ending| name.strip_suffix(ending))?;
    if let Some(version) = stem.strip_prefix("Python-") {
        return release(version);
    }
    let (series, version) = stem.strip_prefix("python")?.strip_suffix(".orig")?.split_once('_')?;
    release(version).filter(|SourceVersion(major, minor, _)| series == format!("{major}.{minor}"))
}

/// `3.14.7` as numbers, if it is a release that is supported.
fn release(text: &str) -> Option<SourceVersion> {
    let parts: Vec<u32> = text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [major, minor, micro] = parts[..] else {
        return None;
    };
    ((major, minor) >= (3, 14)).then_some(SourceVersion(major, minor, micro))
}

fn check_digest_file(path: &Path) -> Result<(), String> {
    let mut file = path.as_os_str().to_owned();
    file.push(".sha256");
    let Ok(text) = fs::read_to_string(&file) else {
        return Ok(());
    };
    check_digest(path, text.split_whitespace().next().unwrap_or_default())
}

fn check_digest(path: &Path, expected: &str) -> Result<(), String> {
    let mut command = Command::new("sha256sum");
    command.arg("--").arg(path);
    let finished = child::run(command, ASK_LIMIT).map_err(|error| error.to_string())?;
    if finished.stdout.split_whitespace().next() == Some(expected) {
        return Ok(());
    }
    Err(format!("{} does not have the SHA-256 {expected}: it is damaged", path.display()))
}

impl std::fmt::Display for SourceVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tarballs_of_upstream_and_distribution_are_known_and_others_are_not() {
        let known = |name| tarball_version(name).map(|version| version.to_string());
        assert_eq!(known("Python-3.14.7.tar.xz").as_deref(), Some("3.14.7"));
        assert_eq!(known("Python-3.15.0.tgz").as_deref(), Some("3.15.0"));
        assert_eq!(known("python3.14_3.14.10.orig.tar.xz").as_deref(), Some("3.14.10"));
        for other in [
            "Python-3.13.9.tar.xz",
            "Python-3.15.0rc1.tar.xz",
            "python3.14_3.14.7-1.debian.tar.xz",
            "python3.13_3.14.7.orig.tar.xz",
            "cpython-3.14.7t-linux-x86_64.tar.xz",
        ] {
            assert_eq!(known(other), None, "{other}");
        }
    }

    #[test]
    fn newest_tarball_is_taken_by_number_and_a_wrong_digest_refuses_it() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["Python-3.14.9.tar.xz", "Python-3.14.10.tar.xz"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        assert_eq!(in_directory(dir.path()).unwrap().version, SourceVersion(3, 14, 10));
        let digest = dir.path().join("Python-3.14.10.tar.xz.sha256");
        fs::write(&digest, "00ff  Python-3.14.10.tar.xz\n").unwrap();
        assert!(in_directory(dir.path()).unwrap_err().contains("damaged"));
        let mut sum = Command::new("sha256sum");
        let right = sum.arg(dir.path().join("Python-3.14.10.tar.xz")).output().unwrap().stdout;
        fs::write(&digest, right).unwrap();
        assert!(in_directory(dir.path()).is_ok());
    }

    proptest! {
        #[test]
        fn any_release_is_read_back_from_both_names(minor in 14u32..99, micro in 0u32..200) {
            let version = SourceVersion(3, minor, micro);
            let upstream = format!("Python-{version}.tar.xz");
            prop_assert_eq!(tarball_version(&upstream), Some(version));
            let distribution = format!("python3.{minor}_{version}.orig.tar.xz");
            prop_assert_eq!(tarball_version(&distribution), Some(version));
        }

        #[test]
        fn no_name_makes_the_reader_panic(name in ".*") {
            let _ = tarball_version(&name);
        }
    }
}
