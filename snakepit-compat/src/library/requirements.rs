//! Owns the reading of what a project uses: names, a requirements file, a lock file, or what an
//! environment has installed. Resolves nothing: what is not pinned has no version here.
//!
//! Invariant: a line that is not understood is listed, never dropped.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::normalise_name;
use crate::WORKER_DISTRIBUTION;
use crate::child;
use crate::interpreter::Interpreter;

/// Files that include each other for ever are cut off here.
const INCLUDE_DEPTH: usize = 8;
/// Some thousand packages on a slow disk.
const LIST_LIMIT: Duration = Duration::from_secs(60);
const MARK: &str = "snakepit-installed:";
const LIST: &str = "\
import importlib.metadata, json
found = []
for item in importlib.metadata.distributions():
    name = item.metadata['Name']
    if name:
        wheel = item.read_text('WHEEL') or ''
        found.append({'name': name, 'version': item.version, 'pure': 'Root-Is-Purelib: true' in wheel})
print('snakepit-installed:' + json.dumps(found))
";

/// One library that a project uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Requirement {
    /// Its name, normalised.
    pub name: String,
    /// The version, where one is pinned or installed.
    pub version: Option<String>,
    /// Whether it is Python only, where it is installed and says so.
    #[serde(default)]
    pub pure: Option<bool>,
}

/// What a project uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Requirements {
    /// Each library once, by name.
    pub libraries: Vec<Requirement>,
    /// What was there and names no library: direct addresses, options, what was not understood.
    pub ignored: Vec<String>,
}

/// What a project uses could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequirementsError {
    /// The file cannot be read.
    #[error("{} cannot be read: name a requirements file, or a lock file of uv, Poetry or pip", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A lock file that is none.
    #[error("{} is no lock file of uv, Poetry or pip: {reason}", .path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Requirements files include each other too deeply.
    #[error("{} is included by files that include each other: name the innermost one", .path.display())]
    Included {
        /// The file.
        path: PathBuf,
    },
    /// The interpreter does not list its packages.
    #[error(
        "{python} does not list what is installed: run it by hand to see why; it said: {output}"
    )]
    Environment {
        /// The interpreter's path.
        python: String,
        /// The last of what it printed.
        output: String,
    },
}

impl Requirement {
    /// A library by name, in any spelling, with a version if one is known.
    pub fn new(name: &str, version: Option<&str>) -> Self {
        Self { name: normalise_name(name), version: version.map(str::to_owned), pure: None }
    }
}

impl Requirements {
    /// The libraries of these names, each with `==version` behind it or not.
    pub fn from_names<I: IntoIterator<Item: AsRef<str>>>(names: I) -> Self {
        let mut found = Self::default();
        for name in names {
            found.read_line(name.as_ref());
        }
        found.settle()
    }

    /// What a file asks for: `*.lock` and `pylock*.toml` are lock files, all else is a requirements
    /// file.
    ///
    /// # Errors
    /// If it cannot be read, or is called a lock file and is none.
    pub fn from_file(path: &Path) -> Result<Self, RequirementsError> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".lock") || (name.starts_with("pylock") && name.ends_with(".toml")) {
            return lock_file(path).map(Self::settle);
        }
        let mut found = Self::default();
        found.read_file(path, 0)?;
        Ok(found.settle())
    }

    /// What an interpreter's environment has installed.
    ///
    /// # Errors
    /// If the interpreter does not list it.
    pub fn from_environment(interpreter: &Interpreter) -> Result<Self, RequirementsError> {
        let failed = |output: String| RequirementsError::Environment {
            python: interpreter.executable.display().to_string(),
            output,
        };
        let mut command = Command::new(&interpreter.executable);
        // Isolated: the working directory is no environment.
        command.args(["-I", "-c", LIST]);
        let finished =
            child::run(command, LIST_LIMIT).map_err(|error| failed(error.to_string()))?;
        let line = finished.stdout.lines().find_map(|line| line.strip_prefix(MARK));
        let mut libraries: Vec<Requirement> = line
            .and_then(|json| serde_json::from_str(json).ok())
            .ok_or_else(|| failed(finished.tail()))?;
        for library in &mut libraries {
            library.name = normalise_name(&library.name);
        }
        // Ours is made for threads, and is no library of the project's.
        libraries.retain(|library| library.name != WORKER_DISTRIBUTION);
        Ok(Self { libraries, ignored: Vec::new() }.settle())
    }

    fn read_file(&mut self, path: &Path, depth: usize) -> Result<(), RequirementsError> {
        if depth > INCLUDE_DEPTH {
            return Err(RequirementsError::Included { path: path.to_owned() });
        }
        let text = fs::read_to_string(path)
            .map_err(|source| RequirementsError::Read { path: path.to_owned(), source })?;
        for line in logical_lines(&text) {
            match included(&line) {
                Some(other) => {
                    let other = path.parent().unwrap_or(Path::new("")).join(other);
                    self.read_file(&other, depth + 1)?;
                }
                None => self.read_line(&line),
            }
        }
        Ok(())
    }

    fn read_line(&mut self, line: &str) {
        match requirement(line) {
            Some(requirement) => self.libraries.push(requirement),
            None => self.ignored.push(line.to_owned()),
        }
    }

    /// Each library once, in the order of names, a pinned one before others of its name.
    fn settle(mut self) -> Self {
        self.libraries
            .sort_by(|a, b| (&a.name, a.version.is_none()).cmp(&(&b.name, b.version.is_none())));
        self.libraries.dedup_by(|later, first| later.name == first.name);
        self
    }
}

