//! Owns the advice: which profile suits an interpreter and what a project uses, and whether an
//! environment is ready for a profile. The facts come from the interpreter and from the matrix.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

use crate::child;
use crate::finding::{Finding, Level};
use crate::interpreter::{Interpreter, Version};
use crate::library::{Abi, Profile, Rating, Report, Requirements, Verdict, generate_report};
use crate::worker_package::WorkerPackage;

const IMPORT_LIMIT: Duration = Duration::from_secs(60);
const MARK: &str = "snakepit-gil:";
const IMPORT: &str = "\
import sys
sys.path.insert(0, sys.argv[1])
import snakepit
from snakepit import _native
print('snakepit-gil:' + str(getattr(sys, '_is_gil_enabled', lambda: True)()))
";

/// Whether there are free-threaded builds of a Python version. Whether an interpreter is one must
/// be asked of the interpreter: most of 3.14 are not.
///
/// Snakepit's thread profile needs one of 3.14 or later to run Python in parallel.
pub fn supports_free_threading(version: Version) -> bool {
    (version.major, version.minor) >= (3, 13)
}

/// A profile, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Recommendation {
    /// The profile that suits best.
    pub profile: Profile,
    /// Why, the decisive reason first.
    pub reasons: Vec<String>,
    /// What to see to if it is taken.
    pub advice: Vec<String>,
    /// What each library means for the thread profile.
    pub report: Report,
}

/// Recommends a profile for an interpreter, the libraries of a project, and a number of cores.
///
/// The process profile is recommended wherever something speaks against threads.
///
/// # Examples
/// ```no_run
/// use snakepit_compat::{Requirements, Search, recommend_profile};
///
/// let python = Search::from_env().find_default()?;
/// let used = Requirements::from_names(["numpy", "httpx"]);
/// let recommended = recommend_profile(&python, &used, 8);
/// println!("{}: {}", recommended.profile, recommended.reasons[0]);
/// # Ok::<(), snakepit_compat::FindError>(())
/// ```
pub fn recommend_profile(
    interpreter: &Interpreter,
    used: &Requirements,
    cores: usize,
) -> Recommendation {
    let report = generate_report(used, Profile::Thread, Abi::of(interpreter));
    let mut against = Vec::new();
    if !interpreter.free_threaded {
        against.push(format!(
            "{interpreter} is an ordinary build: its threads run Python one at a time, so that only \
             libraries that release the GIL gain from them"
        ));
    } else if interpreter.gil_enabled {
        against
            .push(format!("{interpreter} is free-threaded, and its GIL is on: unset PYTHON_GIL"));
    }
    if cores < 2 {
        against.push("one core runs one thread at a time".to_owned());
    }
    against.extend(objections(&report));
    let profile = if against.is_empty() { Profile::Thread } else { Profile::Process };
    let mut advice = Vec::new();
    let reasons = match profile {
        Profile::Process => against,
        Profile::Thread => {
            let with_care = report.verdicts.iter().filter_map(|verdict| {
                Some(format!("{}: {}", verdict.name, verdict.advice.as_ref()?))
            });
            advice.extend(with_care);
            in_favour(interpreter, &report, cores)
        }
    };
    Recommendation { profile, reasons, advice, report }
}

/// Why not threads: one reason for each library that is in the way, and one for all those that
/// nothing is known about.
fn objections(report: &Report) -> Vec<String> {
    let mut reasons: Vec<String> = of(report, |rating| rating > Rating::Unknown)
        .map(|verdict| format!("{} is {}: {}", verdict.name, verdict.rating, verdict.reasons[0]))
        .collect();
    reasons.extend(unknown(report));
    reasons
}

fn of(report: &Report, which: fn(Rating) -> bool) -> impl Iterator<Item = &Verdict> {
    report.verdicts.iter().filter(move |verdict| which(verdict.rating))
}

fn unknown(report: &Report) -> Option<String> {
    let names: Vec<&str> = of(report, |rating| rating == Rating::Unknown)
        .map(|verdict| verdict.name.as_str())
        .collect();
    (!names.is_empty())
        .then(|| format!("too little is known about {} in threads", names.join(", ")))
}

