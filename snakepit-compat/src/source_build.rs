//! Owns the build of a free-threaded CPython from its source tarball into the user's cache. Where
//! the tarball comes from is `sources`' business.
//!
//! Invariant: an interpreter appears in the cache only after it has answered like one that can
//! serve: free-threaded, the GIL off, with the modules that workers need.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cache::Cache;
use crate::child::{self, Finished};
use crate::interpreter::Interpreter;
use crate::probe;
use crate::sources::Tarball;

/// The whole build takes four minutes on two cores here; a small board takes an hour or more.
const STEP_LIMIT: Duration = Duration::from_secs(3 * 3600);
/// How often a step that takes minutes says that it goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
const CHECK_LIMIT: Duration = Duration::from_secs(60);
/// CPython leaves out, without an error, every module whose library it does not find. Nothing is
/// installed without zlib and ssl, and numpy needs ctypes.
const CHECK: &str = "\
import importlib.util
missing = [name for name in ('zlib', '_ssl', '_ctypes') if importlib.util.find_spec(name) is None]
if missing:
    raise SystemExit(', '.join(missing))
";
const ERROR_LINES: usize = 15;

/// Builds an interpreter and returns it as it will be found in the cache.
///
/// Without profile-guided optimisation: that takes four times as long, for a tenth of the speed.
pub(crate) fn build(
    tarball: &Tarball,
    cache: &Cache,
    progress: &mut dyn FnMut(&str),
) -> Result<Interpreter, String> {
    let interpreters = cache.interpreters();
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let home = interpreters.join(format!("cpython-{}t-built-{os}-{arch}", tarball.version));
    let program =
        Path::new("bin").join(format!("python{}.{}t", tarball.version.0, tarball.version.1));
    if home.exists() {
        return probe::probe_path(&home.join(program)).map_err(|error| error.to_string());
    }
    fs::create_dir_all(&interpreters).map_err(|error| error.to_string())?;
    let stage = tempfile::Builder::new().prefix(".build-").tempdir_in(&interpreters);
    let stage = stage.map_err(|error| error.to_string())?;
    let (tree, root) = (stage.path().join("tree"), stage.path().join("root"));
    fs::create_dir(&tree).map_err(|error| error.to_string())?;

    let mut unpack = Command::new("tar");
    unpack.arg("-xf").arg(&tarball.path).arg("-C").arg(&tree).args(["--strip-components=1"]);
    step("unpacking", unpack, progress)?;
    let mut configure = Command::new("./configure");
    configure.current_dir(&tree).args(["--quiet", "--disable-gil", "--disable-test-modules"]);
    configure.args(["--without-static-libpython", "--with-ensurepip=install", "--prefix"]);
    // Without debug information, which is most of what a build weighs.
    configure.arg(&home).arg("LDFLAGS=-s");
    step("configuring", configure, progress)?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut make = Command::new("make");
    make.current_dir(&tree).arg("--silent").arg(format!("--jobs={jobs}"));
    step("compiling, which takes minutes", make, progress)?;
    let mut install = Command::new("make");
    install.current_dir(&tree).args(["--silent", "install"]);
    install.arg(format!("DESTDIR={}", root.display()));
    step("installing", install, progress)?;

    // DESTDIR keeps the whole path below itself.
    let made = root.join(home.strip_prefix("/").unwrap_or(&home));
    verify(&made.join(&program))?;
    match fs::rename(&made, &home) {
        // Somebody else was quicker, with the same source.
        Err(_) if home.exists() => {}
        renamed => renamed.map_err(|error| error.to_string())?,
    }
    probe::probe_path(&home.join(program)).map_err(|error| error.to_string())
}

/// Runs one step and says at intervals how long it has taken so far.
fn step(what: &str, command: Command, progress: &mut dyn FnMut(&str)) -> Result<Finished, String> {
    progress(&format!("CPython from source: {what}"));
    let started = Instant::now();
    let mut alive = || {
        let seconds = started.elapsed().as_secs();
        progress(&format!("CPython from source: {what} ({seconds} s so far)"));
    };
    let name = command.get_program().to_string_lossy().into_owned();
    let finished = child::run_watched(command, STEP_LIMIT, SIGN_OF_LIFE, &mut alive)
        .map_err(|error| format!("{what}: {name} {error}"))?;
    if finished.status.success() {
        return Ok(finished);
    }
    let output = finished.last_lines(ERROR_LINES).replace('\n', "\n    ");
    Err(format!("{what} failed (a C compiler and make are needed):\n    {output}"))
}

