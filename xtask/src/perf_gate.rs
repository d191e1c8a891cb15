//! `cargo xtask perf-gate`: builds base and head and has them compared. Owns how base is made: a git
//! worktree below `target/`, with head's drivers in it, so that both are asked the same.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::run;
use crate::setup::{self, Interpreters};
use crate::workspace::{Venv, Workspace};

/// The programs that both sides are measured with, and what they are made of.
const DRIVERS: [&str; 2] = ["snakepit-drive", "snakepit-count"];
const DRIVER_SOURCES: [&str; 3] = [
    "snakepit-bench/src/bin/snakepit-drive.rs",
    "snakepit-bench/src/bin/snakepit-count.rs",
    "snakepit-bench/src/prompt.rs",
];

/// What the worker package is built from: where it is the same, one environment serves both.
const WORKER_SOURCES: [&str; 5] =
    ["python", "proto", "snakepit-shm", "Cargo.lock", ":(exclude)python/tests"];

/// What to compare with.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A commit; by default where this branch left main, or on main the commit before
    base: Option<String>,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let commit = base_commit(workspace, arguments.base.as_deref())?;
    let folder = workspace.target.join("perf-gate");
    run::announce(&format!("base is {commit}"));
    let base = check_out(workspace, &folder.join("base"), &commit)?;

    run::announce("setup");
    setup::run(workspace, Interpreters::GilOnly)?;
    let head_python = workspace.program(Venv::Gil, "python");
    let base_python = if same_worker(workspace, &commit)? {
        head_python.clone()
    } else {
        let mut command = workspace.cargo();
        command.args(["run", "--quiet", "--package", "xtask", "--", "setup"]).current_dir(&base);
        command.env("CARGO_TARGET_DIR", base_target(workspace));
        run::step("base's worker package", command)?;
        base.join("target/snakepit/venvs/gil/bin/python")
    };
    let base_target = base_target(workspace);
    let base_programs = build(workspace, &base, &base_target, &folder.join("base-programs"))?;
    let programs = folder.join("head-programs");
    let head_programs = build(workspace, &workspace.root, &workspace.target, &programs)?;

    let mut gate = workspace.cargo();
    gate.args(["build", "--release", "--package", "snakepit-bench", "--bin", "snakepit-gate"]);
    run::step("the gate", gate)?;
    let mut gate = workspace.command(workspace.target.join("release/snakepit-gate"));
    gate.arg("--base").arg(base_programs).arg("--base-python").arg(base_python);
    gate.arg("--head").arg(head_programs).arg("--head-python").arg(head_python);
    gate.arg("--adapter").arg(workspace.root.join("snakepit-bench/python/bench_adapter.py"));
    gate.arg("--json").arg(folder.join("report.json"));
    run::step("head against base", gate)
}

fn base_commit(workspace: &Workspace, named: Option<&str>) -> Result<String> {
    let git = |arguments: &[&str]| -> Result<String> {
        let mut command = workspace.command("git");
        command.args(arguments);
        Ok(run::output(command)?.trim().to_owned())
    };
    if let Some(named) = named {
        return git(&["rev-parse", "--verify", &format!("{named}^{{commit}}")]);
    }
    let left = git(&["merge-base", "HEAD", "main"]);
    match left {
        Ok(left) if left != git(&["rev-parse", "HEAD"])? => Ok(left),
        _ => {
            git(&["rev-parse", "--verify", "HEAD~1"]).context("there is no commit before this one")
        }
    }
}

/// A worktree of the commit with head's drivers in it.
fn check_out(workspace: &Workspace, folder: &Path, commit: &str) -> Result<PathBuf> {
    let mut git = workspace.command("git");
    if folder.join(".git").exists() {
        git.arg("-C").arg(folder).args(["checkout", "--quiet", "--force", "--detach", commit]);
    } else {
        // One that was deleted by hand is still on git's list.
        let mut prune = workspace.command("git");
        prune.args(["worktree", "prune"]);
        run::checked(prune)?;
        fs::create_dir_all(folder.parent().context("a folder below target")?)?;
        git.args(["worktree", "add", "--quiet", "--detach"]).arg(folder).arg(commit);
    }
    run::checked(git)?;
    for source in DRIVER_SOURCES {
        let copy = folder.join(source);
        fs::create_dir_all(copy.parent().context("sources lie in folders")?)?;
        fs::copy(workspace.root.join(source), copy).with_context(|| source.to_owned())?;
    }
    Ok(folder.to_owned())
}

fn same_worker(workspace: &Workspace, commit: &str) -> Result<bool> {
    let mut git = workspace.command("git");
    git.args(["diff", "--quiet", commit, "--"]).args(WORKER_SOURCES);
    Ok(git.status().context("git does not start")?.success())
}

/// Where base is built. Not where head is: to cargo the same package of two trees is one, and it may
/// take the other tree's build for fresh.
fn base_target(workspace: &Workspace) -> PathBuf {
    workspace.target.join("perf-gate").join("base-target")
}

/// Builds the drivers of a tree and puts them aside, where nothing replaces them while they run.
fn build(workspace: &Workspace, tree: &Path, target: &Path, aside: &Path) -> Result<PathBuf> {
    fs::create_dir_all(aside)?;
    for driver in DRIVERS {
        let mut command = workspace.cargo();
        command
            .args(["build", "--release", "--package", "snakepit-bench", "--bin", driver])
            .current_dir(tree)
            .env("CARGO_TARGET_DIR", target);
        let copy = aside.join(driver);
        if copy.exists() {
            fs::remove_file(&copy)?;
        }
        let built = run::step(&format!("{driver} of {}", tree.display()), command);
        match built {
            Ok(()) => drop(fs::copy(target.join("release").join(driver), copy)?),
            // The gate says what is not compared when base has no such program.
            Err(error) if driver != DRIVERS[0] => eprintln!("   {error:#}"),
            Err(error) => return Err(error),
        }
    }
    Ok(aside.to_owned())
}
