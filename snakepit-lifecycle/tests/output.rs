//! What a child writes becomes events, within limits.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use snakepit_core::CallId;
use snakepit_core::testkit::Told;
use snakepit_lifecycle::process::{ChildSpec, Output, OutputOptions, Reaper, Spawner};
use tokio::runtime::Handle;
use tracing::Level;

async fn events_of(script: &str) -> String {
    events_of_child(ChildSpec::new("pool".into(), "pool.0.0".into(), "/bin/sh"), script).await
}

async fn events_of_child(spec: ChildSpec, script: &str) -> String {
    let told = Told::default();
    let _listening = told.listen();
    let spec = spec.args(["-c", script]);
    let reaper = Reaper::new(Handle::current());
    let child = Spawner::get().unwrap().spawn(spec, &reaper).await.unwrap();
    child.exited().await;
    reaper.idle().await;
    told.text()
}

#[tokio::test]
async fn lines_are_told_with_their_worker_and_stream() {
    let events = events_of("echo to stdout; printf 'no newline' >&2").await;
    let line = |text: &str| events.lines().find(|line| line.contains(text)).unwrap().to_owned();
    for part in ["snakepit::worker::stdout", "worker=pool.0.0", "pool=pool"] {
        assert!(line("to stdout").contains(part), "{events}");
    }
    assert!(line("no newline").contains("snakepit::worker::stderr"), "{events}");
}

#[tokio::test]
async fn lines_carry_the_call_that_the_child_is_in() {
    let spec = || ChildSpec::new("pool".into(), "pool.0.0".into(), "/bin/sh");
    let events = events_of_child(spec().current_call(|| CallId::new(7)), "echo said >&2").await;
    assert!(events.contains("call=7"), "{events}");
    let events = events_of_child(spec().current_call(|| None), "echo said >&2").await;
    assert!(events.contains("said") && !events.contains("call"), "{events}");
}

#[tokio::test]
async fn a_flood_is_cut_and_says_how_much_is_missing() {
    let events = events_of("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done").await;
    let told = events.lines().filter(|line| line.contains(" line ")).count();
    let left_out: usize = events
        .lines()
        .filter(|line| line.contains("lines left out"))
        .map(|line| {
            let number = line.split("… ").nth(1).and_then(|rest| rest.split(' ').next());
            number.unwrap().parse::<usize>().unwrap()
        })
        .sum();
    assert_eq!(told + left_out, 5000);
    assert!(told < 5000, "nothing was left out");
}

#[tokio::test]
async fn options_say_how_loud_how_much_and_how_long() {
    let told = async |set: fn(&mut OutputOptions), script: &str| {
        let mut options = OutputOptions::default();
        set(&mut options);
        let spec = ChildSpec::new("pool".into(), "pool.0.0".into(), "/bin/sh");
        events_of_child(spec.output(Output::new(options)), script).await
    };
    let both = "echo to stdout; echo to stderr >&2";
    let events = told(|o| (o.stdout, o.stderr) = (None, Some(Level::WARN)), both).await;
    assert!(!events.contains("to stdout"), "{events}");
    assert!(events.contains("WARN snakepit::worker::stderr"), "{events}");
    let events = told(|o| o.line_bytes = 4, "echo 123456").await;
    assert!(events.contains("1234 … (line cut)"), "{events}");
    let events = told(|o| o.lines_per_second = 1, "echo one; echo two; echo three").await;
    assert!(events.contains("one") && events.contains("2 lines left out: more than 1"), "{events}");
}

#[tokio::test]
async fn so_many_lines_are_kept_as_was_asked_and_a_change_holds_for_those_that_run() {
    let output = Output::default();
    let spec = ChildSpec::new("pool".into(), "pool.0.0".into(), "/bin/sh")
        .args(["-c", "for i in 1 2 3 4 5; do echo $i >&2; done"])
        .output(output.clone());
    let mut options = output.get();
    options.tail_lines = 2;
    output.set(options);
    let reaper = Reaper::new(Handle::current());
    let child = Spawner::get().unwrap().spawn(spec, &reaper).await.unwrap();
    assert_eq!(*child.exited().await.stderr, ["4", "5"]);
}