/// Lines without comments, those joined that end with a backslash.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut whole = String::new();
    for line in text.lines() {
        // A hash belongs to an address unless there is space before it.
        let comment = line
            .match_indices('#')
            .find(|(at, _)| line[..*at].chars().next_back().is_none_or(char::is_whitespace));
        let line = comment.map_or(line, |(at, _)| &line[..at]);
        match line.trim_end().strip_suffix('\\') {
            Some(begun) => whole.push_str(begun),
            None => {
                whole.push_str(line);
                lines.push(std::mem::take(&mut whole));
            }
        }
    }
    lines.push(whole);
    lines.iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// The file that a line of a requirements file includes.
fn included(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("--requirement").or_else(|| line.strip_prefix("-r"))?;
    let file = rest.trim_start_matches('=').trim();
    (!file.is_empty()).then_some(file)
}

/// A name with what may stand behind it: extras, versions, an address, a marker, hashes.
fn requirement(line: &str) -> Option<Requirement> {
    let line = line.trim();
    let inner = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let end = line.find(|character| !inner(character)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let letter = |character: Option<char>| character.is_some_and(|c| c.is_ascii_alphanumeric());
    if !letter(name.chars().next()) || !letter(name.chars().next_back()) {
        return None;
    }
    let mut rest = rest.trim_start();
    if let Some(extras) = rest.strip_prefix('[') {
        rest = extras.split_once(']')?.1.trim_start();
    }
    if let Some(address) = rest.strip_prefix('@') {
        return (!address.trim().is_empty()).then(|| Requirement::new(name, None));
    }
    let specifiers = rest.split(';').next()?.split(" --").next()?.trim();
    let specifiers = specifiers.trim_start_matches('(').trim_end_matches(')').trim();
    let mut version = None;
    for specifier in specifiers.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let operator = ["===", "==", "~=", "!=", "<=", ">=", "<", ">"];
        let (operator, value) = operator
            .iter()
            .find_map(|operator| Some((*operator, specifier.strip_prefix(operator)?.trim())))?;
        if value.is_empty() || value.contains(char::is_whitespace) {
            return None;
        }
        if matches!(operator, "==" | "===") && !value.ends_with('*') {
            version = Some(value);
        }
    }
    Some(Requirement::new(name, version))
}

#[derive(Deserialize)]
struct Lock {
    /// What uv and Poetry write.
    #[serde(default)]
    package: Vec<Locked>,
    /// What pip writes (PEP 751).
    #[serde(default)]
    packages: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: Option<String>,
    source: Option<toml::Value>,
}