fn in_favour(interpreter: &Interpreter, report: &Report, cores: usize) -> Vec<String> {
    let mut reasons = vec![format!(
        "{interpreter} runs Python in {cores} threads at once, over shared objects in one process"
    )];
    match report.verdicts.len() {
        0 => reasons.push(
            "no library was named: name those of the project, one of them can speak against it"
                .to_owned(),
        ),
        count => reasons.push(format!("none of {count} libraries speaks against it")),
    }
    reasons
}

/// Whether an environment is ready for a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Validation {
    /// The profile that was asked about.
    pub profile: Profile,
    /// The interpreter, if it answers.
    pub interpreter: Option<Interpreter>,
    /// What was looked at, in the order in which it is needed.
    pub findings: Vec<Finding>,
}

/// Looks an environment over: interpreter, GIL, worker package, and what is installed.
///
/// # Examples
/// ```no_run
/// use snakepit_compat::{Profile, validate_environment};
///
/// let validation = validate_environment("python3.14t", Profile::Thread);
/// for finding in &validation.findings {
///     println!("{:8} {}: {}", finding.level, finding.topic, finding.message);
/// }
/// assert!(validation.is_ready());
/// ```
pub fn validate_environment(path_or_name: impl AsRef<OsStr>, profile: Profile) -> Validation {
    match Interpreter::probe(path_or_name) {
        Ok(interpreter) => Validation::of(interpreter, profile),
        Err(error) => {
            let text = error.to_string();
            // Every such error says after a colon what to do.
            let (message, remedy) = text.split_once(": ").unwrap_or((&text, "name another one"));
            let findings = vec![Finding::fatal("interpreter", message, remedy)];
            Validation { profile, interpreter: None, findings }
        }
    }
}

impl Validation {
    /// The same for an interpreter that has answered already.
    pub fn of(interpreter: Interpreter, profile: Profile) -> Self {
        let mut findings = vec![about_interpreter(&interpreter)];
        if profile == Profile::Thread {
            findings.push(about_threads(&interpreter));
        }
        findings.extend(about_worker_package(&interpreter));
        if profile == Profile::Thread {
            findings.extend(about_libraries(&interpreter));
        }
        Self { profile, interpreter: Some(interpreter), findings }
    }

    /// Whether nothing fatal was found.
    pub fn is_ready(&self) -> bool {
        self.findings.iter().all(|finding| finding.level < Level::Fatal)
    }
}

fn about_interpreter(interpreter: &Interpreter) -> Finding {
    let environment = match interpreter.is_virtual_environment() {
        true => format!(", virtual environment {}", interpreter.prefix.display()),
        false => String::new(),
    };
    let tag = interpreter.abi_tag();
    Finding::fine(
        "interpreter",
        format!("{interpreter}, {tag}, {}{environment}", interpreter.platform),
    )
}

fn about_threads(interpreter: &Interpreter) -> Finding {
    let topic = "free threading";
    if !interpreter.free_threaded {
        return Finding::warning(
            topic,
            "an ordinary build: threads run Python one at a time, and only libraries that release \
             the GIL run in parallel",
            "take a free-threaded one: `snakepit setup --free-threaded` provides it",
        );
    }
    if interpreter.gil_enabled {
        let remedy = "unset PYTHON_GIL, and look for what is imported at start-up (sitecustomize)";
        return Finding::warning(topic, "a free-threaded build whose GIL is on", remedy);
    }
    Finding::fine(topic, "the GIL is off")
}

fn about_worker_package(interpreter: &Interpreter) -> Vec<Finding> {
    let topic = "worker package";
    let setup = format!("snakepit setup --python {}", interpreter.executable.display());
    let Some(package) = WorkerPackage::find(interpreter) else {
        let abi = interpreter.wheel_abi();
        let message = format!("none of version {} for {abi}", crate::WORKER_VERSION);
        return vec![Finding::fatal(topic, message, format!("run `{setup}`"))];
    };
    let place = package.path.display();
    match import(interpreter, &package.path) {
        Err(output) => {
            let message = format!("{place} does not import: {output}");
            vec![Finding::fatal(topic, message, format!("install it again: `{setup}`"))]
        }
        Ok(gil) if gil && interpreter.free_threaded && !interpreter.gil_enabled => {
            let message = format!("importing {place} turns the GIL on");
            vec![Finding::warning(topic, message, format!("install it again: `{setup}`"))]
        }
        Ok(_) => {
            let version = crate::WORKER_VERSION;
            vec![Finding::fine(topic, format!("version {version} in {place}, which imports"))]
        }
    }
}

