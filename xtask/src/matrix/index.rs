//! Which wheels the package index has for a library. pip is asked, as it is set up here: what it
//! says of each file it looked at names every wheel there is.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use pep440_rs::Version;

use super::Facts;
use super::sandbox::Sandbox;
use crate::run;

/// What is read here is what this version prints.
const PIP: &str = "pip==26.3";

/// What source archives end with; the few others are old.
const SOURCE: &str = ".tar.gz";

pub(super) struct Index {
    python: PathBuf,
}

/// The wheels of one library, on 64-bit Linux with glibc.
pub(super) struct Wheels {
    pub(super) newest: Version,
    pub(super) cp313t: First,
    pub(super) cp314t: First,
}

/// Since when there are wheels for an ABI.
#[derive(Clone, PartialEq)]
pub(super) enum First {
    /// Bound to the ABI, since this version.
    Version(Version),
    /// The newest version's are bound to no ABI: pure Python, or a library loaded by ctypes.
    Any,
    /// Nothing to install without a compiler.
    None,
}

impl Index {
    pub(super) fn new(sandbox: &Sandbox) -> Result<Self> {
        let python = sandbox.environment("index")?;
        let mut install = sandbox.uv();
        install.args(["pip", "install", "--quiet", "--python"]).arg(&python).arg(PIP);
        run::checked(install)?;
        Ok(Self { python })
    }

    pub(super) fn wheels(&self, name: &str) -> Result<Wheels> {
        let mut command = Command::new(&self.python);
        command.args(["-m", "pip", "-vv", "index", "versions", name]).stderr(Stdio::null());
        // It ends with an error where it finds nothing for itself; the files are named all the same.
        let output = command.output().context("pip does not start")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let files = file_names(&text);
        ensure!(!files.is_empty(), "pip names no file of {name}: is the index reachable?");
        let versions = files.iter().filter_map(|file| version(file));
        let newest = versions.filter(|version| !version.any_prerelease()).max();
        let newest = newest.with_context(|| format!("{name} has pre-releases only"))?;
        let wheels: Vec<Wheel> = files.iter().filter_map(|file| wheel(file)).collect();
        let stable = || wheels.iter().filter(|wheel| !wheel.version.any_prerelease());
        let any = stable().any(|wheel| wheel.version == newest && wheel.abi == "none");
        let first = |abi: &str| {
            let bound = stable().filter(|wheel| wheel.abi == abi).map(|wheel| &wheel.version).min();
            match bound {
                Some(version) => First::Version(version.clone()),
                None if any => First::Any,
                None => First::None,
            }
        };
        let (cp313t, cp314t) = (first("cp313t"), first("cp314t"));
        Ok(Wheels { newest, cp313t, cp314t })
    }
}

struct Wheel {
    version: Version,
    abi: String,
}

/// Every wheel and source archive named by an address in pip's output.
fn file_names(output: &str) -> BTreeSet<&str> {
    let words = output.split_whitespace().filter(|word| word.starts_with("http"));
    let files = words.filter_map(|word| {
        let address = word.split('#').next()?;
        address.rsplit('/').next()
    });
    files.filter(|file| file.ends_with(".whl") || file.ends_with(SOURCE)).collect()
}

/// The version in a file's name, whatever it is for.
fn version(file: &str) -> Option<Version> {
    let text = match file.strip_suffix(SOURCE) {
        Some(stem) => stem.rsplit_once('-')?.1,
        None => file.split('-').nth(1)?,
    };
    Version::from_str(text).ok()
}

/// A wheel that fits this kind of machine.
fn wheel(file: &str) -> Option<Wheel> {
    let parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
    // A build number may stand between version and tags.
    let [_, version, .., _, abi, platform] = parts[..] else {
        return None;
    };
    let fits = |tag: &str| tag == "any" || (tag.contains("linux") && tag.ends_with("_x86_64"));
    let glibc = |tag: &str| !tag.starts_with("musllinux");
    if !platform.split('.').any(|tag| fits(tag) && glibc(tag)) {
        return None;
    }
    let version = Version::from_str(version).ok()?;
    Some(Wheel { version, abi: abi.to_owned() })
}

impl Wheels {
    /// Whether there is nothing to install for the interpreter that imports are tried with.
    pub(super) fn is_none(&self) -> bool {
        self.cp314t == First::None
    }

    pub(super) fn facts(&self) -> Facts {
        Facts::from([
            ("newest", self.newest.to_string()),
            ("cp313t", self.cp313t.to_string()),
            ("cp314t", self.cp314t.to_string()),
        ])
    }
}

impl fmt::Display for First {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => version.fmt(f),
            Self::Any => f.write_str("any"),
            Self::None => f.write_str("none"),
        }
    }
}

impl fmt::Display for Wheels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { newest, cp313t, cp314t } = self;
        write!(f, "newest {newest}, cp313t {cp313t}, cp314t {cp314t}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abi(file: &str) -> Option<String> {
        wheel(file).map(|wheel| format!("{} {}", wheel.version, wheel.abi))
    }

    #[test]
    fn wheels_of_this_platform_are_read_and_others_are_not() {
        let fits = "sqlalchemy-2.0.45-cp314-cp314t-manylinux2014_x86_64.manylinux_2_17_x86_64.whl";
        assert_eq!(abi(fits).as_deref(), Some("2.0.45 cp314t"));
        assert_eq!(abi("a-1.0-2-py3-none-any.whl").as_deref(), Some("1.0 none"));
        for other in [
            "a-1.0-cp314-cp314t-musllinux_1_2_x86_64.whl",
            "a-1.0-cp314-cp314t-manylinux_2_28_aarch64.whl",
            "a-1.0-cp314-cp314t-win_amd64.whl",
            "a-1.0-cp314-cp314t-macosx_11_0_x86_64.whl",
            "a-1.0.tar.gz",
        ] {
            assert_eq!(abi(other), None, "{other}");
        }
    }

    #[test]
    fn files_are_named_whether_pip_would_take_them_or_not() {
        let output = "\
  Found link https://host/x/a-2.0-py3-none-any.whl#sha256=0 (from https://host/simple/a/), version: 2.0
  Skipping link: none of the wheel's tags (cp314-cp314t-linux_x86_64) are compatible: https://host/a-1.0-cp314-cp314t-linux_x86_64.whl (from b)
";
        assert_eq!(version("a-b-2.9.13.tar.gz").unwrap().to_string(), "2.9.13");
        assert_eq!(version("a-3.0-cp312-cp312-win_amd64.whl").unwrap().to_string(), "3.0");
        let files: Vec<&str> = file_names(output).into_iter().collect();
        assert_eq!(files, ["a-1.0-cp314-cp314t-linux_x86_64.whl", "a-2.0-py3-none-any.whl"]);
    }
}
