//! `cargo xtask ci`: the checks that are no tests. The first failure stops it.

use std::env;
use std::ffi::OsStr;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run;
use crate::setup::{self, Interpreters};
use crate::test::THIRD_PROFILE;
use crate::workspace::{Venv, Workspace};

/// Texts for the readers of settings, and what a worker or a host might send; outside of the
/// workspace.
const FUZZ_TARGETS: [&str; 2] = ["snakepit-config/fuzz/Cargo.toml", "snakepit-shm/fuzz/Cargo.toml"];

/// What the package list calls a library that other crates can use.
const LIBRARY: &str = "lib";

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    run::announce("setup");
    setup::run(workspace, Interpreters::GilOnly)?;
    let libraries = libraries(workspace)?;
    cargo(workspace, "format", &["fmt", "--all", "--check"], &[])?;
    cargo(
        workspace,
        "lints",
        &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"],
        // The extension asks an interpreter at build time: the one that is known to be new enough.
        &[("PYO3_PYTHON", workspace.program(Venv::Gil, "python").as_os_str())],
    )?;
    let outside = ["--manifest-path", THIRD_PROFILE];
    cargo(
        workspace,
        "format of the third profile",
        &[&["fmt", "--check"], &outside[..]].concat(),
        &[],
    )?;
    let lint = [&["clippy", "--locked", "--all-targets"], &outside[..], &["--", "-D", "warnings"]];
    let target = ("CARGO_TARGET_DIR", workspace.target.as_os_str());
    cargo(workspace, "lints of the third profile", &lint.concat(), &[target])?;
    cargo(
        workspace,
        "docs",
        &["doc", "--locked", "--workspace", "--no-deps", "--exclude", "snakepit-python"],
        &[("RUSTDOCFLAGS", "-D warnings".as_ref())],
    )?;
    for library in &libraries {
        let what = format!("{library} alone, with its examples");
        cargo(workspace, &what, &["check", "--locked", "-p", library, "--lib", "--examples"], &[])?;
    }
    for manifest in FUZZ_TARGETS {
        fuzz_targets(workspace, manifest)?;
    }
    let kit = ["check", "--locked", "-p", "snakepit-core", "--lib", "--features", "testkit"];
    cargo(workspace, "snakepit-core alone, with its test kit", &kit, &[])?;
    // A dev build, which the tests have made already: counts are the same in both.
    let counts =
        ["run", "--locked", "-p", "snakepit-bench", "--bin", "snakepit-load", "--", "counts"];
    cargo(workspace, "what a call costs in things that are counted (perf.toml)", &counts, &[])?;
    foreign_paths(workspace)?;
    eprintln!(
        "ci: all passed (format, lints, docs, {} crates alone, counts, paths)",
        libraries.len()
    );
    Ok(())
}

/// The fuzz targets, which are no part of the workspace: built, and run over their seeds without a
/// fuzzer. Looking for more is a person's decision (CONTRIBUTING).
fn fuzz_targets(workspace: &Workspace, manifest: &str) -> Result<()> {
    let outside = ["--manifest-path", manifest];
    let format = [&["fmt", "--check"], &outside[..]].concat();
    cargo(workspace, "format of the fuzz targets", &format, &[])?;
    let target = ("CARGO_TARGET_DIR", workspace.target.as_os_str());
    let lint = [&["clippy", "--locked", "--all-targets"], &outside[..], &["--", "-D", "warnings"]];
    cargo(workspace, "lints of the fuzz targets", &lint.concat(), &[target])?;
    let test = [&["test", "--locked"], &outside[..]].concat();
    cargo(workspace, "the fuzz targets, without a fuzzer", &test, &[target])
}

fn cargo(
    workspace: &Workspace,
    what: &str,
    arguments: &[&str],
    variables: &[(&str, &OsStr)],
) -> Result<()> {
    let mut command = workspace.cargo();
    command.args(arguments).envs(variables.iter().copied());
    run::step(what, command)
}

/// The names of the library crates; fails if `Cargo.lock` is not what the manifests ask for.
fn libraries(workspace: &Workspace) -> Result<Vec<String>> {
    run::announce("Cargo.lock is up to date");
    let mut command = workspace.cargo();
    command.args(["metadata", "--locked", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&run::output(command)?)?;
    let packages = metadata["packages"].as_array().context("cargo lists no packages")?;
    let is_library = |package: &&Value| {
        let targets = package["targets"].as_array();
        // A package of this workspace comes from no registry.
        let ours = package["source"].is_null();
        ours && targets
            .is_some_and(|targets| targets.iter().any(|target| target["kind"][0] == LIBRARY))
    };
    let names = packages.iter().filter(is_library).filter_map(|package| package["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

/// No tracked file may name a place that exists on one machine only.
fn foreign_paths(workspace: &Workspace) -> Result<()> {
    run::announce("no path of one machine in tracked files");
    let mut command = workspace.command("git");
    command.args(["grep", "-nIF"]);
    let root = format!("{}/", workspace.root.display());
    // Spelled apart, so that this file does not name it.
    let neighbour = ["..", "shared"].join("/");
    let home = env::var("HOME").unwrap_or_default();
    command.args(["-e", &root, "-e", &neighbour]);
    if home.len() > 1 {
        command.args(["-e", &format!("{home}/")]);
    }
    command.args(["--", ".", ":!.ci/run", ":!*.lock"]);
    // git grep ends with 1 when it finds nothing.
    let status = command.status().context("git does not start")?;
    match status.code() {
        Some(1) => Ok(()),
        Some(0) => bail!("the lines above name paths of one machine"),
        _ => bail!("git grep ended with {status}"),
    }
}
