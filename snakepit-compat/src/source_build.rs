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
