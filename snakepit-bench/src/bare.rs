//! Calls through workers without the pool engine: what the link alone can do. A fixed window of
//! calls is kept at each worker, in two ways: an answer sends the next call from where it arrives,
//! and nobody hears of it; or a future awaits each answer and then sends the next call, as whoever
//! uses the link by itself has to, and as callers of the engine do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use snakepit_bridge::LinkServer;
use snakepit_core::{
    Call, CallEvent, CallId, CallSink, CreditExceeded, Payload, PoolName, Profile, Reply, Request,
    Seat, Worker,
};
use snakepit_profile_process::{ProcessOptions, ProcessProfile};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::workload::Setting;

/// No call of a sample takes as long.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Workers with nobody over them, and the server of their links.
///
/// # Errors
/// When a worker does not start.
pub async fn workers(
    setting: &Setting,
    runtime: &Handle,
) -> Result<(Arc<LinkServer>, Vec<Arc<dyn Worker>>)> {
    let links = Arc::new(LinkServer::start(runtime.clone()));
    let options = ProcessOptions::new(&setting.python, setting.adapter());
    let profile = ProcessProfile::new(options, Arc::clone(&links), runtime.clone())?;
    let mut workers: Vec<Arc<dyn Worker>> = Vec::new();
    for index in 0..setting.workers {
        let seat = Seat { pool: PoolName::from("bench"), index, incarnation: 0 };
        workers.push(profile.start(seat).await?);
    }
    Ok((links, workers))
}

/// The same call to any of a set of workers.
struct Sender {
    workers: Vec<Arc<dyn Worker>>,
    command: Arc<str>,
    arguments: Payload,
}

impl Sender {
    fn new(workers: &[Arc<dyn Worker>], command: &str, arguments: &Payload) -> Self {
        let (workers, arguments) = (workers.to_vec(), arguments.clone());
        Self { workers, command: Arc::from(command), arguments }
    }

    /// Sends it to one worker, whose number comes with the answer.
    fn send(&self, worker: usize, id: usize, sink: Arc<dyn CallSink>) -> Result<()> {
        let id = CallId::new(id as u64).context("ids begin with one")?;
        let request = Request::new(Arc::clone(&self.command), self.arguments.clone());
        let call = Call { id, request, stream_credit: None };
        let reply = Reply::new(sink, worker as u64, id);
        let worker = &self.workers[worker];
        let sent = worker.submit(&call, Some(TIMEOUT), reply);
        sent.map_err(|_| anyhow::anyhow!("the worker refused a call"))?;
        worker.flush();
        Ok(())
    }
}

/// Sends a call again and again.
struct Loop {
    sender: Sender,
    last_id: AtomicUsize,
    calls: usize,
    finished: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<Result<(), String>>>>,
}

impl Loop {
    /// Sends one more call to a worker unless enough were sent.
    fn send(self: &Arc<Self>, worker: usize) {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        if id > self.calls {
            return;
        }
        if let Err(error) = self.sender.send(worker, id, Arc::clone(self) as _) {
            self.end(Err(error.to_string()));
        }
    }

    fn end(&self, result: Result<(), String>) {
        let done = self.done.lock().ok().and_then(|mut done| done.take());
        if let Some(done) = done {
            // Nobody waits any more once the sample was given up.
            let _ = done.send(result);
        }
    }
}

impl CallSink for Loop {
    fn event(
        self: Arc<Self>,
        member: u64,
        _: CallId,
        event: CallEvent,
    ) -> Result<(), CreditExceeded> {
        match event {
            CallEvent::Finished { .. } => {
                self.send(member as usize);
                if self.finished.fetch_add(1, Ordering::Relaxed) + 1 == self.calls {
                    self.end(Ok(()));
                }
            }
            other => self.end(Err(format!("{other:?}"))),
        }
        Ok(())
    }
}

/// Runs `calls` with `window` of them at each worker; returns the wall time.
///
/// # Errors
/// The first call that does not end well.
pub async fn sample(
    workers: &[Arc<dyn Worker>],
    command: &str,
    arguments: &Payload,
    calls: usize,
    window: usize,
) -> Result<Duration> {
    let (done, ended) = oneshot::channel();
    let sends = Arc::new(Loop {
        sender: Sender::new(workers, command, arguments),
        last_id: AtomicUsize::new(0),
        calls,
        finished: AtomicUsize::new(0),
        done: Mutex::new(Some(done)),
    });
    let start = Instant::now();
    for _ in 0..window {
        for worker in 0..workers.len() {
            sends.send(worker);
        }
    }
    ended.await?.map_err(anyhow::Error::msg)?;
    Ok(start.elapsed())
}

/// One call whose answer is awaited.
struct Awaited(Mutex<Option<oneshot::Sender<CallEvent>>>);

impl CallSink for Awaited {
    fn event(self: Arc<Self>, _: u64, _: CallId, event: CallEvent) -> Result<(), CreditExceeded> {
        let answer = self.0.lock().ok().and_then(|mut answer| answer.take());
        if let Some(answer) = answer {
            // Nobody waits any more once the sample was given up.
            let _ = answer.send(event);
        }
        Ok(())
    }
}

/// As [`sample`], with a future that awaits each answer and then sends the next call.
///
/// # Errors
/// The first call that does not end well.
pub async fn awaited(
    workers: &[Arc<dyn Worker>],
    command: &str,
    arguments: &Payload,
    calls: usize,
    window: usize,
) -> Result<Duration> {
    let sender = Sender::new(workers, command, arguments);
    let send = |worker: usize, id: usize| -> Result<_> {
        let (answer, answered) = oneshot::channel();
        sender.send(worker, id, Arc::new(Awaited(Mutex::new(Some(answer)))))?;
        Ok(async move { (worker, answered.await) })
    };
    let start = Instant::now();
    let mut under_way = FuturesUnordered::new();
    let mut sent = 0;
    for _ in 0..window {
        for worker in 0..workers.len() {
            sent += 1;
            under_way.push(send(worker, sent)?);
        }
    }
    while let Some((worker, event)) = under_way.next().await {
        match event? {
            CallEvent::Finished { .. } if sent < calls => {
                sent += 1;
                under_way.push(send(worker, sent)?);
            }
            CallEvent::Finished { .. } => {}
            other => anyhow::bail!("{other:?}"),
        }
    }
    Ok(start.elapsed())
}