fn verify(program: &Path) -> Result<(), String> {
    let interpreter = probe::probe_path(program).map_err(|error| error.to_string())?;
    if !interpreter.free_threaded || interpreter.gil_enabled {
        return Err("the build ended well and has a GIL: is PYTHON_GIL set?".to_owned());
    }
    let mut command = Command::new(program);
    command.args(["-I", "-c", CHECK]);
    let finished = child::run(command, CHECK_LIMIT).map_err(|error| error.to_string())?;
    if finished.status.success() {
        return Ok(());
    }
    Err(format!(
        "the build lacks the modules {}: install the headers of zlib, OpenSSL and libffi (Debian: \
         zlib1g-dev libssl-dev libffi-dev) and run it again",
        finished.tail()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed;
    use crate::sources;

    const STAND_IN: &str = include_str!("../tests/programs/python-3.14t");

    /// A tarball whose `configure` and `make` take no time, and install what `python` says.
    fn tarball(dir: &Path, configure: &str, python: &str) -> Tarball {
        use std::os::unix::fs::PermissionsExt;
        let tree = dir.join("Python-3.14.9");
        fs::create_dir(&tree).unwrap();
        let script = format!(
            "#!/bin/sh\n{configure}\n\
             while [ \"$1\" != --prefix ]; do shift; done\n\
             printf 'all:\\ninstall:\\n\\tinstall -D python $(DESTDIR)%s/bin/python3.14t\\n' \"$2\" \
             > Makefile\n"
        );
        fs::write(tree.join("configure"), script).unwrap();
        fs::set_permissions(tree.join("configure"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(tree.join("python"), python).unwrap();
        let archive = dir.join("Python-3.14.9.tar.xz");
        let mut pack = Command::new("tar");
        pack.arg("-cJf").arg(&archive).arg("-C").arg(dir).arg("Python-3.14.9");
        assert!(pack.status().unwrap().success());
        sources::in_directory(dir).unwrap()
    }

    #[test]
    fn tarball_is_built_into_the_cache_once_and_found_there() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        let tarball = tarball(dir.path(), "", STAND_IN);
        let mut steps = 0;
        let interpreter = build(&tarball, &cache, &mut |_| steps += 1).unwrap();
        assert!(interpreter.free_threaded && !interpreter.gil_enabled);
        assert_eq!(managed::installed(&cache).len(), 1);
        assert!(steps >= 4, "{steps}");
        // As it was built to be found, and not where it was made.
        let made = managed::installed(&cache)[0].parent().unwrap().parent().unwrap().to_owned();
        assert!(made.ends_with(format!(
            "cpython-3.14.9t-built-{}-{}",
            std::env::consts::OS,
            std::env::consts::ARCH
        )));
        build(&tarball, &cache, &mut |step| panic!("again: {step}")).unwrap();
    }

    #[test]
    fn step_that_fails_is_told_with_its_last_words_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        let tarball = tarball(dir.path(), "echo 'no acceptable C compiler' >&2; exit 1", STAND_IN);
        let error = build(&tarball, &cache, &mut |_| {}).unwrap_err();
        assert!(error.contains("configuring failed"), "{error}");
        assert!(error.contains("no acceptable C compiler"), "{error}");
        assert_eq!(fs::read_dir(cache.interpreters()).unwrap().count(), 0);
    }

    #[test]
    fn build_without_modules_that_workers_need_is_refused_with_their_headers() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        let isolated = "[ \"$1\" = -I ] && { echo _ssl >&2; exit 1; }\n";
        let python = STAND_IN.replacen('\n', &format!("\n{isolated}"), 1);
        let tarball = tarball(dir.path(), "", &python);
        let error = build(&tarball, &cache, &mut |_| {}).unwrap_err();
        assert!(error.contains("_ssl") && error.contains("libssl-dev"), "{error}");
        assert_eq!(managed::installed(&cache).len(), 0);
    }

    #[test]
    fn build_with_a_gil_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        let python = STAND_IN.replace("\"gil_enabled\": false", "\"gil_enabled\": true");
        let tarball = tarball(dir.path(), "", &python);
        let error = build(&tarball, &cache, &mut |_| {}).unwrap_err();
        assert!(error.contains("PYTHON_GIL"), "{error}");
    }
}
