//! Owns where interpreters are looked for and in which order. Judging one is `probe`'s business,
//! making one available is `managed`'s.
//!
//! Invariant: an interpreter that somebody named is used or is an error; only unnamed places are
//! passed over.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::interpreter::Interpreter;
use crate::managed;
use crate::probe::{self, ProbeError};
use crate::source_build;
use crate::sources;

const DEFAULT_NAMES: [&str; 5] =
    ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];
const FREE_THREADED_NAMES: [&str; 2] = ["python3.15t", "python3.14t"];

/// Named too when all are listed; the versions among them that are not supported are refused.
const OTHER_NAMES: [&str; 4] = ["python3.15", "python3.13t", "python3.10", "python"];
const NO_ARCHIVES: &str = "SNAKEPIT_PYTHON_ARCHIVES names no directory";

/// An interpreter, or why there is none.
type Outcome = Result<Interpreter, String>;
/// One way to make an interpreter available; it names the place it tried.
type Way = fn(&Search, &Cache, &mut dyn FnMut(&str)) -> (String, Outcome);
/// In the order of the time they take.
const WAYS: [Way; 4] =
    [Search::unpack, Search::ask_uv, Search::build_local, Search::build_from_distribution];

/// Where to look for an interpreter.
#[derive(Debug, Clone, Default)]
pub struct Search {
    explicit: Option<OsString>,
    default_variable: Option<OsString>,
    free_threaded_variable: Option<OsString>,
    virtual_env: Option<PathBuf>,
    path: OsString,
    cache: Option<Cache>,
    archives: Option<PathBuf>,
    uv: Option<PathBuf>,
}

/// One place that was looked at in vain.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// What was looked at.
    pub place: String,
    /// Why it did not serve.
    pub outcome: String,
}

/// One interpreter that was found, or what looked like one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// Where it was found.
    pub place: String,
    /// The program that was asked.
    pub path: PathBuf,
    /// What it is, or why it does not serve.
    pub outcome: Result<Interpreter, ProbeError>,
}

/// No interpreter could be found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// An interpreter that was named does not serve.
    #[error("the interpreter named by {origin} does not serve")]
    Named {
        /// Who named it.
        origin: &'static str,
        /// What is wrong with it.
        source: ProbeError,
    },
    /// An interpreter that was named is not a free-threaded build.
    #[error(
        "the interpreter named by {origin} is not free-threaded: {interpreter}; name a python3.14t or later"
    )]
    NotFreeThreaded {
        /// Who named it.
        origin: &'static str,
        /// What it is.
        interpreter: Box<Interpreter>,
    },
    /// None of the usual places has one.
    #[error("no {wanted} was found: {remedy}{}", list(.attempts))]
    Nowhere {
        /// What was looked for.
        wanted: &'static str,
        /// What to do.
        remedy: &'static str,
        /// Where it was looked for.
        attempts: Vec<Attempt>,
    },
}

impl Search {
    /// The places that this process's environment names.
    pub fn from_env() -> Self {
        let var = |name| env::var_os(name).filter(|value| !value.is_empty());
        Self {
            explicit: None,
            default_variable: var("SNAKEPIT_PYTHON"),
            free_threaded_variable: var("SNAKEPIT_PYTHON_FREE_THREADED"),
            virtual_env: var("VIRTUAL_ENV").map(PathBuf::from),
            path: var("PATH").unwrap_or_default(),
            cache: Cache::from_env().ok(),
            archives: var("SNAKEPIT_PYTHON_ARCHIVES").map(PathBuf::from),
            uv: None,
        }
    }

    /// Names the interpreter to use, by path or by name; nothing else is then looked at.
    #[must_use]
    pub fn explicit(mut self, path_or_name: impl Into<OsString>) -> Self {
        self.explicit = Some(path_or_name.into());
        self
    }

    /// Looks for managed interpreters here instead of in the user's cache.
    #[must_use]
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Takes interpreter archives from this directory.
    #[must_use]
    pub fn archives(mut self, dir: impl Into<PathBuf>) -> Self {
        self.archives = Some(dir.into());
        self
    }

