//! What the machine must have: descriptors, processes, shared memory, and what of Linux the workers'
//! supervision stands on.

use std::fs;
use std::path::Path;

use rustix::fs::{MemfdFlags, StatVfs, memfd_create, statvfs};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Resource, getpid, getrlimit, pidfd_open};
use snakepit::control;
use snakepit_compat::Finding;

use super::cgroup;

/// About five for each worker, and those of the program itself.
const DESCRIPTORS_PER_WORKER: u64 = 5;
const OWN_DESCRIPTORS: u64 = 64;
/// Each worker is a process with a few threads; the kernel counts both.
const TASKS_PER_WORKER: u64 = 8;
/// A small interpreter with a library or two.
const BYTES_PER_WORKER: u64 = 64 << 20;
const SHARED_MEMORY: &str = "/dev/shm";
/// What containers give by default, and what one large array fills.
const LITTLE_SHARED_MEMORY_MIB: u64 = 64;

/// Looks at the machine, for so many workers.
pub(super) fn findings(workers: u64) -> Vec<Finding> {
    let cgroup = cgroup::limits();
    let mut found =
        vec![descriptors(workers), processes(workers, cgroup.processes), cores(cgroup.cores)];
    found.extend(cgroup.memory_bytes.map(|bytes| memory(bytes, workers)));
    found.extend([shared_memory(), memfd(), pidfd(), control_sockets()]);
    found
}

fn descriptors(workers: u64) -> Finding {
    let topic = "descriptors";
    let needed = OWN_DESCRIPTORS + DESCRIPTORS_PER_WORKER * workers;
    // The command has raised its own limit as far as that goes.
    let limit = getrlimit(Resource::Nofile);
    match limit.maximum {
        Some(most) if most < needed => Finding::fatal(
            topic,
            format!("at most {most}, and {} need about {needed}", count(workers)),
            format!("raise the hard limit (`ulimit -Hn {needed}`, or LimitNOFILE= of the service)"),
        ),
        most => {
            let most = most.map_or_else(|| "without limit".to_owned(), |most| most.to_string());
            Finding::fine(topic, format!("{most}, for {} about {needed}", count(workers)))
        }
    }
}

fn processes(workers: u64, group: Option<u64>) -> Finding {
    let topic = "processes";
    let needed = TASKS_PER_WORKER * workers;
    let own = getrlimit(Resource::Nproc).current;
    let most = [own, group].into_iter().flatten().min();
    match most {
        Some(most) if most < needed => Finding::fatal(
            topic,
            format!(
                "at most {most}, and {} need about {needed} with their threads",
                count(workers)
            ),
            format!("raise `ulimit -u` and the control group's pids.max above {needed}"),
        ),
        Some(most) => {
            Finding::fine(topic, format!("{most}, for {} about {needed}", count(workers)))
        }
        None => Finding::fine(topic, "without limit"),
    }
}

fn count(workers: u64) -> String {
    if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") }
}

fn cores(group: Option<f64>) -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match group {
        Some(share) if share < 1.0 => Finding::warning(
            "cores",
            format!("the control group allows {share:.2} of {cores}"),
            "allow at least one (cpu.max), or starts and heartbeats are late under load",
        ),
        Some(share) => Finding::fine("cores", format!("{cores}, the control group allows {share}")),
        None => Finding::fine("cores", cores.to_string()),
    }
}

fn memory(bytes: u64, workers: u64) -> Finding {
    let (mib, needed) = (bytes >> 20, BYTES_PER_WORKER * workers);
    if bytes < needed {
        return Finding::warning(
            "memory",
            format!("the control group allows {mib} MiB for {}", count(workers)),
            format!("allow {} MiB or more (memory.max), or take fewer workers", needed >> 20),
        );
    }
    Finding::fine("memory", format!("the control group allows {mib} MiB"))
}

fn shared_memory() -> Finding {
    let topic = "shared memory";
    let mib = |stat: &StatVfs| stat.f_blocks.saturating_mul(stat.f_frsize) >> 20;
    let remedy = "mount it, with a size that suits the arrays (containers: --shm-size)";
    match statvfs(SHARED_MEMORY) {
        Err(error) => Finding::warning(
            topic,
            format!("{SHARED_MEMORY} is not there: {error}"),
            format!("{remedy}; Python's multiprocessing uses it too"),
        ),
        Ok(stat) if mib(&stat) <= LITTLE_SHARED_MEMORY_MIB => {
            Finding::warning(topic, format!("{SHARED_MEMORY} has {} MiB", mib(&stat)), remedy)
        }
        Ok(stat) => Finding::fine(topic, format!("{SHARED_MEMORY} has {} MiB", mib(&stat))),
    }
}

fn memfd() -> Finding {
    let topic = "memfd";
    match memfd_create("snakepit-doctor", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING) {
        Ok(_) => Finding::fine(topic, "memory files can be made"),
        Err(error) => Finding::fatal(
            topic,
            format!("memory files cannot be made: {error}"),
            "allow memfd_create in the sandbox's system call filter; Linux has it since 3.17",
        ),
    }
}

fn pidfd() -> Finding {
    let topic = "pidfd";
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_) => Finding::fine(topic, "processes can be watched"),
        Err(error) => {
            let remedy = match error {
                Errno::NOSYS => "use Linux 5.3 or later",
                _ => "allow pidfd_open and pidfd_send_signal in the sandbox's system call filter",
            };
            Finding::fatal(topic, format!("processes cannot be watched: {error}"), remedy)
        }
    }
}

/// A host runs without one; `snakepit run` does not.
fn control_sockets() -> Finding {
    let topic = "control socket";
    let directory = control::directory();
    match control::sockets() {
        Err(error) => {
            let remedy = error.help().unwrap_or("make it yours alone (chmod 700), or remove it");
            Finding::warning(topic, error.message(), remedy)
        }
        Ok(sockets) if directory.exists() => {
            Finding::fine(topic, format!("{} has {} sockets", directory.display(), sockets.len()))
        }
        Ok(_) => {
            let parent = directory.parent().unwrap_or(Path::new("/"));
            match fs::metadata(parent) {
                Ok(meta) if meta.is_dir() => {
                    Finding::fine(topic, format!("{} will be made", directory.display()))
                }
                _ => Finding::warning(
                    topic,
                    format!("{} is not there", parent.display()),
                    "set XDG_RUNTIME_DIR to a directory of yours",
                ),
            }
        }
    }
}