fn lock_file(path: &Path) -> Result<Requirements, RequirementsError> {
    let text = fs::read_to_string(path)
        .map_err(|source| RequirementsError::Read { path: path.to_owned(), source })?;
    let no_lock =
        |reason: &str| RequirementsError::Lock { path: path.to_owned(), reason: reason.to_owned() };
    let lock: Lock = toml::from_str(&text).map_err(|error| no_lock(error.message()))?;
    let mut found = Requirements::default();
    for locked in lock.package.into_iter().chain(lock.packages) {
        // The project itself is no library that it uses.
        let itself = |kind| locked.source.as_ref().is_some_and(|source| source.get(kind).is_some());
        if itself("virtual") || itself("editable") {
            found.ignored.push(locked.name);
        } else {
            found.libraries.push(Requirement::new(&locked.name, locked.version.as_deref()));
        }
    }
    if found.libraries.is_empty() && found.ignored.is_empty() {
        return Err(no_lock("it lists no packages"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pinned(line: &str) -> Option<(String, Option<String>)> {
        requirement(line).map(|requirement| (requirement.name, requirement.version))
    }

    fn of(name: &str, version: Option<&str>) -> Option<(String, Option<String>)> {
        Some((name.to_owned(), version.map(str::to_owned)))
    }

    #[test]
    fn requirements_are_read_with_all_that_may_stand_behind_a_name() {
        assert_eq!(pinned("numpy"), of("numpy", None));
        assert_eq!(pinned("NumPy==2.5.5"), of("numpy", Some("2.5.5")));
        assert_eq!(pinned("httpx[http2] == 0.28.1"), of("httpx", Some("0.28.1")));
        assert_eq!(pinned("torch>=2.0,<3 ; sys_platform == 'linux'"), of("torch", None));
        assert_eq!(pinned("scipy (==1.18.1)"), of("scipy", Some("1.18.1")));
        assert_eq!(pinned("scipy==1.18.*"), of("scipy", None));
        assert_eq!(pinned("a==1.0 --hash=sha256:00 --hash=sha256:11"), of("a", Some("1.0")));
        assert_eq!(pinned("mine @ https://host/mine-1.0.whl"), of("mine", None));
        for other in ["-e .", "--index-url https://host", "https://host/a.whl", "./a", "a b", ""] {
            assert_eq!(pinned(other), None, "{other}");
        }
    }

    #[test]
    fn files_are_read_with_comments_continuations_and_includes() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write(
            "requirements.txt",
            "# ours\n-r base.txt\nnumpy\npandas==3.1.1 \\\n  --hash=sha256:0\n-e .\n",
        );
        write("base.txt", "numpy==2.5.5 # pinned here\n\nmine@https://host/mine#egg=mine\n");
        let found = Requirements::from_file(&dir.path().join("requirements.txt")).unwrap();
        let names: Vec<_> = found
            .libraries
            .iter()
            .map(|library| (library.name.as_str(), library.version.as_deref()))
            .collect();
        assert_eq!(names, [("mine", None), ("numpy", Some("2.5.5")), ("pandas", Some("3.1.1"))]);
        assert_eq!(found.ignored, ["-e ."]);

        write("loop.txt", "-r loop.txt\n");
        let error = Requirements::from_file(&dir.path().join("loop.txt")).unwrap_err();
        assert!(matches!(error, RequirementsError::Included { .. }), "{error}");
    }

    #[test]
    fn lock_files_of_three_tools_are_read_and_the_project_itself_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).unwrap();
            Requirements::from_file(&dir.path().join(name))
        };
        let uv = "version = 1\n[[package]]\nname = \"mine\"\nversion = \"0\"\nsource = { editable = \".\" }\n[[package]]\nname = \"numpy\"\nversion = \"2.5.5\"\nsource = { registry = \"https://host\" }\n";
        let found = read("uv.lock", uv).unwrap();
        assert_eq!(found.libraries, [Requirement::new("numpy", Some("2.5.5"))]);
        assert_eq!(found.ignored, ["mine"]);
        let poetry = "[[package]]\nname = \"Flask\"\nversion = \"3.0\"\n";
        assert_eq!(
            read("poetry.lock", poetry).unwrap().libraries,
            [Requirement::new("flask", Some("3.0"))]
        );
        let pip = "lock-version = \"1.0\"\n[[packages]]\nname = \"six\"\nversion = \"1.17\"\n";
        assert_eq!(read("pylock.toml", pip).unwrap().libraries.len(), 1);
        for broken in ["numpy==1", "[tool]\nx = 1\n"] {
            let error = read("broken.lock", broken).unwrap_err();
            assert!(matches!(error, RequirementsError::Lock { .. }), "{error}");
        }
    }

    proptest! {
        #[test]
        fn pins_are_read_back(name in "[a-z][a-z0-9]{0,8}", version in "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}", extra in "(\\[[a-z]{1,4}\\])?", space in " {0,2}") {
            let line = format!("{name}{extra}{space}=={space}{version}");
            prop_assert_eq!(pinned(&line), of(&name, Some(&version)));
        }

        #[test]
        fn every_line_ends_among_the_libraries_or_the_ignored(text in "(?s).{0,200}") {
            let lines = logical_lines(&text);
            let mut found = Requirements::default();
            for line in &lines {
                found.read_line(line);
            }
            prop_assert_eq!(found.libraries.len() + found.ignored.len(), lines.len());
        }
    }
}
