//! The source package of a Debian-like distribution.
//!
//! Nothing of the system's package state is read or changed but its list of mirrors: `apt-get` runs
//! with directories of its own, so that no rights are needed and no `deb-src` line either.
//!
//! Invariant: what was fetched is what the distribution signed, or has the digest named here.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{SourceVersion, Tarball, check_digest, in_directory, release};
use crate::child;

/// The source package: the oldest version that is supported has the most wheels.
const PACKAGE: &str = "python3.14";
/// A package index can be ahead of its pool, where an older tarball then still lies. This one's
/// digest is that of the signed `python3.14_3.14.7-1.dsc`.
const PINNED_FILE: &str = "python3.14_3.14.7.orig.tar.xz";
const PINNED_SHA256: &str = "3b48dac8fb59f62eaa67ac83c1eb12bda1b7a08406dd286e252c11a66be27f81";
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";
/// Two package indexes of 12 MB each, or a tarball of 25 MB, over a slow line.
const FETCH_LIMIT: Duration = Duration::from_secs(600);
const ASK_LIMIT: Duration = Duration::from_secs(60);

/// Fetches the distribution's source package into a folder, with its `apt-get`.
pub(crate) fn from_distribution(
    apt_get: &Path,
    scratch: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Tarball, String> {
    let repositories = repositories(apt_get)?;
    progress(&format!("asking the distribution for the source package {PACKAGE}"));
    let apt = Apt::in_folder(apt_get, scratch, &repositories).map_err(|error| error.to_string())?;
    let mut reasons = Vec::new();
    match apt.fetch_listed(progress) {
        Ok(tarball) => return Ok(tarball),
        Err(reason) => reasons.push(reason),
    }
    for repository in &repositories {
        match apt.fetch_pinned(repository, progress) {
            Ok(tarball) => return Ok(tarball),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("; "))
}

/// A package repository, and what of it may have the source package.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Repository {
    uri: String,
    signed_by: Option<String>,
    suites: Vec<String>,
}

/// An `apt-get` whose state lies in a folder of ours.
struct Apt {
    apt_get: PathBuf,
    folder: PathBuf,
}

impl Apt {
    fn in_folder(
        apt_get: &Path,
        scratch: &Path,
        repositories: &[Repository],
    ) -> std::io::Result<Self> {
        let folder = scratch.join("apt");
        for directory in ["lists/partial", "cache/archives/partial", "source"] {
            fs::create_dir_all(folder.join(directory))?;
        }
        fs::write(folder.join("status"), "")?;
        let lines = repositories.iter().flat_map(Repository::lines).collect::<String>();
        fs::write(folder.join("sources.list"), lines)?;
        Ok(Self { apt_get: apt_get.to_owned(), folder })
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let in_folder = |name: &str| self.folder.join(name).display().to_string();
        for (key, value) in [
            ("Dir::Etc::SourceList", in_folder("sources.list")),
            ("Dir::Etc::SourceParts", "-".to_owned()),
            ("Dir::State::Lists", in_folder("lists")),
            ("Dir::State::Status", in_folder("status")),
            ("Dir::Cache", in_folder("cache")),
            ("Acquire::Languages", "none".to_owned()),
            // As root, apt would fetch as a user who may not write into the user's cache.
            ("APT::Sandbox::User", "root".to_owned()),
        ] {
            command.arg("-o").arg(format!("{key}={value}"));
        }
        command.current_dir(self.folder.join("source"));
        command
    }

    /// Fetches the newest version of the signed indexes that is really there.
    fn fetch_listed(&self, progress: &mut dyn FnMut(&str)) -> Result<Tarball, String> {
        let mut update = self.command(&self.apt_get);
        update.arg("update");
        // One suite that the mirror lacks fails the whole command, and leaves the others usable.
        let updated = child::run(update, FETCH_LIMIT).map_err(|error| error.to_string())?;
        let mut list = self.command(self.apt_get.with_file_name("apt-cache"));
        list.args(["showsrc", "--only-source", PACKAGE]);
        let listed = child::run(list, ASK_LIMIT).map_err(|error| error.to_string())?;
        let versions = listed_versions(&listed.stdout);
        if versions.is_empty() {
            let said = updated.last_lines(2).replace('\n', "; ");
            return Err(format!("the distribution lists no source package {PACKAGE} ({said})"));
        }
        for (_, version) in &versions {
            progress(&format!("fetching the source package {PACKAGE} {version}"));
            let mut fetch = self.command(&self.apt_get);
            fetch.args(["source", "--download-only", "--only-source"]);
            fetch.arg(format!("{PACKAGE}={version}"));
            let fetched = child::run(fetch, FETCH_LIMIT).map_err(|error| error.to_string())?;
            // Half a package is no package: a tarball without its signed description stays unused.
            if fetched.status.success() {
                return tarball_in(&self.folder.join("source"));
            }
        }
        let names: Vec<&str> = versions.iter().map(|(_, version)| version.as_str()).collect();
        Err(format!("{} is listed, and is not in the pool", names.join(", ")))
    }

    fn fetch_pinned(
        &self,
        repository: &Repository,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Tarball, String> {
        let uri =
            format!("{}/pool/main/p/{PACKAGE}/{PINNED_FILE}", repository.uri.trim_end_matches('/'));
        progress(&format!("fetching {PINNED_FILE}"));
        let path = self.folder.join("source").join(PINNED_FILE);
        let mut fetch = self.command(APT_HELPER);
        fetch.arg("download-file").arg(&uri).arg(&path).arg(format!("SHA256:{PINNED_SHA256}"));
        let fetched = child::run(fetch, FETCH_LIMIT).map_err(|error| error.to_string())?;
        if !fetched.status.success() {
            return Err(format!("{uri}: {}", fetched.last_lines(1)));
        }
        check_digest(&path, PINNED_SHA256)?;
        tarball_in(&self.folder.join("source"))
    }
}

impl Repository {
    fn lines(&self) -> Vec<String> {
        let signed = self.signed_by.as_ref().map(|key| format!(" [signed-by={key}]"));
        let signed = signed.unwrap_or_default();
        let line = |suite| format!("deb-src{signed} {} {suite} main\n", self.uri);
        self.suites.iter().map(line).collect()
    }
}

/// The distribution's own repositories, as apt is set up for them.
fn repositories(apt_get: &Path) -> Result<Vec<Repository>, String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mut list = Command::new(apt_get);
    list.args(["indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)"])
        .arg("Created-By: Packages");
    let listed =
        child::run(list, ASK_LIMIT).map_err(|error| format!("{} {error}", apt_get.display()))?;
    let found = parse_repositories(&listed.stdout, &release);
    if found.is_empty() {
        return Err("apt is set up for no repository of a Debian-like distribution".to_owned());
    }
    Ok(found)
}

fn parse_repositories(targets: &str, os_release: &str) -> Vec<Repository> {
    let id = os_release.lines().find_map(|line| line.strip_prefix("ID="));
    // The newest versions are in the suites that the next releases are made of.
    let (name, ahead): (&str, &[&str]) = match id.map(|id| id.trim_matches('"')) {
        Some("ubuntu") => ("ubuntu", &["devel"]),
        _ => ("debian", &["testing", "sid"]),
    };
    let mut found: Vec<Repository> = Vec::new();
    for line in targets.lines() {
        let [uri, suite, component, signed_by] = line.split('|').collect::<Vec<_>>()[..] else {
            continue;
        };
        let ours = uri.trim_end_matches('/').rsplit('/').next() == Some(name);
        if component != "main" || !ours {
            continue;
        }
        let index = found.iter().position(|known| known.uri == uri).unwrap_or_else(|| {
            // A field that is not set is printed as it was asked for.
            let signed_by = Some(signed_by).filter(|key| !key.is_empty() && !key.contains('$'));
            let keyring = format!("/usr/share/keyrings/{name}-archive-keyring.gpg");
            let usual = Some(keyring).filter(|keyring| Path::new(keyring).exists());
            let signed_by = signed_by.map(str::to_owned).or(usual);
            found.push(Repository { uri: uri.to_owned(), signed_by, suites: Vec::new() });
            found.len() - 1
        });
        let suites = &mut found[index].suites;
        for suite in [suite].iter().chain(ahead) {
            if !suites.iter().any(|known| known == suite) {
                suites.push((*suite).to_owned());
            }
        }
    }
    found
}

/// The package's versions in the answer of `apt-cache showsrc`, newest first, each once.
fn listed_versions(answer: &str) -> Vec<(SourceVersion, String)> {
    let versions = answer.lines().filter_map(|line| line.strip_prefix("Version: "));
    let mut found: Vec<_> = versions
        .filter_map(|version| {
            // An epoch and a Debian revision stand around the upstream version.
            let upstream = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream);
            let upstream = upstream.split_once(':').map_or(upstream, |(_, upstream)| upstream);
            Some((release(upstream)?, version.trim().to_owned()))
        })
        .collect();
    found.sort();
    found.dedup();
    found.reverse();
    found
}

