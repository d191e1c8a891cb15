//! Workers that serve: a call's command says how many milliseconds it takes. Everything that
//! happens to them is in one log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use snakepit_core::{
    BoxFuture, Call, CallEvent, CallId, CancelReason, Clock, Codec, Completed, Error, ErrorKind,
    Payload, Pool, PoolOptions, Profile, Reply, Request, Seat, Slots, Worker, WorkerExit,
    WorkerInfo,
};
use snakepit_lifecycle::{Supervisor, SupervisorOptions};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// What becomes of one start.
pub(crate) enum Outcome {
    ReadyAfter(Duration),
    Fails,
    Hangs,
}

/// Gives each start its outcome from the script, then workers that are ready after a second.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) outcomes: Mutex<VecDeque<Outcome>>,
    pub(crate) workers: Mutex<Vec<Arc<Fake>>>,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    pub(crate) bytes: Arc<AtomicU64>,
    /// How long workers take to say how they are, and what they say; well at once by default.
    pub(crate) health: Arc<Mutex<(Duration, Option<&'static str>)>>,
    /// Workers and starts that exist, and the most there ever were.
    alive: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Script {
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    pub(crate) fn worker(&self, id: &str) -> Arc<Fake> {
        let workers = self.workers.lock().unwrap();
        workers.iter().find(|worker| worker.info.id.as_str() == id).unwrap().clone()
    }

    pub(crate) fn next(&self, outcome: Outcome) {
        self.outcomes.lock().unwrap().push_back(outcome);
    }
}

/// Counts one worker from the moment its start begins until it has stopped or died.
struct Alive {
    count: Arc<AtomicUsize>,
    over: AtomicBool,
}

impl Alive {
    fn new(script: &Script) -> Self {
        let now = script.alive.fetch_add(1, Ordering::SeqCst) + 1;
        script.most.fetch_max(now, Ordering::SeqCst);
        Self { count: script.alive.clone(), over: AtomicBool::new(false) }
    }

    fn end(&self) {
        if !self.over.swap(true, Ordering::SeqCst) {
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.end();
    }
}

impl Profile for Script {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn start(&self, seat: Seat) -> BoxFuture<'static, Result<Arc<dyn Worker>, Error>> {
        let outcome = self.outcomes.lock().unwrap().pop_front();
        let id = seat.worker_id();
        let alive = Alive::new(self);
        self.log.lock().unwrap().push(format!("start {id}"));
        let worker = Arc::new(Fake {
            info: WorkerInfo::new(id, "fake"),
            slots: Arc::new(OneSlot(AtomicBool::new(false))),
            exit: watch::Sender::new(None),
            log: self.log.clone(),
            held: Arc::default(),
            bytes: self.bytes.clone(),
            health: self.health.clone(),
            frozen: Mutex::default(),
            alive,
        });
        self.workers.lock().unwrap().push(worker.clone());
        Box::pin(async move {
            // A start that is dropped ends what it started.
            let mut start = Start { worker: worker.clone(), over: false };
            match outcome.unwrap_or(Outcome::ReadyAfter(SECOND)) {
                Outcome::ReadyAfter(time) => tokio::time::sleep(time).await,
                Outcome::Fails => return Err(Error::new(ErrorKind::AdapterFailed, "no adapter")),
                Outcome::Hangs => std::future::pending().await,
            }
            start.over = true;
            worker.say("ready");
            Ok(worker as Arc<dyn Worker>)
        })
    }
}

struct Start {
    worker: Arc<Fake>,
    over: bool,
}

impl Drop for Start {
    fn drop(&mut self) {
        if !self.over {
            self.worker.alive.end();
        }
    }
}

pub(crate) struct Fake {
    info: WorkerInfo,
    slots: Arc<dyn Slots>,
    exit: watch::Sender<Option<WorkerExit>>,
    log: Arc<Mutex<Vec<String>>>,
    held: Arc<Mutex<Vec<Reply>>>,
    bytes: Arc<AtomicU64>,
    health: Arc<Mutex<(Duration, Option<&'static str>)>>,
    frozen: Mutex<Option<Instant>>,
    alive: Alive,
}

impl Fake {
    fn say(&self, what: &str) {
        self.log.lock().unwrap().push(format!("{what} {}", self.info.id));
    }

    /// Gives no sign of life from now on.
    pub(crate) fn freeze(&self) {
        *self.frozen.lock().unwrap() = Some(Instant::now());
    }

    /// Gives signs of life again.
    pub(crate) fn thaw(&self) {
        *self.frozen.lock().unwrap() = None;
    }

    /// Dies as a process does: its calls are lost, then it is gone.
    pub(crate) fn die(&self) {
        drop(std::mem::take(&mut *self.held.lock().unwrap()));
        self.alive.end();
        self.exit.send_replace(Some(WorkerExit::Died("killed by the test".to_owned())));
    }
}

struct OneSlot(AtomicBool);

impl Slots for OneSlot {
    fn capacity(&self) -> usize {
        1
    }
    fn load(&self) -> usize {
        usize::from(self.0.load(Ordering::SeqCst))
    }
    fn try_acquire(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }
    fn release(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Worker for Fake {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }
    fn slots(&self) -> &Arc<dyn Slots> {
        &self.slots
    }

    fn submit(&self, call: &Call, _: Option<Duration>, reply: Reply) -> Result<(), Reply> {
        if self.exit.borrow().is_some() {
            return Err(reply);
        }
        let time = Duration::from_millis(call.request.command.parse().unwrap());
        let (id, held) = (call.id, self.held.clone());
        held.lock().unwrap().push(reply);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            let reply = {
                let mut held = held.lock().unwrap();
                let position = held.iter().position(|reply| reply.call() == id);
                position.map(|position| held.remove(position))
            };
            if let Some(reply) = reply {
                let value = Payload::encode(Codec::MsgPack, &id.get()).unwrap();
                reply.finish(CallEvent::Finished { value, run_time: time });
            }
        });
        Ok(())
    }

    fn cancel(&self, _: CallId, _: CancelReason) {}
    fn revoke(&self, _: &[CallId]) {}
    fn grant(&self, _: CallId, _: u32) {}
    fn flush(&self) {}
    fn stuck(&self, _: CallId) {}

    fn private_bytes(&self) -> Option<u64> {
        self.say("measure");
        Some(self.bytes.load(Ordering::SeqCst))
    }

    fn check_health(&self) -> BoxFuture<'static, Result<(), String>> {
        let busy = !self.held.lock().unwrap().is_empty();
        self.say(if busy { "check busy" } else { "check" });
        let (time, ill) = *self.health.lock().unwrap();
        Box::pin(async move {
            tokio::time::sleep(time).await;
            ill.map_or(Ok(()), |what| Err(what.to_owned()))
        })
    }

    fn last_seen(&self) -> Option<Instant> {
        Some(self.frozen.lock().unwrap().unwrap_or_else(Instant::now))
    }

    fn exited(&self) -> BoxFuture<'static, WorkerExit> {
        let mut exit = self.exit.subscribe();
        Box::pin(async move { exit.wait_for(Option::is_some).await.unwrap().clone().unwrap() })
    }

    fn stop(&self, _: Duration) -> BoxFuture<'static, WorkerExit> {
        let idle = self.held.lock().unwrap().is_empty();
        self.say(if idle { "stop" } else { "stop busy" });
        drop(std::mem::take(&mut *self.held.lock().unwrap()));
        self.exit.send_replace(Some(WorkerExit::Stopped));
        self.alive.end();
        Box::pin(std::future::ready(WorkerExit::Stopped))
    }
}

pub(crate) struct World {
    pub(crate) pool: Pool,
    pub(crate) script: Arc<Script>,
    pub(crate) supervisor: Supervisor,
}

/// A pool named `p` whose workers have just become ready.
pub(crate) async fn world(workers: usize, change: impl FnOnce(&mut SupervisorOptions)) -> World {
    let runtime = Handle::current();
    let mut options = PoolOptions::new("p");
    options.queue_timeout = None;
    options.queue_limit = 10_000;
    let pool = Pool::new(options, Clock::of_runtime(runtime.clone()), &runtime);
    let script = Arc::new(Script::default());
    let mut options = SupervisorOptions::new(workers);
    options.jitter = 0.0;
    change(&mut options);
    let supervisor =
        Supervisor::start(pool.clone(), script.clone(), options, &runtime).await.unwrap();
    script.take_log();
    World { pool, script, supervisor }
}

/// Calls that take so long, answered with the worker they ran on.
pub(crate) fn call(
    pool: &Pool,
    millis: u64,
) -> impl Future<Output = Result<Completed, Error>> + use<> {
    let arguments = Payload::from_bytes(Codec::Raw, "");
    let handle = pool.submit(Request::new(millis.to_string(), arguments));
    async move { handle?.await }
}
