//! The suite's tools as closures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use snakepit_core::testkit::conformance::Subject;
use snakepit_core::{Codec, Error, ErrorKind, Payload, Profile};
use third_profile::{Closures, Running, Tools};

const NAP: Duration = Duration::from_millis(1);

/// A profile whose workers run so many calls at a time.
pub struct Closed {
    pub profile: Arc<Closures>,
    pub threads: usize,
}

impl Closed {
    pub fn new(threads: usize) -> Self {
        Self { profile: Arc::new(Closures::new(threads, tools)), threads }
    }
}

impl Subject for Closed {
    fn profile(&self) -> Arc<dyn Profile> {
        self.profile.clone()
    }

    fn capacity(&self) -> usize {
        self.threads
    }
}

fn value(value: impl serde::Serialize) -> Result<Payload, Error> {
    Payload::encode(Codec::MsgPack, &value)
}

fn argument(running: &Running, name: &str) -> Result<Value, Error> {
    let mut arguments: Map<String, Value> = running.arguments()?;
    Ok(arguments.remove(name).unwrap_or(Value::Null))
}

fn tools() -> Tools {
    let peak = Arc::new(AtomicUsize::new(0));
    let well = Arc::new(AtomicBool::new(true));
    let (note, ill) = (peak.clone(), well.clone());
    let note = move |running: &Running| {
        note.fetch_max(running.beside(), Ordering::SeqCst);
    };
    let (note_echo, note_hold) = (note.clone(), note);
    Tools::default()
        .with("echo", move |running| {
            note_echo(running);
            value(argument(running, "value")?)
        })
        .with("fail", |_| Err(Error::new(ErrorKind::Internal, "on purpose")))
        .with("hold", move |running| {
            note_hold(running);
            running.progress(1.0);
            while !running.is_cancelled() {
                sleep(NAP);
            }
            Err(Error::new(ErrorKind::Cancelled, "it waited, and was cancelled"))
        })
        .with("deaf", |running| {
            running.progress(1.0);
            let end = argument(running, "millis")?.as_u64().map(Duration::from_millis);
            let began = Instant::now();
            // A closure cannot be ended by force; this one is deaf to its caller only.
            while !running.is_abandoned() && end.is_none_or(|end| began.elapsed() < end) {
                sleep(NAP);
            }
            value(json!(null))
        })
        .with_stream("count", |running| {
            let n = argument(running, "n")?.as_u64().unwrap_or(0);
            (0..n).try_for_each(|item| running.send(&item))
        })
        .with("peak", move |_| value(peak.load(Ordering::SeqCst)))
        .with("sicken", move |_| {
            ill.store(false, Ordering::SeqCst);
            value(json!(null))
        })
        .with("die", |running| {
            running.crash("it was asked to die");
            value(json!(null))
        })
        .with_health(move || match well.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err("not well".to_owned()),
        })
}