    /// Uses this `uv` instead of the one on `PATH`.
    #[must_use]
    pub fn uv(mut self, uv: impl Into<PathBuf>) -> Self {
        self.uv = Some(uv.into());
        self
    }

    /// Finds the interpreter to use when nothing is said about threads: the explicit one,
    /// `SNAKEPIT_PYTHON`, the active virtual environment, then `PATH`.
    ///
    /// # Errors
    /// If the one that was named does not serve, or none was named and none was found.
    pub fn find_default(&self) -> Result<Interpreter, FindError> {
        if let Some((origin, name)) = self.named(&self.default_variable, "SNAKEPIT_PYTHON") {
            return self.probe_named(origin, name);
        }
        if let Some(environment) = &self.virtual_env {
            let python = environment.join("bin").join("python");
            return self.probe_named("the active virtual environment", python.as_os_str());
        }
        let mut attempts = Vec::new();
        self.first_on_path(&DEFAULT_NAMES, &mut attempts).ok_or(FindError::Nowhere {
            wanted: "CPython 3.11 or later",
            remedy: "install one, or name it with SNAKEPIT_PYTHON",
            attempts,
        })
    }

    /// Every interpreter that this machine's usual places have, each once, with what it is or why it
    /// does not serve: those that are named, those on `PATH`, and managed copies.
    pub fn find_all(&self) -> Vec<Candidate> {
        let mut places: Vec<(String, PathBuf)> = Vec::new();
        let named = [
            ("its path", &self.explicit),
            ("SNAKEPIT_PYTHON", &self.default_variable),
            ("SNAKEPIT_PYTHON_FREE_THREADED", &self.free_threaded_variable),
        ];
        for (origin, name) in named {
            places.extend(name.as_ref().map(|name| (origin.to_owned(), PathBuf::from(name))));
        }
        if let Some(environment) = &self.virtual_env {
            let python = environment.join("bin").join("python");
            places.push(("the active virtual environment".to_owned(), python));
        }
        for name in DEFAULT_NAMES.iter().chain(&FREE_THREADED_NAMES).chain(&OTHER_NAMES) {
            let found = probe::on_search_path(name.as_ref(), &self.path);
            places.extend(found.map(|path| (format!("{name} on PATH"), path)));
        }
        let managed = self.cache.iter().flat_map(managed::installed);
        places.extend(managed.map(|path| ("a managed copy".to_owned(), path)));

        let mut found: Vec<Candidate> = Vec::new();
        for (place, path) in places {
            let outcome = self.probe_name(path.as_os_str());
            let known = found.iter().any(|known| match (&known.outcome, &outcome) {
                (Ok(known), Ok(new)) => same(known, new),
                _ => known.path == path,
            });
            if !known {
                found.push(Candidate { place, path, outcome });
            }
        }
        found
    }

    /// Finds a free-threaded interpreter that is already on this machine: the explicit one,
    /// `SNAKEPIT_PYTHON_FREE_THREADED`, `PATH`, then a managed copy.
    ///
    /// # Errors
    /// If the one that was named does not serve, or none was named and none was found.
    pub fn find_free_threaded(&self) -> Result<Interpreter, FindError> {
        self.present_free_threaded()?.map_err(nowhere_free_threaded)
    }

