//! A worker whose every answer a test decides, and short ways of saying things.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::call::{Call, CallEvent, CancelReason, Request};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::ids::{CallId, SessionId, WorkerId};
use crate::payload::{Codec, Payload};
use crate::pool::{Completed, Pool, PoolOptions};
use crate::slots::Slots;
use crate::worker::{BoxFuture, CreditExceeded, Reply, Worker, WorkerExit, WorkerInfo};

pub(super) struct FakeWorker {
    info: WorkerInfo,
    slots: Arc<dyn Slots>,
    said: Mutex<Said>,
}

/// Everything the pool told the worker, and the replies it holds.
#[derive(Default)]
struct Said {
    calls: Vec<(u64, Reply)>,
    commands: Vec<String>,
    cancelled: Vec<(u64, CancelReason)>,
    revoked: Vec<u64>,
    granted: Vec<(u64, u32)>,
    stuck: Vec<u64>,
    unflushed: usize,
    refuses: bool,
}

impl FakeWorker {
    pub(super) fn new(name: &str, capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            info: WorkerInfo::new(WorkerId::from(name), "fake"),
            slots: Arc::new(Counted { capacity, taken: AtomicUsize::new(0) }),
            said: Mutex::default(),
        })
    }

    /// Numbers of the calls it holds, in order.
    pub(super) fn holds(&self) -> Vec<u64> {
        self.said.lock().unwrap().calls.iter().map(|(id, _)| *id).collect()
    }

    /// Commands it was ever given, in order.
    pub(super) fn commands(&self) -> Vec<String> {
        self.said.lock().unwrap().commands.clone()
    }

    pub(super) fn cancelled(&self) -> Vec<(u64, CancelReason)> {
        self.said.lock().unwrap().cancelled.clone()
    }

    pub(super) fn granted(&self) -> u32 {
        self.said.lock().unwrap().granted.iter().map(|(_, n)| n).sum()
    }

    pub(super) fn stuck_calls(&self) -> Vec<u64> {
        self.said.lock().unwrap().stuck.clone()
    }

    /// Takes the list of calls it was asked to give back.
    pub(super) fn take_revoked(&self) -> Vec<u64> {
        std::mem::take(&mut self.said.lock().unwrap().revoked)
    }

    pub(super) fn refuse_from_now_on(&self) {
        self.said.lock().unwrap().refuses = true;
    }

    pub(super) fn load(&self) -> usize {
        self.slots.load()
    }

    /// Whether everything the pool noted was also sent.
    pub(super) fn is_flushed(&self) -> bool {
        self.said.lock().unwrap().unflushed == 0
    }

    pub(super) fn finish(&self, call: u64) {
        self.finish_after(call, Duration::from_micros(20));
    }

    pub(super) fn finish_after(&self, call: u64, run_time: Duration) {
        let value = Payload::encode(Codec::MsgPack, &call).unwrap();
        self.take(call).finish(CallEvent::Finished { value, run_time });
    }

    pub(super) fn fail(&self, call: u64) {
        let error = Error::new(ErrorKind::Python, "boom");
        let run_time = Some(Duration::from_micros(20));
        self.take(call).finish(CallEvent::Failed { error, run_time });
    }

    pub(super) fn give_back(&self, call: u64) {
        self.take(call).finish(CallEvent::Returned);
    }

    pub(super) fn chunk(&self, call: u64, item: u64) -> Result<(), CreditExceeded> {
        let reply = self.take(call);
        let told = reply.tell(CallEvent::Chunk(Payload::encode(Codec::MsgPack, &item).unwrap()));
        self.said.lock().unwrap().calls.push((call, reply));
        told
    }

    pub(super) fn end_stream(&self, call: u64) {
        self.take(call).finish(CallEvent::StreamEnded { run_time: Duration::from_millis(1) });
    }

    /// Takes the reply of a call it holds.
    pub(super) fn take(&self, call: u64) -> Reply {
        let mut said = self.said.lock().unwrap();
        let position = said.calls.iter().position(|(id, _)| *id == call);
        said.calls.remove(position.unwrap_or_else(|| panic!("does not hold call {call}"))).1
    }
}

impl Worker for FakeWorker {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn slots(&self) -> &Arc<dyn Slots> {
        &self.slots
    }

    fn submit(&self, call: &Call, _: Option<Duration>, reply: Reply) -> Result<(), Reply> {
        let mut said = self.said.lock().unwrap();
        if said.refuses {
            return Err(reply);
        }
        said.calls.push((call.id.get(), reply));
        said.commands.push(call.request.command.to_string());
        said.unflushed += 1;
        Ok(())
    }

    fn cancel(&self, call: CallId, reason: CancelReason) {
        let mut said = self.said.lock().unwrap();
        said.cancelled.push((call.get(), reason));
        said.unflushed += 1;
    }

    fn revoke(&self, calls: &[CallId]) {
        let mut said = self.said.lock().unwrap();
        said.revoked.extend(calls.iter().map(|call| call.get()));
        said.unflushed += 1;
    }

    fn grant(&self, call: CallId, chunks: u32) {
        let mut said = self.said.lock().unwrap();
        said.granted.push((call.get(), chunks));
        said.unflushed += 1;
    }

    fn flush(&self) {
        self.said.lock().unwrap().unflushed = 0;
    }

    fn stuck(&self, call: CallId) {
        self.said.lock().unwrap().stuck.push(call.get());
    }

    fn exited(&self) -> BoxFuture<'static, WorkerExit> {
        Box::pin(std::future::pending())
    }

    fn stop(&self, _: Duration) -> BoxFuture<'static, WorkerExit> {
        Box::pin(std::future::ready(WorkerExit::Stopped))
    }
}

struct Counted {
    capacity: usize,
    taken: AtomicUsize,
}

impl Slots for Counted {
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn load(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    fn try_acquire(&self) -> bool {
        let more = |taken| (taken < self.capacity).then_some(taken + 1);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    fn release(&self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A pool on the current runtime's (paused) clock.
pub(super) fn pool(change: impl FnOnce(&mut PoolOptions)) -> Pool {
    let mut options = PoolOptions::new("test");
    options.prefetch = 0;
    change(&mut options);
    let runtime = Handle::current();
    Pool::new(options, Clock::of_runtime(runtime.clone()), &runtime)
}

pub(super) fn request(command: &str) -> Request {
    Request::new(command, Payload::encode(Codec::MsgPack, &()).unwrap())
}

pub(super) fn session_request(command: &str, session: &str) -> Request {
    Request { session: Some(SessionId::from(session)), ..request(command) }
}

/// The number a fake worker answered with: the call's own.
pub(super) fn number(result: Result<Completed, Error>) -> u64 {
    result.unwrap().payload.decode().unwrap()
}

pub(super) fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    result.map(|_| "a value").unwrap_err().kind()
}

/// Lets the timer task of the pool run once without advancing the clock.
pub(super) async fn settle() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}
