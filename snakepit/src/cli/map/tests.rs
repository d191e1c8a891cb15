//! `map` without Python: order, window, interruption, and that a resumed run ends like one that was
//! never interrupted.

use std::collections::VecDeque;
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use indicatif::ProgressBar;
use proptest::prelude::*;
use snakepit::{Error, ErrorKind, Value};
use tokio::sync::watch;

use super::engine::{Batch, Engine};
use super::lines::Lines;
use super::sink::Sink;
use super::summary::Summary;
use crate::cli::Outcome;
use crate::cli::interrupt::Interrupt;

/// Doubles numbers, fails for negative ones; calls end in an order of the test's choice.
struct Fake {
    room: usize,
    pending: Vec<(usize, i64)>,
    next_position: usize,
    /// Which of the pending calls ends next, modulo their number; the first one when used up.
    picks: VecDeque<usize>,
    /// Raised when this many calls have ended.
    interrupt: Option<(usize, watch::Sender<bool>)>,
    most_pending: Arc<Mutex<usize>>,
}

impl Fake {
    fn new(room: usize, picks: Vec<usize>) -> Self {
        Self {
            room,
            pending: Vec::new(),
            next_position: 0,
            picks: picks.into(),
            interrupt: None,
            most_pending: Arc::default(),
        }
    }
}

impl Batch for Fake {
    fn has_room(&mut self) -> bool {
        self.pending.len() < self.room
    }

    fn push(&mut self, input: &Value) -> usize {
        let position = self.next_position;
        self.next_position += 1;
        self.pending.push((position, input.as_i64().unwrap()));
        let mut most = self.most_pending.lock().unwrap();
        *most = self.pending.len().max(*most);
        position
    }

    async fn next(&mut self) -> Option<(usize, Result<Value, Error>)> {
        if self.pending.is_empty() {
            return None;
        }
        let pick = self.picks.pop_front().unwrap_or(0) % self.pending.len();
        let (position, number) = self.pending.remove(pick);
        if let Some((left, sender)) = &mut self.interrupt {
            *left -= 1;
            if *left == 0 {
                sender.send_replace(true);
                self.interrupt = None;
            }
        }
        let result = match number {
            0.. => Ok(Value::from(number * 2)),
            _ => Err(Error::new(ErrorKind::Python, "negative")),
        };
        Some((position, result))
    }
}

/// A file in memory that its writer and its reader share.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn run(batch: Fake, lines: Lines, sink: &mut Sink) -> (Outcome, Summary) {
    let (_sender, never) = Interrupt::never();
    run_interrupted(batch, lines, sink, never)
}

fn run_interrupted(
    batch: Fake,
    lines: Lines,
    sink: &mut Sink,
    interrupt: Interrupt,
) -> (Outcome, Summary) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let engine = Engine::new(batch, lines.start(), interrupt, Summary::new(1, 0));
    runtime.block_on(engine.run(sink, &ProgressBar::hidden())).unwrap()
}

fn run_text(batch: Fake, input: &str) -> (Outcome, Summary, String) {
    let out = Shared::default();
    let mut sink = Sink::into_writer(out.clone());
    let lines = Lines::new(Cursor::new(input.to_owned()));
    let (outcome, summary) = run(batch, lines, &mut sink);
    (outcome, summary, out.text())
}

/// One run over files, as the command makes it.
fn run_files(input: &str, output: &Path, failures: &Path, resume: bool, picks: Vec<usize>) {
    let mut lines = Lines::new(Cursor::new(input.to_owned()));
    let mut sink = Sink::open(Some(output), Some(failures), resume, false).unwrap();
    sink.skip_done(&mut lines).unwrap();
    run(Fake::new(3, picks), lines, &mut sink);
}

#[test]
fn a_line_that_is_not_json_fails_with_its_number_and_the_others_go_on() {
    let (outcome, summary, out) = run_text(Fake::new(2, vec![]), "1\n\n{oops\n-3\n\u{fffd}\n4");
    let lines: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(outcome, Outcome::SomeFailed);
    assert_eq!((summary.done(), summary.failed()), (2, 3));
    assert_eq!(lines[0], 2);
    assert_eq!(
        (&lines[1]["line"], &lines[1]["error"]["kind"]),
        (&3.into(), &"invalid_arguments".into())
    );
    assert_eq!((&lines[2]["line"], &lines[2]["error"]["kind"]), (&4.into(), &"python".into()));
    assert_eq!(lines[3]["line"], 5);
    assert_eq!(lines[4], 8, "a last line without an end counts");
}

