//! What the system refuses, said so that somebody can do something about it.

use std::io;

use rustix::process::{Resource, Rlimit};
use snakepit_core::{Error, ErrorKind};

/// What it takes to keep one worker: its link, its liveness socket, its control page, its descriptor
/// socket, its output and its process; and about as many again while it starts.
const DESCRIPTORS_PER_WORKER: u32 = 7;

/// The error of a step that the system refused. Names the limit that was reached, if it was one.
pub fn system_error(what: &str, error: &io::Error) -> Error {
    let because = |limit: &str| Error::new(ErrorKind::System, format!("{what}: {error}{limit}"));
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            let limit = rustix::process::getrlimit(Resource::Nofile);
            let told = format!("; RLIMIT_NOFILE of this process is {}", both(limit));
            because(&told).with_help(format!(
                "raise the limit on open files (`ulimit -n`): a worker takes about \
                 {DESCRIPTORS_PER_WORKER} of them"
            ))
        }
        Some(libc::ENFILE) => because("; that is the limit of the whole system")
            .with_help("raise `fs.file-max` (`sysctl fs.file-max`)"),
        Some(libc::EAGAIN) => {
            let limit = rustix::process::getrlimit(Resource::Nproc);
            let told = format!("; RLIMIT_NPROC of this user is {}", both(limit));
            because(&told).with_help(
                "raise the limit on processes (`ulimit -u`), or that of the control group (pids.max)",
            )
        }
        _ => because(""),
    }
}

fn both(limit: Rlimit) -> String {
    let number =
        |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    format!("{}, at most {}", number(limit.current), number(limit.maximum))
}
