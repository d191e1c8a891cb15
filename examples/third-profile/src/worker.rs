//! One worker: its threads, the calls that wait for them, and those that run.
//!
//! Owns when a call starts and who says its last word. Invariant: starting, giving back, cancelling
//! and ending are decided under one lock, and nothing is told to anybody while it is held; the
//! worker's exit is told when everything else has been.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use snakepit_core::{
    BoxFuture, Call, CallEvent, CallId, CancelReason, Codec, Error, ErrorKind, Payload, Progress,
    Reply, Request, Seat, Slots, Tool, Worker, WorkerExit, WorkerInfo,
};
use tokio::sync::watch;

use crate::{NAME, Tools};

/// A worker of several threads. Dropping it ends it.
pub(crate) struct ThreadWorker {
    info: WorkerInfo,
    slots: Arc<dyn Slots>,
    body: Arc<Body>,
}

/// What the worker shares with its threads.
struct Body {
    tools: Tools,
    state: Mutex<State>,
    /// Wakes threads that wait for calls, and tools that wait for credit.
    news: Condvar,
    exit: watch::Sender<Option<WorkerExit>>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    running: HashMap<CallId, Arc<Running>>,
    /// Last words that are to be said at the next flush.
    unsaid: Vec<(Reply, CallEvent)>,
    /// Threads that have not ended.
    threads: usize,
    stopping: bool,
    /// Last words that are being said at this moment.
    saying: usize,
    /// How the worker has ended.
    ended: Option<WorkerExit>,
}

/// For as long as it is there, last words are being said and the exit is not.
struct Saying<'a>(&'a Body);

struct Waiting {
    request: Request,
    credit: Option<u32>,
    reply: Reply,
}

/// A call that a tool is in.
pub struct Running {
    body: Arc<Body>,
    request: Request,
    streaming: bool,
    cancelled: AtomicBool,
    abandoned: AtomicBool,
    credit: AtomicUsize,
    /// Gone when somebody else has had the last word.
    reply: Mutex<Option<Reply>>,
}

impl Running {
    /// The arguments of the call.
    ///
    /// # Errors
    /// `DecodeFailed` if they are of another type.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.request.arguments.decode()
    }

    /// Whether nobody waits for it any more.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Whether its worker has ended without it. A tool that does not look at this goes on for nobody.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// How many calls run in this worker now.
    pub fn beside(&self) -> usize {
        self.body.lock().running.len()
    }

    /// Tells the caller how far the tool is.
    pub fn progress(&self, done: f64) {
        let progress = Progress { done, ..Progress::default() };
        if let Some(reply) = &*lock(&self.reply) {
            // Only chunks can exceed a credit.
            let _ = reply.tell(CallEvent::Progress(progress));
        }
    }

    /// Sends an item of a stream, once it may.
    ///
    /// # Errors
    /// `Cancelled` if nobody waits for it; `EncodeFailed` if it cannot be sent.
    pub fn send(&self, item: &impl Serialize) -> Result<(), Error> {
        let item = Payload::encode(Codec::MsgPack, item)?;
        let mut state = self.body.lock();
        while !self.is_cancelled() && self.credit.load(Ordering::Relaxed) == 0 {
            state = self.body.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        if self.is_cancelled() {
            return Err(cancelled());
        }
        self.credit.fetch_sub(1, Ordering::Relaxed);
        match &*lock(&self.reply) {
            // What exceeds its credit is lost; nothing here does.
            Some(reply) => reply.tell(CallEvent::Chunk(item)).map_err(|_| cancelled()),
            None => Err(cancelled()),
        }
    }

    /// Ends the whole worker, as a crash would.
    pub fn crash(&self, how: &str) {
        self.body.end(WorkerExit::Died(how.to_owned()));
    }

    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    fn finish(&self, event: CallEvent) {
        // Taken first: the reply is told without the lock.
        let reply = lock(&self.reply).take();
        if let Some(reply) = reply {
            reply.finish(event);
        }
    }
}

/// The error of a call whose tool has stopped because nobody waits.
pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the call was cancelled")
}