fn tarball_in(folder: &Path) -> Result<Tarball, String> {
    in_directory(folder).map_err(|_| format!("{PACKAGE} holds no source tarball"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_distributions_own_repositories_are_asked_and_each_suite_once() {
        let targets = "\
http://mirror.example/debian/|bookworm|main|/usr/share/keyrings/k.gpg
http://mirror.example/debian/|sid|main|/usr/share/keyrings/k.gpg
http://mirror.example/debian/|bookworm|contrib|/usr/share/keyrings/k.gpg
http://mirror.example/debian-security/|bookworm-security|main|/usr/share/keyrings/k.gpg
https://packages.example/apt|stable|main|$(SIGNED_BY)
";
        let found = parse_repositories(targets, "NAME=\"Debian\"\nID=debian\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].suites, ["bookworm", "testing", "sid"]);
        let lines = found[0].lines().concat();
        let key = "deb-src [signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian/ ";
        assert!(lines.contains(&format!("{key}sid main\n")), "{lines}");
        assert!(parse_repositories(targets, "ID=ubuntu\n").is_empty());
    }

    #[test]
    fn listed_versions_come_newest_first_by_number() {
        let answer = "Package: python3.14\nVersion: 3.14.9-1\n\nVersion: 1:3.14.10-1~bpo1\nVersion: 3.14.9-1\n";
        let versions: Vec<_> = listed_versions(answer).into_iter().map(|(_, text)| text).collect();
        assert_eq!(versions, ["1:3.14.10-1~bpo1", "3.14.9-1"]);
    }

    /// Stand-ins for `apt-get` and `apt-cache`: three versions are listed, and only the oldest of
    /// them is in the pool.
    fn distribution(dir: &Path) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        write("apt-cache", "printf 'Version: 3.14.%s-1\\n' 9 10 8\n");
        write(
            "apt-get",
            "for last; do :; done\n\
             echo \"$last\" >> ../../asked\n\
             case \"$last\" in\n\
             update) echo 'one suite is missing' >&2; exit 100;;\n\
             *=3.14.8-1) : > python3.14_3.14.8.orig.tar.xz;;\n\
             *) echo '404 Not Found' >&2; exit 100;;\n\
             esac\n",
        )
    }

    #[test]
    fn versions_that_are_listed_and_not_in_the_pool_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let apt = Apt::in_folder(&distribution(dir.path()), dir.path(), &[]).unwrap();
        let mut steps = Vec::new();
        let found = apt.fetch_listed(&mut |step| steps.push(step.to_owned())).unwrap();
        assert_eq!(found.version, SourceVersion(3, 14, 8));
        assert_eq!(steps.len(), 3, "{steps:?}");
        let asked = fs::read_to_string(dir.path().join("asked")).unwrap();
        let asked: Vec<&str> = asked.lines().collect();
        let packages = ["python3.14=3.14.10-1", "python3.14=3.14.9-1", "python3.14=3.14.8-1"];
        assert_eq!(asked, [&["update"], &packages[..]].concat());
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_readers_panic(answer in ".*", release in ".*") {
            let _ = listed_versions(&answer);
            let _ = parse_repositories(&answer, &release);
        }
    }
}