    /// Finds a free-threaded interpreter, and makes one available in the cache if there is none:
    /// unpacked from the archive directory, through `uv python install`, else built from the source
    /// in the archive directory or from the distribution's source package, which takes minutes.
    ///
    /// # Errors
    /// If the one that was named does not serve, or none can be had.
    pub fn provide_free_threaded(
        &self,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Interpreter, FindError> {
        let mut attempts = match self.present_free_threaded()? {
            Ok(interpreter) => return Ok(interpreter),
            Err(attempts) => attempts,
        };
        let Some(cache) = &self.cache else {
            attempts.push(Attempt {
                place: "a managed copy".to_owned(),
                outcome: crate::cache::NoCacheDir.to_string(),
            });
            return Err(nowhere_free_threaded(attempts));
        };
        for way in WAYS {
            let (place, outcome) = way(self, cache, progress);
            match outcome {
                Ok(interpreter) => return Ok(interpreter),
                Err(outcome) => attempts.push(Attempt { place, outcome }),
            }
        }
        Err(nowhere_free_threaded(attempts))
    }

    fn unpack(&self, cache: &Cache, progress: &mut dyn FnMut(&str)) -> (String, Outcome) {
        let Some(dir) = &self.archives else {
            return ("an archive".to_owned(), Err(NO_ARCHIVES.to_owned()));
        };
        (format!("archives in {}", dir.display()), managed::unpack_archive(dir, cache, progress))
    }

    fn ask_uv(&self, cache: &Cache, progress: &mut dyn FnMut(&str)) -> (String, Outcome) {
        let uv = self.uv.clone();
        let uv = uv.or_else(|| probe::on_search_path("uv".as_ref(), &self.path).next());
        let outcome = match uv {
            Some(uv) => managed::install_with_uv(&uv, cache, progress),
            None => Err("uv is not on PATH".to_owned()),
        };
        ("uv python install".to_owned(), outcome)
    }

    fn build_local(&self, cache: &Cache, progress: &mut dyn FnMut(&str)) -> (String, Outcome) {
        let Some(dir) = &self.archives else {
            return ("a source tarball".to_owned(), Err(NO_ARCHIVES.to_owned()));
        };
        let outcome = sources::in_directory(dir)
            .and_then(|tarball| source_build::build(&tarball, cache, progress));
        (format!("source in {}", dir.display()), outcome)
    }

    fn build_from_distribution(
        &self,
        cache: &Cache,
        progress: &mut dyn FnMut(&str),
    ) -> (String, Outcome) {
        let place = "the distribution's source package".to_owned();
        if probe::on_search_path("apt-get".as_ref(), &self.path).next().is_none() {
            return (place, Err("apt-get is not on PATH".to_owned()));
        }
        let scratch = match tempfile::tempdir() {
            Ok(scratch) => scratch,
            Err(error) => return (place, Err(error.to_string())),
        };
        let outcome = sources::from_distribution(scratch.path(), progress)
            .and_then(|tarball| source_build::build(&tarball, cache, progress));
        (place, outcome)
    }

    /// The outer error is about a named interpreter, the inner one lists places searched in vain.
    fn present_free_threaded(&self) -> Result<Result<Interpreter, Vec<Attempt>>, FindError> {
        let variable = "SNAKEPIT_PYTHON_FREE_THREADED";
        if let Some((origin, name)) = self.named(&self.free_threaded_variable, variable) {
            let interpreter = self.probe_named(origin, name)?;
            if !interpreter.free_threaded {
                let interpreter = Box::new(interpreter);
                return Err(FindError::NotFreeThreaded { origin, interpreter });
            }
            return Ok(Ok(interpreter));
        }
        let mut attempts = Vec::new();
        if let Some(found) = self.first_on_path(&FREE_THREADED_NAMES, &mut attempts) {
            return Ok(Ok(found));
        }
        for python in self.cache.iter().flat_map(managed::installed) {
            match probe::probe_path(&python) {
                Ok(interpreter) if interpreter.free_threaded => return Ok(Ok(interpreter)),
                Ok(_) => {}
                Err(error) => attempts.push(Attempt {
                    place: format!("the managed copy {}", python.display()),
                    outcome: error.to_string(),
                }),
            }
        }
        Ok(Err(attempts))
    }

    fn named<'a>(
        &'a self,
        variable: &'a Option<OsString>,
        variable_name: &'static str,
    ) -> Option<(&'static str, &'a OsStr)> {
        let explicit = self.explicit.as_deref().map(|name| ("its path", name));
        explicit.or_else(|| variable.as_deref().map(|name| (variable_name, name)))
    }

    fn probe_named(&self, origin: &'static str, name: &OsStr) -> Result<Interpreter, FindError> {
        self.probe_name(name).map_err(|source| FindError::Named { origin, source })
    }