impl ThreadWorker {
    pub(crate) fn start(
        seat: &Seat,
        threads: usize,
        tools: Tools,
        alive: watch::Sender<usize>,
    ) -> Result<Self, Error> {
        let mut info = WorkerInfo::new(seat.worker_id(), NAME);
        info.tools = tools
            .functions
            .iter()
            .map(|(name, (_, streaming))| {
                let mut tool = Tool::new(name);
                tool.streaming = *streaming;
                tool
            })
            .collect();
        info.metadata.insert("threads".to_owned(), threads.to_string());
        let state = Mutex::new(State { threads, ..State::default() });
        let exit = watch::Sender::new(None);
        let body = Arc::new(Body { tools, state, news: Condvar::new(), exit });
        let slots = Arc::new(Slotted { capacity: threads, taken: AtomicUsize::new(0) });
        // Made before the threads: a start that fails ends those it has started.
        let worker = Self { info, slots, body: Arc::clone(&body) };
        for _ in 0..threads {
            let body = Arc::clone(&body);
            let counted = Counted::new(alive.clone());
            let name = worker.info.id.to_string();
            let spawned = thread::Builder::new().name(name).spawn(move || {
                let _counted = counted;
                body.serve();
            });
            spawned.map_err(|error| {
                Error::new(ErrorKind::StartFailed, format!("no thread can be started: {error}"))
            })?;
        }
        Ok(worker)
    }
}

impl Body {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// What each thread does.
    fn serve(self: &Arc<Self>) {
        let mut state = self.lock();
        loop {
            if let Some(waiting) = state.waiting.pop_front() {
                let id = waiting.reply.call();
                let running = Arc::new(self.enter(waiting));
                state.running.insert(id, Arc::clone(&running));
                drop(state);
                let event = running.run();
                // It runs no more when its end is told: whoever hears of that may send the next.
                let (_, saying) = self.before_saying(|state| state.running.remove(&id));
                running.finish(event);
                drop(saying);
                state = self.lock();
            } else if state.stopping {
                break;
            } else {
                state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        state.threads -= 1;
        let last = state.threads == 0;
        drop(state);
        if last {
            self.end(WorkerExit::Stopped);
        }
    }

    fn enter(self: &Arc<Self>, waiting: Waiting) -> Running {
        Running {
            body: Arc::clone(self),
            request: waiting.request,
            streaming: waiting.credit.is_some(),
            cancelled: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            credit: AtomicUsize::new(waiting.credit.unwrap_or(0) as usize),
            reply: Mutex::new(Some(waiting.reply)),
        }
    }

    /// Decides under the lock what is to be said next.
    fn before_saying<T>(&self, decide: impl FnOnce(&mut State) -> T) -> (T, Saying<'_>) {
        let mut state = self.lock();
        state.saying += 1;
        (decide(&mut state), Saying(self))
    }

    /// Says what functions that may not speak have left to be said.
    fn say(&self) {
        let (unsaid, _saying) = self.before_saying(|state| std::mem::take(&mut state.unsaid));
        unsaid.into_iter().for_each(|(reply, event)| reply.finish(event));
    }

    /// Takes no more calls, gives back those that wait and cancels those that run.
    fn wind_up(&self) {
        let mut state = self.lock();
        state.stopping = true;
        let waiting = std::mem::take(&mut state.waiting).into_iter();
        state.unsaid.extend(waiting.map(|waiting| (waiting.reply, CallEvent::Returned)));
        state.running.values().for_each(|running| running.cancel());
        drop(state);
        self.news.notify_all();
        self.say();
    }

    /// Ends the worker; calls that still run are lost. The first end is the one that is told.
    fn end(&self, exit: WorkerExit) {
        let how = if let WorkerExit::Died(how) = &exit { how.clone() } else { String::new() };
        let ((waiting, running), _saying) = self.before_saying(|state| {
            state.stopping = true;
            state.ended.get_or_insert(exit);
            (std::mem::take(&mut state.waiting), std::mem::take(&mut state.running))
        });
        for running in running.into_values() {
            // Before its tool may see that it is over, and have another last word.
            let error = Error::worker_lost(true, &how);
            running.finish(CallEvent::Failed { error, run_time: None });
            running.cancel();
            running.abandoned.store(true, Ordering::Relaxed);
        }
        self.wake();
        waiting.into_iter().for_each(|waiting| waiting.reply.finish(CallEvent::Returned));
        self.say();
    }

    /// Has every thread look again at what was noted.
    fn wake(&self) {
        // Whoever has looked already waits once the lock is free, and hears of it.
        drop(self.lock());
        self.news.notify_all();
    }
}

impl Drop for Saying<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.saying -= 1;
        let over = if state.saying == 0 { state.ended.clone() } else { None };
        drop(state);
        if over.is_some() {
            self.0.exit.send_if_modified(|told| {
                let first = told.is_none();
                if first {
                    *told = over;
                }
                first
            });
        }
    }
}

impl Running {
    fn run(&self) -> CallEvent {
        let began = Instant::now();
        let result = self.call();
        let run_time = began.elapsed();
        match result {
            Ok(_) if self.streaming => CallEvent::StreamEnded { run_time },
            Ok(value) => CallEvent::Finished { value, run_time },
            Err(error) => CallEvent::Failed { error, run_time: Some(run_time) },
        }
    }

