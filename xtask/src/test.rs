//! `cargo xtask test`: every test of the workspace, Rust and Python, on both kinds of interpreter.
//! The first failure stops it.

use anyhow::{Result, bail};
use clap::Args;

use crate::run;
use crate::setup::{self, Interpreters};
use crate::workspace::{Venv, Workspace};

/// The crates that have models for loom, which explores every interleaving of their lock-free parts.
const LOOM_CRATES: [&str; 2] = ["snakepit-profile-process", "snakepit-profile-thread"];

/// Examples that check what they show, each of a crate taken alone.
const EXAMPLES: [(&str, &str); 3] =
    [("snakepit-lifecycle", "watch"), ("snakepit-lifecycle", "recycle"), ("snakepit-shm", "sum")];

/// Examples of the facade that check what they show, run with one interpreter.
const FACADE_EXAMPLES: [&str; 10] = [
    "affinity",
    "batch",
    "cancel",
    "crash_recovery",
    "errors",
    "images",
    "pipeline",
    "sessions",
    "streaming",
    "tools",
];

/// A profile outside of the workspace, which passes the suite that every profile passes.
pub(crate) const THIRD_PROFILE: &str = "examples/third-profile/Cargo.toml";

/// Which tests to run; all of them if none is named.
#[derive(Args)]
pub(crate) struct Selection {
    /// The workspace's crates, with their documentation's examples
    #[arg(long)]
    rust: bool,
    /// The worker package: pytest on both interpreters, ruff, pyright
    #[arg(long)]
    python: bool,
    /// The loom models
    #[arg(long)]
    loom: bool,
}

pub(crate) fn run(workspace: &Workspace, selection: &Selection) -> Result<()> {
    let all = !(selection.rust || selection.python || selection.loom);
    let mut ran = Vec::new();
    if all || selection.rust || selection.python {
        run::announce("setup");
        setup::run(workspace, Interpreters::Both)?;
    }
    if all || selection.python {
        python(workspace)?;
        ran.push("ruff, pyright, pytest on both interpreters");
    }
    if all || selection.rust {
        rust(workspace)?;
        ran.push("cargo test, examples, a third profile");
    }
    if all || selection.loom {
        loom(workspace)?;
        ran.push("loom models");
    }
    eprintln!("test: all passed ({})", ran.join("; "));
    Ok(())
}

fn rust(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo();
    // The extension is tested from Python, where there is an interpreter to load it.
    command.args(["test", "--workspace", "--exclude", "snakepit-python"]);
    run::step("cargo test", command)?;
    let mut command = workspace.cargo();
    command.args(["test", "--package", "snakepit", "--lib", "--features", "schemars", "tools"]);
    run::step("schemas of tools from types", command)?;
    for (name, example) in EXAMPLES {
        let mut command = workspace.cargo();
        command.args(["run", "--package", name, "--example", example]);
        run::step(&format!("example {example} of {name}"), command)?;
    }
    for example in FACADE_EXAMPLES {
        let mut command = workspace.cargo();
        command.args(["run", "--package", "snakepit", "--example", example, "--"]);
        command.arg(workspace.program(Venv::Gil, "python"));
        run::step(&format!("example {example} of snakepit"), command)?;
    }
    let mut command = workspace.cargo();
    command.args(["run", "--package", "snakepit", "--example", "hybrid", "--"]);
    command.args([Venv::Gil, Venv::FreeThreaded].map(|venv| workspace.program(venv, "python")));
    run::step("example hybrid of snakepit", command)?;
    let mut command = workspace.cargo();
    command
        .args(["test", "--locked", "--manifest-path", THIRD_PROFILE])
        .env("CARGO_TARGET_DIR", &workspace.target);
    run::step("a third profile, from outside", command)
}

fn loom(workspace: &Workspace) -> Result<()> {
    for name in LOOM_CRATES {
        let command = |arguments: &[&str]| {
            let mut command = workspace.cargo();
            command
                .args(["test", "--release", "--lib", "--package", name, "loom"])
                .args(arguments)
                .env("RUSTFLAGS", "--cfg snakepit_loom")
                // In the ordinary target directory other flags would rebuild everything.
                .env("CARGO_TARGET_DIR", workspace.target.join("snakepit").join("loom"));
            command
        };
        // A filter that matches nothing passes: a model that was renamed would go unnoticed.
        let models = run::output(command(&["--", "--list"]))?;
        if !models.lines().any(|line| line.ends_with(": test")) {
            bail!("{name} has no loom model: mend it, or take it off the list of those that do");
        }
        run::step(&format!("loom models of {name}"), command(&[]))?;
    }
    Ok(())
}

fn python(workspace: &Workspace) -> Result<()> {
    let interpreter = workspace.program(Venv::Gil, "python");
    let tool = |name: &str, arguments: &[&str]| {
        let mut command = workspace.command(workspace.program(Venv::Gil, name));
        command.args(arguments).current_dir(workspace.python_project());
        command
    };
    // The examples lie outside the project; its rules hold for them too.
    let scope = ["--config", "pyproject.toml", ".", "../examples"];
    run::step("ruff check", tool("ruff", &[&["check"], &scope[..]].concat()))?;
    run::step("ruff format", tool("ruff", &[&["format", "--check"], &scope[..]].concat()))?;
    let mut pyright = tool("pyright", &["--pythonpath"]);
    pyright.arg(interpreter);
    run::step("pyright", pyright)?;
    for venv in [Venv::Gil, Venv::FreeThreaded] {
        let mut command = workspace.command(workspace.program(venv, "python"));
        command.args(["-m", "pytest", "-q"]).current_dir(workspace.python_project());
        run::step(&format!("pytest ({})", venv.name()), command)?;
    }
    Ok(())
}