/// Imports the worker package and says whether the GIL is on then.
fn import(interpreter: &Interpreter, package: &Path) -> Result<bool, String> {
    let mut command = Command::new(&interpreter.executable);
    command.args(["-c", IMPORT]).arg(package);
    let finished = child::run(command, IMPORT_LIMIT).map_err(|error| error.to_string())?;
    let state = finished.stdout.lines().find_map(|line| line.strip_prefix(MARK));
    state.map(|state| state == "True").ok_or_else(|| finished.last_lines(1))
}

/// One finding for each library in the way, and one for all those that nothing is known about.
fn about_libraries(interpreter: &Interpreter) -> Vec<Finding> {
    let topic = "libraries";
    let used = match Requirements::from_environment(interpreter) {
        Ok(used) => used,
        Err(error) => {
            return vec![Finding::warning(topic, error.to_string(), "run it by hand to see why")];
        }
    };
    let report = generate_report(&used, Profile::Thread, Abi::of(interpreter));
    let mut findings: Vec<Finding> = of(&report, |rating| rating > Rating::Unknown)
        .map(|verdict| {
            let message = format!("{} is {}: {}", verdict.name, verdict.rating, verdict.reasons[0]);
            Finding::warning(topic, message, verdict.advice.clone().unwrap_or_default())
        })
        .collect();
    findings.extend(unknown(&report).map(|message| {
        let remedy = "read what their documentation says about threads, if tools use them";
        Finding::warning(topic, message, remedy)
    }));
    if findings.is_empty() {
        let count = report.verdicts.len();
        findings.push(Finding::fine(topic, format!("none of {count} speaks against threads")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpreter(free_threaded: bool, gil_enabled: bool) -> Interpreter {
        let t = if free_threaded { "t" } else { "" };
        let json = serde_json::json!({
            "executable": format!("/opt/python3.14{t}"),
            "base_executable": format!("/opt/python3.14{t}"),
            "version": {"major": 3, "minor": 14, "micro": 7},
            "implementation": "cpython",
            "prefix": "/opt", "base_prefix": "/opt",
            "free_threaded": free_threaded, "gil_enabled": gil_enabled,
            "soabi": null, "platform": "linux-x86_64", "worker_package": null,
        });
        serde_json::from_value(json).unwrap()
    }

    fn recommended(python: &Interpreter, names: &[&str], cores: usize) -> (Profile, String) {
        let found = recommend_profile(python, &Requirements::from_names(names), cores);
        (found.profile, found.reasons[0].clone())
    }

    #[test]
    fn versions_that_could_be_free_threaded_begin_with_3_13() {
        let version = |minor| Version { major: 3, minor, micro: 0 };
        assert!(!supports_free_threading(version(12)));
        assert!(supports_free_threading(version(13)) && supports_free_threading(version(14)));
        assert!(supports_free_threading(Version { major: 4, minor: 0, micro: 0 }));
    }

    #[test]
    fn threads_are_recommended_only_where_nothing_speaks_against_them() {
        let python = interpreter(true, false);
        assert_eq!(recommended(&python, &["numpy", "requests"], 4).0, Profile::Thread);
        for (names, why) in [
            (vec!["numpy", "pandas"], "pandas is not safe"),
            (vec!["orjson"], "orjson is unsupported"),
            (vec!["no-such-library"], "too little is known about no-such-library"),
        ] {
            let (profile, reason) = recommended(&python, &names, 4);
            assert_eq!(profile, Profile::Process, "{names:?}");
            assert!(reason.starts_with(why), "{reason}");
        }
    }

    #[test]
    fn a_gil_or_a_single_core_speaks_against_threads() {
        let (profile, reason) = recommended(&interpreter(false, true), &[], 4);
        assert!(profile == Profile::Process && reason.contains("ordinary build"), "{reason}");
        let (profile, reason) = recommended(&interpreter(true, true), &[], 4);
        assert!(profile == Profile::Process && reason.contains("PYTHON_GIL"), "{reason}");
        let (profile, reason) = recommended(&interpreter(true, false), &[], 1);
        assert!(profile == Profile::Process && reason.contains("one core"), "{reason}");
    }
}