    fn call(&self) -> Result<Payload, Error> {
        let name = &*self.request.command;
        let Some((function, streams)) = self.body.tools.functions.get(name) else {
            return Err(Error::new(
                ErrorKind::UnknownCommand,
                format!("there is no tool `{name}`"),
            ));
        };
        match (*streams, self.streaming) {
            (true, false) => {
                return Err(Error::new(ErrorKind::StreamingRequired, "it yields a stream"));
            }
            (false, true) => {
                return Err(Error::new(ErrorKind::StreamingNotSupported, "it yields one value"));
            }
            _ => {}
        }
        // A panic fails its call and costs no thread.
        catch_unwind(AssertUnwindSafe(|| function(self)))
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "the tool panicked")))
    }
}

impl Worker for ThreadWorker {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn slots(&self) -> &Arc<dyn Slots> {
        &self.slots
    }

    fn submit(&self, call: &Call, _: Option<Duration>, reply: Reply) -> Result<(), Reply> {
        let mut state = self.body.lock();
        if state.stopping {
            return Err(reply);
        }
        let (request, credit) = (call.request.clone(), call.stream_credit);
        state.waiting.push_back(Waiting { request, credit, reply });
        Ok(())
    }

    fn cancel(&self, call: CallId, _: CancelReason) {
        let mut state = self.body.lock();
        if let Some(running) = state.running.get(&call) {
            running.cancel();
        } else if let Some(waiting) = take(&mut state, call) {
            let failed = CallEvent::Failed { error: cancelled(), run_time: None };
            state.unsaid.push((waiting.reply, failed));
        }
    }

    fn revoke(&self, calls: &[CallId]) {
        let mut state = self.body.lock();
        for call in calls {
            if let Some(waiting) = take(&mut state, *call) {
                state.unsaid.push((waiting.reply, CallEvent::Returned));
            }
        }
    }

    fn grant(&self, call: CallId, chunks: u32) {
        if let Some(running) = self.body.lock().running.get(&call) {
            running.credit.fetch_add(chunks as usize, Ordering::Relaxed);
        } else if let Some(waiting) = find(&mut self.body.lock(), call) {
            waiting.credit = waiting.credit.map(|credit| credit + chunks);
        }
    }

    fn flush(&self) {
        self.body.wake();
        self.body.say();
    }

    fn stuck(&self, call: CallId) {
        // A thread cannot be ended: it is left behind, and the worker takes its others along.
        if self.body.lock().running.contains_key(&call) {
            self.body.end(WorkerExit::Died(format!("call {call} does not let go of its thread")));
        }
    }

    fn check_health(&self) -> BoxFuture<'static, Result<(), String>> {
        let health = self.body.tools.health.as_ref().map_or(Ok(()), |health| health());
        Box::pin(std::future::ready(health))
    }

    fn exited(&self) -> BoxFuture<'static, WorkerExit> {
        let mut exit = self.body.exit.subscribe();
        Box::pin(async move {
            let exit = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
            exit.unwrap_or_else(|| WorkerExit::Died("nobody holds it".to_owned()))
        })
    }

    fn stop(&self, grace: Duration) -> BoxFuture<'static, WorkerExit> {
        let (body, exited) = (Arc::clone(&self.body), self.exited());
        Box::pin(async move {
            body.wind_up();
            match tokio::time::timeout(grace, exited).await {
                Ok(exit) => exit,
                Err(_late) => {
                    let exit = WorkerExit::Died("a call ignored the worker's stop".to_owned());
                    body.end(exit.clone());
                    exit
                }
            }
        })
    }
}

impl Drop for ThreadWorker {
    fn drop(&mut self) {
        self.body.end(WorkerExit::Died("it was dropped".to_owned()));
    }
}

fn take(state: &mut State, call: CallId) -> Option<Waiting> {
    let position = state.waiting.iter().position(|waiting| waiting.reply.call() == call)?;
    state.waiting.remove(position)
}

fn find(state: &mut State, call: CallId) -> Option<&mut Waiting> {
    state.waiting.iter_mut().find(|waiting| waiting.reply.call() == call)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As many slots as threads.
struct Slotted {
    capacity: usize,
    taken: AtomicUsize,
}

impl Slots for Slotted {
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn load(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn try_acquire(&self) -> bool {
        let more = |taken| (taken < self.capacity).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Acquire, Ordering::Relaxed, more).is_ok()
    }

    fn release(&self) {
        self.taken.fetch_sub(1, Ordering::Release);
    }
}

/// Counts a thread for as long as it is there.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(alive: watch::Sender<usize>) -> Self {
        alive.send_modify(|threads| *threads += 1);
        Self(alive)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|threads| *threads -= 1);
    }
}