    fn probe_name(&self, name: &OsStr) -> Result<Interpreter, ProbeError> {
        let path = if Path::new(name).components().count() > 1 {
            Ok(PathBuf::from(name))
        } else {
            let found = probe::on_search_path(name, &self.path).next();
            found.ok_or_else(|| ProbeError::NotFound(name.to_string_lossy().into_owned()))
        };
        path.and_then(|path| probe::probe_path(&path))
    }

    /// Tries every executable of each name, not only the first: a version manager's shim for a
    /// version that is not selected fails and hides a good one further down.
    fn first_on_path(&self, names: &[&str], attempts: &mut Vec<Attempt>) -> Option<Interpreter> {
        for name in names {
            let before = attempts.len();
            for candidate in probe::on_search_path(name.as_ref(), &self.path) {
                match probe::probe_path(&candidate) {
                    Ok(interpreter) => return Some(interpreter),
                    Err(error) => attempts.push(Attempt {
                        place: format!("{name} on PATH"),
                        outcome: error.to_string(),
                    }),
                }
            }
            if attempts.len() == before {
                attempts.push(Attempt {
                    place: format!("{name} on PATH"),
                    outcome: "not there".to_owned(),
                });
            }
        }
        None
    }
}

/// One interpreter has many names, and a shim's answer is that of the real one. Environments are
/// different, though their executables are links to the same.
fn same(a: &Interpreter, b: &Interpreter) -> bool {
    let real = |one: &Interpreter| one.executable.canonicalize().ok();
    a.executable == b.executable
        || (a.prefix == b.prefix && real(a).is_some_and(|own| Some(own) == real(b)))
}

fn nowhere_free_threaded(attempts: Vec<Attempt>) -> FindError {
    FindError::Nowhere {
        wanted: "free-threaded CPython 3.14 or later",
        remedy: "install a free-threaded 3.14 and name it with SNAKEPIT_PYTHON_FREE_THREADED",
        attempts,
    }
}

