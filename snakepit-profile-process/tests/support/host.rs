//! A host in a process of its own, which can be killed, limited and counted: an ignored test of the
//! same program that another one runs.

use std::fs::File;
use std::io::Read as _;
use std::process::Command;

use super::LONG;

/// The command that runs it.
pub fn host(test: &str) -> Command {
    host_as(Command::new(std::env::current_exe().unwrap()), test)
}

/// The same with a command of which this program may be only an argument.
pub fn host_as(mut command: Command, test: &str) -> Command {
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command
}

/// Runs it to its end, which must be a good one; gives what it said.
pub fn run(mut host: Command) -> String {
    let output = host.output().unwrap_or_else(|error| panic!("{host:?} does not run: {error}"));
    let [said, wrong] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success() && said.contains("1 passed"), "{said}{wrong}");
    said.into_owned()
}

/// Waits until nobody holds the other end of a pipe any more.
pub async fn nobody_holds(mut pipe: File) {
    let (sent, gone) = tokio::sync::oneshot::channel();
    // A thread of its own: if somebody holds it for ever, the test must fail all the same.
    std::thread::spawn(move || sent.send(pipe.read_to_end(&mut Vec::new()).unwrap()));
    tokio::time::timeout(LONG, gone).await.expect("something was left").unwrap();
}
