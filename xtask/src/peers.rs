//! The environment of those that `cargo xtask bench --peers` measures beside us. Owns which packages
//! they are; one that cannot be installed is said, and named again in the report.

use std::fs;

use anyhow::Result;

use crate::run;
use crate::setup;
use crate::workspace::{Venv, Workspace};

/// What they need, numpy for all of them.
const PACKAGES: [&str; 4] = ["numpy", "loky", "grpcio", "ray"];

/// Makes the environment below the checkout, where `snakepit-load` looks for it, with the same
/// interpreter as our workers'.
pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    let folder = workspace.root.join("target/bench-peers");
    let python = folder.join("bin/python");
    let interpreter = setup::interpreter(workspace, Venv::Gil)?;
    if !python.exists() {
        let mut command = workspace.command(setup::uv(workspace)?);
        command.args(["venv", "--quiet", "--python"]).arg(&interpreter.executable).arg(&folder);
        run::step("an environment for the peers", command)?;
    }
    for package in PACKAGES {
        let stamp = folder.join(format!("{package}.installed"));
        if stamp.exists() {
            continue;
        }
        let mut command = workspace.command(setup::uv(workspace)?);
        command.args(["pip", "install", "--quiet", "--python"]).arg(&python).arg(package);
        match run::step(&format!("peer: {package}"), command) {
            Ok(()) => fs::write(stamp, "")?,
            Err(error) => eprintln!("   {package} is not measured: {error:#}"),
        }
    }
    Ok(())
}
