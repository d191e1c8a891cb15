//! `cargo xtask setup`: the Python environments of this checkout, each with the locked dependencies
//! and the worker package built from this tree. Changes nothing outside `target/` but the user's
//! cache, which receives a free-threaded interpreter if the machine has none.
//!
//! Invariant: every step is stamped with a fingerprint of its inputs and skipped while that holds,
//! so a second run starts no program.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use snakepit_compat::{Fingerprint, Interpreter, Search, WheelBuild, pip_tool, source_fingerprint};

use crate::run;
use crate::workspace::{Venv, Workspace};

const UV_VERSION: &str = "0.13.8";
const MATURIN_VERSION: &str = "1.16.0";
/// The dependency groups of `python/pyproject.toml` that tests and examples need.
const GROUPS: [&str; 2] = ["test", "examples"];

/// Which environments are needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interpreters {
    /// What the examples need.
    GilOnly,
    /// What the tests need.
    Both,
}

pub(crate) fn run(workspace: &Workspace, interpreters: Interpreters) -> Result<()> {
    let started = Instant::now();
    fs::create_dir_all(workspace.made.join("stamps"))?;
    // Two runs at once would install into each other's environments; the second one waits.
    let lock = File::create(workspace.made.join("setup.lock"))?;
    lock.lock().context("the setup lock cannot be taken")?;

    let venvs: &[Venv] = match interpreters {
        Interpreters::GilOnly => &[Venv::Gil],
        Interpreters::Both => &[Venv::Gil, Venv::FreeThreaded],
    };
    // Environments first: whoever works on the worker package needs them while it does not build.
    let environments =
        venvs.iter().map(|venv| sync(workspace, *venv)).collect::<Result<Vec<_>>>()?;
    for (venv, environment) in venvs.iter().zip(&environments) {
        install_worker(workspace, *venv, environment)?;
    }
    eprintln!("setup is complete ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(())
}

/// The pinned `uv`, installed privately at the first need.
pub(crate) fn uv(workspace: &Workspace) -> Result<PathBuf> {
    tool(workspace, "uv", UV_VERSION)
}

/// Makes the environment with the locked dependencies; returns the fingerprint of its inputs.
fn sync(workspace: &Workspace, venv: Venv) -> Result<String> {
    let project = workspace.python_project();
    let mut inputs = Fingerprint::new();
    for variable in ["SNAKEPIT_PYTHON", "SNAKEPIT_PYTHON_FREE_THREADED"] {
        inputs = inputs.with(env::var_os(variable).unwrap_or_default().as_encoded_bytes());
    }
    for file in ["pyproject.toml", "uv.lock"] {
        let file = project.join(file);
        inputs = inputs.with_file(&file).with_context(|| {
            format!("{} is missing: `cargo xtask lock` writes uv.lock", file.display())
        })?;
    }
    let inputs = GROUPS.iter().fold(inputs, |inputs, group| inputs.with(group)).hex();
    let stamp = stamp(workspace, "environment", venv);
    // The link's target must be there too: an interpreter can be uninstalled under an environment.
    if stamp.holds(&inputs) && workspace.program(venv, "python").exists() {
        return Ok(inputs);
    }

    let interpreter = interpreter(workspace, venv)?;
    progress(&format!("{}: environment from {interpreter}", venv.name()));
    let mut command = workspace.command(uv(workspace)?);
    command
        .args(["sync", "--quiet", "--frozen", "--no-install-project", "--no-default-groups"])
        .args(GROUPS.iter().flat_map(|group| ["--group", group]))
        .arg("--project")
        .arg(&project)
        .arg("--python")
        .arg(&interpreter.executable)
        .env("UV_PROJECT_ENVIRONMENT", workspace.venv(venv))
        .env("UV_PYTHON_DOWNLOADS", "never")
        .env_remove("VIRTUAL_ENV");
    run::checked(command)?;
    stamp.set(&inputs)?;
    Ok(inputs)
}

/// Builds the worker wheel for an environment and installs it there.
fn install_worker(workspace: &Workspace, venv: Venv, environment: &str) -> Result<()> {
    let tree = workspace.python_project();
    let source = source_fingerprint(&tree)?;
    let built = stamp(workspace, "wheel", venv);
    let installed = stamp(workspace, "worker", venv);
    // Syncing an environment removes what the lock file does not list: the worker package.
    let install_inputs = Fingerprint::new().with(&source).with(environment).hex();
    if installed.holds(&install_inputs) {
        return Ok(());
    }

    let interpreter = Interpreter::probe(workspace.program(venv, "python"))?;
    let wheel = match built.read_path(&source) {
        Some(wheel) => wheel,
        None => {
            let started = Instant::now();
            let abi = interpreter.wheel_abi();
            progress(&format!("{}: building the worker package for {abi}", venv.name()));
            let wheel = WheelBuild {
                tree: &tree,
                interpreter: &interpreter,
                maturin: &tool(workspace, "maturin", MATURIN_VERSION)?,
                target_dir: &workspace.target.join("snakepit").join("wheel-build"),
                out: &workspace.wheels(),
            }
            .run()?;
            progress(&format!(
                "{}: built in {:.0} s",
                venv.name(),
                started.elapsed().as_secs_f64()
            ));
            built.set_path(&source, &wheel)?;
            wheel
        }
    };
    progress(&format!("{}: installing the worker package", venv.name()));
    let mut command = workspace.command(uv(workspace)?);
    command
        .args(["pip", "install", "--quiet", "--offline", "--no-deps", "--reinstall", "--python"])
        .arg(workspace.program(venv, "python"))
        .arg(wheel);
    run::checked(command)?;
    installed.set(&install_inputs)
}

/// The interpreter that an environment is made from.
pub(crate) fn interpreter(workspace: &Workspace, venv: Venv) -> Result<Interpreter> {
    match venv {
        Venv::Gil => {
            let found = Search::from_env().find_default()?;
            if found.free_threaded {
                bail!("{found} is free-threaded: name an ordinary Python with SNAKEPIT_PYTHON");
            }
            Ok(found)
        }
        Venv::FreeThreaded => {
            let search = Search::from_env().uv(uv(workspace)?);
            Ok(search.provide_free_threaded(&mut progress)?)
        }
    }
}

fn tool(workspace: &Workspace, name: &str, version: &str) -> Result<PathBuf> {
    let tools = workspace.tools();
    let program = tools.join(format!("{name}-{version}")).join("bin").join(name);
    // Looking for an interpreter starts programs: only when one is needed.
    if program.exists() {
        return Ok(program);
    }
    let python = Search::from_env().find_default()?;
    Ok(pip_tool(&python, name, version, &tools, &mut progress)?)
}

fn progress(step: &str) {
    eprintln!("   {step}");
}

/// A file that remembers the inputs from which something was made.
struct Stamp {
    path: PathBuf,
}

fn stamp(workspace: &Workspace, what: &str, venv: Venv) -> Stamp {
    Stamp { path: workspace.made.join("stamps").join(format!("{what}-{}", venv.name())) }
}

impl Stamp {
    fn holds(&self, inputs: &str) -> bool {
        self.lines().is_some_and(|(stored, _)| stored == inputs)
    }

    fn set(&self, inputs: &str) -> Result<()> {
        Ok(fs::write(&self.path, format!("{inputs}\n"))?)
    }

    /// The file that was made from these inputs, if it is still there.
    fn read_path(&self, inputs: &str) -> Option<PathBuf> {
        let (stored, path) = self.lines()?;
        let path = PathBuf::from(path);
        (stored == inputs && path.is_file()).then_some(path)
    }

    fn set_path(&self, inputs: &str, path: &Path) -> Result<()> {
        Ok(fs::write(&self.path, format!("{inputs}\n{}", path.display()))?)
    }

    fn lines(&self) -> Option<(String, String)> {
        let text = fs::read_to_string(&self.path).ok()?;
        let (inputs, rest) = text.split_once('\n')?;
        Some((inputs.to_owned(), rest.to_owned()))
    }
}
