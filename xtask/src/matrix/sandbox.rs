//! Whether importing a library keeps the GIL off: tried in an environment made for it alone, so
//! that what turns the GIL on is the library or what it needs, and nothing else.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use pep440_rs::Version;
use serde_json::Value;
use snakepit_compat::Interpreter;

use super::Facts;
use super::index::{First, Wheels};
use crate::run;
use crate::setup;
use crate::workspace::{Venv, Workspace};

const MARK: &str = "snakepit-matrix:";
/// Python's own warning names the module.
const SCRIPT: &str = r#"
import importlib, json, re, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for name in sys.argv[1:]:
        importlib.import_module(name)
culprits = [re.search(r"load module '([^']+)'", str(warning.message)) for warning in caught]
culprits = [found.group(1) for found in culprits if found]
print("snakepit-matrix:" + json.dumps({"gil": sys._is_gil_enabled(), "modules": culprits}))
"#;
/// A whole traceback is no fact.
const DETAIL_CHARS: usize = 160;

pub(super) struct Sandbox {
    folder: PathBuf,
    uv: PathBuf,
    interpreter: Interpreter,
}

/// What is to be imported.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) modules: Vec<String>,
    /// What must be installed beside it.
    pub(super) needs: Vec<String>,
}

/// What importing a library did.
pub(super) enum Import {
    Tried { gil: bool, module: Option<String>, from: Version, to: Version },
    Builtin { gil: bool },
    Untested { reason: &'static str, detail: String },
}

/// What one version did.
enum Trial {
    Imported { gil: bool, module: Option<String> },
    NotInstallable(String),
    Fails(String),
}

impl Sandbox {
    pub(super) fn new(workspace: &Workspace) -> Result<Self> {
        // Two runs at once, for different libraries, do not meet.
        let folder = workspace.made.join("matrix").join(std::process::id().to_string());
        fs::create_dir_all(&folder)?;
        let interpreter = setup::interpreter(workspace, Venv::FreeThreaded)?;
        Ok(Self { folder, uv: setup::uv(workspace)?, interpreter })
    }

    /// The version of the interpreter that imports are tried with.
    pub(super) fn python(&self) -> String {
        format!("{}t", self.interpreter.version)
    }

    pub(super) fn uv(&self) -> Command {
        let mut command = Command::new(&self.uv);
        command.env_remove("VIRTUAL_ENV").env("UV_PYTHON_DOWNLOADS", "never");
        command
    }

    /// The interpreter of a new and empty environment.
    pub(super) fn environment(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        let mut make = self.uv();
        make.args(["venv", "--quiet", "--clear", "--no-project", "--python"]);
        make.arg(&self.interpreter.executable).arg(&folder);
        run::checked(make)?;
        Ok(folder.join("bin").join("python"))
    }

    /// Imports the newest version, and the first that has wheels for this ABI.
    pub(super) fn import(&self, subject: &Subject, wheels: Option<&Wheels>) -> Result<Import> {
        let Some(wheels) = wheels else {
            return Ok(match self.try_import(&self.interpreter.executable, &subject.modules)? {
                Trial::Imported { gil, .. } => Import::Builtin { gil },
                Trial::Fails(detail) | Trial::NotInstallable(detail) => {
                    Import::untested("import_fails", &detail)
                }
            });
        };
        let to = wheels.newest.clone();
        let (gil, module) = match self.try_version(subject, &to)? {
            Trial::Imported { gil, module } => (gil, module),
            Trial::NotInstallable(detail) => {
                return Ok(Import::untested("not_installable", &detail));
            }
            Trial::Fails(detail) => return Ok(Import::untested("import_fails", &detail)),
        };
        let mut from = to.clone();
        if let First::Version(first) = &wheels.cp314t
            && *first < to
            && let Trial::Imported { gil: before, .. } = self.try_version(subject, first)?
            && before == gil
        {
            from = first.clone();
        }
        Ok(Import::Tried { gil, module, from, to })
    }

    fn try_version(&self, subject: &Subject, version: &Version) -> Result<Trial> {
        let python = self.environment("import")?;
        let mut install = self.uv();
        install.args(["pip", "install", "--quiet", "--only-binary", ":all:", "--python"]);
        install.arg(&python).arg(format!("{}=={version}", subject.name)).args(&subject.needs);
        let output = install.output()?;
        if !output.status.success() {
            return Ok(Trial::NotInstallable(detail(&output.stderr)));
        }
        self.try_import(&python, &subject.modules)
    }

    fn try_import(&self, python: &PathBuf, modules: &[String]) -> Result<Trial> {
        let mut command = Command::new(python);
        command.args(["-c", SCRIPT]).args(modules).env_remove("PYTHON_GIL");
        let output = command.output().context("the sandbox's Python does not start")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(answer) = text.lines().find_map(|line| line.strip_prefix(MARK)) else {
            return Ok(Trial::Fails(detail(&output.stderr)));
        };
        let answer: Value = serde_json::from_str(answer)?;
        let gil = answer["gil"].as_bool().context("the sandbox does not say what the GIL does")?;
        let module = answer["modules"][0].as_str().map(str::to_owned);
        Ok(Trial::Imported { gil, module })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Gigabytes, with some libraries. What cannot be removed lies in the target directory.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Import {
    pub(super) fn untested(reason: &'static str, detail: &str) -> Self {
        Self::Untested { reason, detail: detail.to_owned() }
    }

    pub(super) fn facts(&self, python: String) -> Facts {
        let gil = |on: &bool| if *on { "on" } else { "off" }.to_owned();
        match self {
            Self::Tried { gil: on, module, from, to } => {
                let mut facts = Facts::from([
                    ("gil", gil(on)),
                    ("from", from.to_string()),
                    ("to", to.to_string()),
                    ("python", python),
                ]);
                facts.extend(module.clone().map(|module| ("module", module)));
                facts
            }
            Self::Builtin { gil: on } => Facts::from([("gil", gil(on)), ("python", python)]),
            Self::Untested { reason, .. } => {
                Facts::from([("gil", "untested".to_owned()), ("reason", (*reason).to_owned())])
            }
        }
    }
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = |on: &bool| if *on { "on" } else { "off" };
        match self {
            Self::Tried { gil, module: Some(module), to, .. } => {
                write!(f, "importing {to} turns the GIL {} ({module})", state(gil))
            }
            Self::Tried { gil, from, to, .. } if from == to => {
                write!(f, "GIL {} after importing {to}", state(gil))
            }
            Self::Tried { gil, from, to, .. } => {
                write!(f, "GIL {} after importing {from} and {to}", state(gil))
            }
            Self::Builtin { gil } => write!(f, "GIL {}", state(gil)),
            Self::Untested { reason, detail } => write!(f, "not imported: {reason} {detail}"),
        }
    }
}

/// The last words of what went wrong, on one line.
fn detail(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    let skipped = text.chars().count().saturating_sub(DETAIL_CHARS);
    text.chars().skip(skipped).collect()
}
