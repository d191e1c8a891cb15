//! Owns what is known about libraries and threads, as `data/libraries.toml` says it. Judging a
//! library for a profile and an interpreter is `check`'s business.
//!
//! Three facts are independent of each other and stay apart: whether there are wheels for an ABI,
//! whether importing keeps the GIL off, and how objects may be shared between threads.

mod check;
mod judge;
mod name;
mod report;
pub(crate) mod requirements;

use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

pub use self::check::{Abi, InvalidAbi, Profile, Rating, Verdict, check};
pub use self::name::normalise_name;
pub use self::report::{Report, generate_report};
pub use self::requirements::{Requirement, Requirements, RequirementsError};

const DATA: &str = include_str!("../../data/libraries.toml");

/// What is known about one library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Library {
    /// What it is called where packages are installed from, normalised.
    pub name: String,
    /// The modules that were imported to look at the GIL; programs import the first.
    pub imports: Vec<String>,
    /// Other distributions of the same modules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// What it cannot be imported without and does not ask for by itself, with the version if one is
    /// needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Part of Python itself.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stdlib: bool,
    /// Weighs a gigabyte or more with what it needs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub large: bool,
    /// The oldest version that the advice is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<String>,
    /// Whether it may be used by several threads at once, going by its documentation.
    pub threads: Threads,
    /// How its objects may be shared.
    pub sharing: Sharing,
    /// Whether its heavy work lets other threads run where there is a GIL.
    pub releases_gil: ReleasesGil,
    /// What to do in a thread worker.
    pub advice: String,
    /// Where the judgements come from.
    pub source: String,
    /// When they were made.
    pub date: String,
    /// The wheels in the package index; nothing for the standard library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wheels: Option<Wheels>,
    /// What importing it did to the GIL.
    pub import: Import,
}

/// The wheels of a library for 64-bit Linux, in the package index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Wheels {
    /// The newest version there was.
    pub newest: String,
    /// For free-threaded 3.13.
    pub cp313t: Wheel,
    /// For free-threaded 3.14.
    pub cp314t: Wheel,
    /// When it was looked up.
    pub date: String,
}

/// Whether there are wheels for an ABI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum Wheel {
    /// Since this version.
    Since(String),
    /// Bound to no ABI: pure Python, or a native library loaded by name.
    Any,
    /// Nothing that installs without a compiler.
    None,
}

/// What importing a library under free-threaded Python did to the GIL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Import {
    /// Its state afterwards.
    pub gil: ImportGil,
    /// The oldest version that was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The newest version that was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The module that turned the GIL on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// Why it was not imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Untested>,
    /// The interpreter it was imported with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// When.
    pub date: String,
}

/// The GIL after an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ImportGil {
    /// It stayed off.
    Off,
    /// It came back, for the life of the interpreter.
    On,
    /// Nobody looked.
    Untested,
}

/// Why a library was not imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Untested {
    /// It has no wheel for free-threaded Python.
    NoWheel,
    /// Something that it needs has none.
    NotInstallable,
    /// The import failed on the machine that looked.
    ImportFails,
    /// It was too large for the machine that looked.
    TooLarge,
}

/// Whether a library may be used by several threads at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Threads {
    /// If each thread keeps to its own objects, or as `sharing` says.
    Safe,
    /// If the advice is followed.
    SafeWithCare,
    /// Not without a lock round every use: the process profile is the place for it.
    NotSafe,
    /// Nothing was found.
    Unknown,
}

/// How a library's objects may be shared between threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sharing {
    /// By several threads at once.
    Shared,
    /// While nobody changes them.
    ReadOnly,
    /// One for each thread.
    PerThread,
    /// One for each call.
    PerCall,
    /// Not even different objects in different threads.
    Unsafe,
    /// Nothing was found.
    Unknown,
}

/// Whether heavy work lets other threads run where there is a GIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReleasesGil {
    /// Most of it does.
    Yes,
    /// Some of it, or only input and output.
    Partly,
    /// None of it.
    No,
    /// Nothing was found.
    Unknown,
}

/// Which libraries to list; all of them by default.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Filter {
    /// Those of this judgement.
    pub threads: Option<Threads>,
    /// Those that have wheels for free-threaded 3.14, of their own or for any interpreter.
    pub free_threaded_wheels: bool,
    /// Those whose import left the GIL like this.
    pub import: Option<ImportGil>,
    /// Those whose name contains this.
    pub name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema_version: u32,
    library: Vec<Library>,
}

/// Every library that something is known about, by name.
///
/// # Examples
/// ```
/// use snakepit_compat::{Filter, list_all};
///
/// let all = list_all(&Filter::default());
/// assert!(all.iter().any(|library| library.name == "numpy"));
/// ```
pub fn list_all(filter: &Filter) -> Vec<&'static Library> {
    all().iter().filter(|library| filter.admits(library)).collect()
}

/// What is known about one library, by its distribution's name in any spelling, or by the module
/// that programs import.
///
/// # Examples
/// ```
/// let yaml = snakepit_compat::get_library_info("PyYAML").unwrap();
/// assert_eq!(yaml.imports, ["yaml"]);
/// assert_eq!(snakepit_compat::get_library_info("sklearn").unwrap().name, "scikit-learn");
/// ```
pub fn get_library_info(name: &str) -> Option<&'static Library> {
    let normalised = normalise_name(name);
    let by_name = all()
        .iter()
        .find(|library| library.name == normalised || library.aliases.contains(&normalised));
    by_name.or_else(|| {
        all().iter().find(|library| library.imports.first().is_some_and(|module| module == name))
    })
}

fn all() -> &'static [Library] {
    static LIBRARIES: OnceLock<Vec<Library>> = OnceLock::new();
    LIBRARIES.get_or_init(|| match toml::from_str::<Document>(DATA) {
        Ok(document) if document.schema_version == 1 => document.library,
        // The data are compiled in, and a test reads them.
        Ok(document) => unreachable!("schema version {}", document.schema_version),
        Err(error) => unreachable!("{error}"),
    })
}

impl Filter {
    fn admits(&self, library: &Library) -> bool {
        let wheels = || library.wheels.as_ref().is_none_or(|wheels| wheels.cp314t != Wheel::None);
        let name = self.name.as_ref().map(|name| name.to_lowercase());
        self.threads.is_none_or(|threads| library.threads == threads)
            && (!self.free_threaded_wheels || wheels())
            && self.import.is_none_or(|gil| library.import.gil == gil)
            && name.is_none_or(|name| library.name.contains(&name))
    }
}

impl From<String> for Wheel {
    fn from(text: String) -> Self {
        match text.as_str() {
            "any" => Self::Any,
            "none" => Self::None,
            _ => Self::Since(text),
        }
    }
}

impl From<Wheel> for String {
    fn from(wheel: Wheel) -> Self {
        wheel.to_string()
    }
}

impl fmt::Display for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Since(version) => f.write_str(version),
            Self::Any => f.write_str("any"),
            Self::None => f.write_str("none"),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it asks about")]
fn is_false(flag: &bool) -> bool {
    !flag
}
