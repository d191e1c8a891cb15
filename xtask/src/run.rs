//! Owns how commands are run and announced. Decides nothing about them.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Says what comes next.
pub(crate) fn announce(what: &str) {
    eprintln!("── {what}");
}

/// Runs a command with our own streams; its failure is ours.
pub(crate) fn checked(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{} does not start", name(&command)))?;
    if !status.success() {
        bail!("{} ended with {status}", name(&command));
    }
    Ok(())
}

/// Announces a step, runs it, and says how long it took.
pub(crate) fn step(what: &str, command: Command) -> Result<()> {
    announce(what);
    let started = Instant::now();
    checked(command).with_context(|| format!("step failed: {what}"))?;
    eprintln!("   {what}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a command for its standard output.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{} does not start", name(&command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", name(&command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no text", name(&command)))
}

fn name(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
