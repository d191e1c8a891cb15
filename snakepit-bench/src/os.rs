//! What the operating system says a process costs.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// Sums of one process since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Costs {
    /// CPU time, user and system, in microseconds.
    pub cpu_us: f64,
    /// Times a thread went to sleep and was woken.
    pub wake_ups: f64,
    /// `read` and `write` calls of any form.
    pub reads_and_writes: f64,
}

impl Costs {
    /// Reads the sums of a process.
    ///
    /// # Errors
    /// When the process is gone or `/proc` is not Linux's.
    pub fn of(pid: u32) -> Result<Self> {
        let mut costs = Self::default();
        for task in fs::read_dir(format!("/proc/{pid}/task")).context("reading /proc")? {
            let status = fs::read_to_string(task?.path().join("status"))?;
            costs.wake_ups += field(&status, "voluntary_ctxt_switches:");
        }
        // The first number of a thread's schedstat is its time on a CPU in nanoseconds.
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            let nanoseconds = stat.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
            costs.cpu_us += nanoseconds.unwrap_or_default() / 1e3;
        }
        let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
        costs.reads_and_writes = field(&io, "syscr:") + field(&io, "syscw:");
        Ok(costs)
    }

    /// What came since an earlier reading, per call.
    pub fn per_call_since(self, earlier: Self, calls: usize) -> Self {
        let per_call = |now: f64, then: f64| (now - then) / calls as f64;
        Self {
            cpu_us: per_call(self.cpu_us, earlier.cpu_us),
            wake_ups: per_call(self.wake_ups, earlier.wake_ups),
            reads_and_writes: per_call(self.reads_and_writes, earlier.reads_and_writes),
        }
    }
}

/// Memory that only this process has, in bytes.
///
/// # Errors
/// When the process is gone or `/proc` is not Linux's.
pub fn private_bytes(pid: u32) -> Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok((field(&rollup, "Private_Clean:") + field(&rollup, "Private_Dirty:")) * 1024.0)
}

/// A process's part of the memory it uses, in bytes: what it shares counts by the number of those
/// it shares it with, so that the sum over all of them is what they use.
///
/// # Errors
/// When the process is gone or `/proc` is not Linux's.
pub fn shared_bytes(pid: u32) -> Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(field(&rollup, "Pss:") * 1024.0)
}

/// The parent of a process.
///
/// # Errors
/// When the process is gone or `/proc` is not Linux's.
pub fn parent(pid: u32) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    Ok(line.context("no parent in /proc")?.trim().parse()?)
}

/// All processes that descend from one, without itself.
///
/// # Errors
/// When `/proc` is not Linux's.
pub fn descendants(ancestor: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        // One that has ended meanwhile has no memory either.
        parents.extend(pid.and_then(|pid| Some((pid, parent(pid).ok()?))));
    }
    let (mut found, mut next) = (Vec::new(), vec![ancestor]);
    while let Some(one) = next.pop() {
        let children = parents.iter().filter(|(_, parent)| *parent == one).map(|(pid, _)| *pid);
        next.extend(children);
        found.push(one);
    }
    found.retain(|pid| *pid != ancestor);
    Ok(found)
}

/// Memory of several processes together, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// What they use, shared pages counted once.
    pub pss: f64,
    /// What each of them has alone.
    pub private: f64,
}

impl Memory {
    /// Of all processes that descend from one, without itself.
    ///
    /// # Errors
    /// When `/proc` is not Linux's.
    pub fn below(ancestor: u32) -> Result<Self> {
        let mut sum = Self::default();
        for pid in descendants(ancestor)? {
            // A program that somebody ran for a moment may be gone.
            if let (Ok(pss), Ok(private)) = (shared_bytes(pid), private_bytes(pid)) {
                sum.pss += pss;
                sum.private += private;
            }
        }
        Ok(sum)
    }
}

/// Kills a process.
///
/// # Errors
/// When it is gone, or is somebody else's.
pub fn kill(pid: u32) -> Result<()> {
    let status = Command::new("kill").args(["-KILL", &pid.to_string()]).status()?;
    anyhow::ensure!(status.success(), "kill failed");
    Ok(())
}

/// A running count of a process's system calls.
pub struct Strace(Child);

impl Strace {
    /// Starts counting; `None` where there is no strace.
    ///
    /// # Errors
    /// When strace may not trace the process.
    pub fn attach(pid: u32) -> Result<Option<Self>> {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-U", "calls,name", "-p"]).arg(pid.to_string());
        let mut child = match command.stderr(Stdio::piped()).spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            child => child?,
        };
        // It says "attached" once it has all threads.
        let mut line = String::new();
        let stderr = child.stderr.as_mut().context("no stderr")?;
        BufReader::with_capacity(1, stderr).read_line(&mut line)?;
        anyhow::ensure!(line.contains("attached"), "strace: {}", line.trim());
        Ok(Some(Self(child)))
    }

    /// Ends counting; gives each call's name and count.
    ///
    /// # Errors
    /// When strace cannot be told to end.
    pub fn detach(self) -> Result<Vec<(String, f64)>> {
        let interrupt = ["-INT", &self.0.id().to_string()].map(str::to_owned);
        anyhow::ensure!(Command::new("kill").args(interrupt).status()?.success(), "kill failed");
        let output = self.0.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        let rows = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let count = words.next()?.parse().ok()?;
            Some((words.next()?.to_owned(), count))
        });
        Ok(rows.filter(|(name, _)| name != "total").collect())
    }
}

fn field(text: &str, name: &str) -> f64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_those_of_children_too_and_nobody_elses() -> Result<()> {
        // A shell that does not replace itself by its last command.
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; read _; kill $!; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut grandchild = String::new();
        let output = shell.stdout.take().context("no stdout")?;
        BufReader::new(output).read_line(&mut grandchild)?;
        let grandchild: u32 = grandchild.trim().parse()?;
        let found = descendants(std::process::id())?;
        assert!(found.contains(&shell.id()) && found.contains(&grandchild), "{found:?}");
        assert!(!found.contains(&std::process::id()) && !found.contains(&1), "{found:?}");
        assert!(Memory::below(shell.id())?.pss > 0.0);
        drop(shell.stdin.take());
        shell.wait()?;
        Ok(())
    }
}