fn list(attempts: &[Attempt]) -> String {
    attempts.iter().map(|attempt| format!("\n  {attempt}")).collect()
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn program(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name)
    }

    /// A folder for `PATH` whose programs are links to those in `tests/programs`.
    fn folder(programs: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, target) in programs {
            symlink(program(target), dir.path().join(name)).unwrap();
        }
        dir
    }

    fn search(folders: &[&Path]) -> Search {
        // The stand-ins are shell scripts that use common programs: those stay on the real PATH.
        Search { path: env::join_paths(folders).unwrap(), ..Search::default() }
    }

    #[test]
    fn shims_of_versions_not_selected_are_passed_over() {
        let shims = folder(&[("python3.15t", "shim"), ("python3.14t", "shim")]);
        let real = folder(&[("python3.14t", "python-3.14t")]);
        let found = search(&[shims.path(), real.path()]).find_free_threaded().unwrap();
        assert_eq!(found.executable, Path::new("/opt/python3.14t"));
    }

    #[test]
    fn every_interpreter_is_listed_once_and_those_that_do_not_serve_with_the_reason() {
        let first = folder(&[("python3", "python-3.14t"), ("python3.13t", "python-3.13t")]);
        let second = folder(&[("python3.14t", "python-3.14t"), ("python3.12", "shim")]);
        let found = search(&[first.path(), second.path()]).find_all();
        let ok: Vec<_> = found.iter().filter_map(|one| one.outcome.as_ref().ok()).collect();
        assert_eq!(ok.len(), 1, "{found:?}");
        let reasons: Vec<_> =
            found.iter().filter_map(|one| Some(one.outcome.as_ref().err()?.to_string())).collect();
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert!(reasons.iter().any(|reason| reason.contains("python3.14t")), "{reasons:?}");
    }

    #[test]
    fn unsupported_python3_gives_way_to_a_versioned_name() {
        let names = folder(&[("python3", "python-3.10"), ("python3.14", "python-3.14t")]);
        let found = search(&[names.path()]).find_default().unwrap();
        assert_eq!(found.version.minor, 14);
    }

    #[test]
    fn every_place_searched_in_vain_is_listed_with_its_reason() {
        let names = folder(&[("python3", "python-3.10"), ("python3.12", "shim")]);
        let error = search(&[names.path()]).find_default().unwrap_err().to_string();
        assert!(error.contains("python3 on PATH: ") && error.contains("3.10.4"), "{error}");
        assert!(error.contains("python3.12: command not found"), "{error}");
        assert!(error.contains("python3.14 on PATH: not there"), "{error}");
        assert!(error.contains("SNAKEPIT_PYTHON"), "{error}");
    }

    #[test]
    fn named_interpreter_is_never_replaced() {
        let names = folder(&[("python3", "python-3.14t")]);
        let mut search = search(&[names.path()]);
        search.virtual_env = Some("/no/such/environment".into());
        let error = search.find_default().unwrap_err();
        assert!(matches!(error, FindError::Named { origin, .. } if origin.contains("environment")));

        search.default_variable = Some(program("pypy").into());
        let error = search.find_default().unwrap_err();
        assert!(matches!(error, FindError::Named { origin: "SNAKEPIT_PYTHON", .. }));

        search = search.explicit("python3");
        assert_eq!(search.find_default().unwrap().version.minor, 14);
    }

    #[test]
    fn named_interpreter_with_a_gil_is_not_free_threaded() {
        let search = Search::from_env().explicit("python3");
        if search.find_default().unwrap().free_threaded {
            return;
        }
        let error = search.find_free_threaded().unwrap_err();
        assert!(matches!(error, FindError::NotFreeThreaded { .. }), "{error}");
    }

    #[test]
    fn managed_copy_comes_after_path_and_hidden_ones_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let place = |name: &str| {
            let bin = cache.interpreters().join(name).join("bin");
            fs::create_dir_all(&bin).unwrap();
            symlink(program("python-3.14t"), bin.join("python3.14t")).unwrap();
        };
        let search = search(&[]).cache(cache.clone());
        place(".unpack-1");
        assert!(search.find_free_threaded().is_err());
        place("cpython-3.14.7t-linux-x86_64");
        assert_eq!(search.find_free_threaded().unwrap().version.minor, 14);
    }

    #[test]
    fn archive_is_unpacked_into_the_cache_once() {
        let dir = tempfile::tempdir().unwrap();
        let (archives, tree) = (dir.path().join("archives"), dir.path().join("python3.14t"));
        fs::create_dir_all(tree.join("bin")).unwrap();
        fs::create_dir(&archives).unwrap();
        fs::copy(program("python-3.14t"), tree.join("bin/python3.14t")).unwrap();
        let (os, arch) = (env::consts::OS, env::consts::ARCH);
        let archive = archives.join(format!("cpython-3.14.7t-{os}-{arch}.tar.xz"));
        let packed = std::process::Command::new("tar")
            .args(["-cJf".as_ref(), archive.as_os_str(), "-C".as_ref(), dir.path().as_os_str()])
            .arg("python3.14t")
            .status();
        assert!(packed.unwrap().success());

        let search = search(&[]).cache(Cache::at(dir.path().join("cache"))).archives(&archives);
        let mut steps = Vec::new();
        let mut progress = |step: &str| steps.push(step.to_owned());
        assert!(search.find_free_threaded().is_err());
        search.provide_free_threaded(&mut progress).unwrap();
        search.provide_free_threaded(&mut progress).unwrap();
        assert_eq!(steps.len(), 1, "{steps:?}");
        assert!(search.find_free_threaded().is_ok());
    }

    #[test]
    fn failed_ways_of_providing_are_all_named() {
        let dir = tempfile::tempdir().unwrap();
        let search = search(&[])
            .cache(Cache::at(dir.path().join("cache")))
            .archives(dir.path())
            .uv(program("not-python"));
        let error = search.provide_free_threaded(&mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("no file is called cpython-*t-"), "{error}");
        assert!(
            error.contains("uv python install: uv could not install it: unknown option"),
            "{error}"
        );
        assert!(error.contains("no file is called Python-3.14.*.tar.xz"), "{error}");
        assert!(error.contains("source package: apt-get is not on PATH"), "{error}");
    }
}