#[test]
fn an_interrupt_finishes_what_is_under_way_and_takes_no_more() {
    let (sender, interrupt) = Interrupt::never();
    let mut batch = Fake::new(4, vec![]);
    batch.interrupt = Some((3, sender));
    let input: String = (0..100).map(|n| format!("{n}\n")).collect();
    let out = Shared::default();
    let mut sink = Sink::into_writer(out.clone());
    let lines = Lines::new(Cursor::new(input));
    let (outcome, summary) = run_interrupted(batch, lines, &mut sink, interrupt);
    assert_eq!(outcome, Outcome::Interrupted);
    let written: Vec<i64> = out.text().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(written, (0..written.len() as i64).map(|n| n * 2).collect::<Vec<_>>());
    assert_eq!(summary.done(), written.len() as u64);
    assert!((3..=7).contains(&written.len()), "{written:?}");
}

#[test]
fn a_closed_output_ends_the_run() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    // An input without end: only the closed output can stop this.
    let endless = std::io::BufReader::new(std::io::Read::take(std::io::repeat(b'1'), u64::MAX));
    struct OneLines<R>(R);
    impl<R: std::io::Read> std::io::Read for OneLines<R> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let read = self.0.read(buffer)?;
            buffer[..read].iter_mut().skip(1).step_by(2).for_each(|byte| *byte = b'\n');
            Ok(read / 2 * 2)
        }
    }
    let lines = Lines::new(std::io::BufReader::new(OneLines(endless)));
    let (outcome, _) = run(Fake::new(2, vec![]), lines, &mut Sink::into_writer(Closed));
    assert_eq!(outcome, Outcome::OutputClosed);
}

#[test]
fn an_output_that_is_there_is_neither_lost_nor_mixed_up() {
    let dir = tempfile::tempdir().unwrap();
    let (output, failures) = (dir.path().join("out"), dir.path().join("failures"));
    std::fs::write(&output, "2\n4\n").unwrap();
    assert!(Sink::open(Some(&output), None, false, false).is_err());
    let mut sink = Sink::open(Some(&output), Some(&failures), true, false).unwrap();
    let mut other = Lines::new(Cursor::new("1\n"));
    assert!(sink.skip_done(&mut other).is_err(), "an input with fewer lines is another input");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "2\n4\n");
    drop(Sink::open(Some(&output), None, false, true).unwrap());
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "");
}

proptest! {
    #[test]
    fn results_come_in_input_order_however_calls_end(
        numbers in prop::collection::vec(0..1000_i64, 0..200),
        picks in prop::collection::vec(any::<usize>(), 0..200),
        room in 1..50_usize,
    ) {
        let input: String = numbers.iter().map(|n| format!("{n}\n")).collect();
        let batch = Fake::new(room, picks);
        let most = Arc::clone(&batch.most_pending);
        let (outcome, _, out) = run_text(batch, &input);
        let expected: String = numbers.iter().map(|n| format!("{}\n", n * 2)).collect();
        prop_assert_eq!(out, expected);
        prop_assert_eq!(outcome, Outcome::Fine);
        prop_assert!(*most.lock().unwrap() <= room);
    }

    #[test]
    fn a_run_resumed_from_any_byte_ends_like_one_never_interrupted(
        numbers in prop::collection::vec(prop::option::of(-5..20_i64), 1..30),
        picks in prop::collection::vec(any::<usize>(), 0..30),
        cut in any::<prop::sample::Index>(),
        ahead in 0..3_usize,
    ) {
        // `None` is a blank line.
        let input: String = numbers
            .iter()
            .map(|n| n.map_or_else(|| "\n".to_owned(), |n| format!("{n}\n")))
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let (output, failures) = (dir.path().join("out"), dir.path().join("failures"));
        run_files(&input, &output, &failures, false, picks.clone());
        let whole = std::fs::read_to_string(&output).unwrap();
        let all_failures = std::fs::read_to_string(&failures).unwrap();

        // An interrupted run has written its failures up to its last line of output, and may have
        // written some more.
        let rest = &whole[..cut.index(whole.len() + 1)];
        std::fs::write(&output, rest).unwrap();
        let failed = rest.matches("\n").count();
        let failed = whole.lines().take(failed).filter(|line| line.contains("error")).count();
        let kept: String =
            all_failures.lines().take(failed + ahead).map(|line| format!("{line}\n")).collect();
        std::fs::write(&failures, kept).unwrap();

        run_files(&input, &output, &failures, true, picks);
        prop_assert_eq!(std::fs::read_to_string(&output).unwrap(), whole);
        prop_assert_eq!(std::fs::read_to_string(&failures).unwrap(), all_failures);
    }
}
