//! `cargo xtask lock`: resolves the Python dependencies anew. `setup` installs what it wrote.

use anyhow::Result;

use crate::run;
use crate::setup;
use crate::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.command(setup::uv(workspace)?);
    command.args(["lock", "--upgrade", "--project"]).arg(workspace.python_project());
    run::step("uv lock", command)
}
