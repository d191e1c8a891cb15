//! A worker whose every answer a test decides. It holds what it is given and remembers what it is
//! told; nothing happens by itself, unless its profile says that calls take their time and end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{CountedSlots, lock};
use crate::call::{Call, CallEvent, CancelReason};
use crate::error::{Error, ErrorKind};
use crate::ids::{CallId, SessionId, WorkerId};
use crate::payload::{Codec, Payload};
use crate::slots::Slots;
use crate::tool::ToolCall;
use crate::worker::{
    BoxFuture, CreditExceeded, Reply, Teller, Tool, Worker, WorkerExit, WorkerInfo,
};

/// A worker of a test. Calls are named by their numbers.
pub struct FakeWorker {
    info: WorkerInfo,
    slots: Arc<dyn Slots>,
    said: Arc<Mutex<Said>>,
    exit: watch::Sender<Option<WorkerExit>>,
    frozen: Mutex<Option<Instant>>,
    conduct: Arc<Conduct>,
    stop_time: Duration,
    alive: Arc<Alive>,
}

/// Everything the worker was told, and the replies it holds.
#[derive(Default)]
struct Said {
    calls: Vec<(u64, Reply)>,
    commands: Vec<Arc<str>>,
    cancelled: Vec<(u64, CancelReason)>,
    revoked: Vec<u64>,
    granted: Vec<(u64, u32)>,
    stuck: Vec<u64>,
    ended: Vec<SessionId>,
    /// Answers to tool calls: the tool call's number, and the error's kind if it failed.
    tools: Vec<(u64, Option<ErrorKind>)>,
    offered: Vec<String>,
    unflushed: usize,
    refuses: bool,
    forgets: bool,
}

/// How the workers of one profile behave, and what became of them.
#[derive(Default)]
pub(super) struct Conduct {
    pub(super) log: Mutex<Vec<String>>,
    pub(super) private_bytes: Mutex<Option<u64>>,
    /// How long a check takes, and what is wrong.
    pub(super) health: Mutex<(Duration, Option<&'static str>)>,
    /// Calls end by themselves after as many milliseconds as their command says.
    pub(super) serves: AtomicBool,
    alive: AtomicUsize,
    most_alive: AtomicUsize,
}

impl Conduct {
    pub(super) fn say(&self, what: &str, id: &WorkerId) {
        lock(&self.log).push(format!("{what} {id}"));
    }

    pub(super) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    pub(super) fn most_alive(&self) -> usize {
        self.most_alive.load(Ordering::SeqCst)
    }
}

/// Counts one worker from the moment its start begins until it has stopped or died.
pub(super) struct Alive {
    conduct: Arc<Conduct>,
    over: AtomicBool,
}

impl Alive {
    pub(super) fn new(conduct: &Arc<Conduct>) -> Self {
        let now = conduct.alive.fetch_add(1, Ordering::SeqCst) + 1;
        conduct.most_alive.fetch_max(now, Ordering::SeqCst);
        Self { conduct: Arc::clone(conduct), over: AtomicBool::new(false) }
    }

    pub(super) fn end(&self) {
        if !self.over.swap(true, Ordering::SeqCst) {
            self.conduct.alive.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.end();
    }
}

impl FakeWorker {
    /// A worker with room for so many calls, ready at once.
    pub fn new(name: &str, capacity: usize) -> Arc<Self> {
        let conduct = Arc::default();
        let alive = Arc::new(Alive::new(&conduct));
        Arc::new(Self::of(WorkerId::from(name), capacity, Duration::ZERO, conduct, alive))
    }

    /// The same, but it does not remember what it was told: for measurements with many calls.
    pub fn forgetful(name: &str, capacity: usize) -> Arc<Self> {
        let worker = Self::new(name, capacity);
        worker.forget();
        worker
    }

    /// From now on it does not remember what it is told.
    pub fn forget(&self) {
        lock(&self.said).forgets = true;
    }

    pub(super) fn of(
        id: WorkerId,
        capacity: usize,
        stop_time: Duration,
        conduct: Arc<Conduct>,
        alive: Arc<Alive>,
    ) -> Self {
        Self {
            info: WorkerInfo::new(id, "fake"),
            slots: Arc::new(CountedSlots::new(capacity)),
            said: Arc::default(),
            exit: watch::Sender::new(None),
            frozen: Mutex::default(),
            conduct,
            stop_time,
            alive,
        }
    }

    /// Numbers of the calls it holds, in order.
    pub fn holds(&self) -> Vec<u64> {
        lock(&self.said).calls.iter().map(|(id, _)| *id).collect()
    }

    /// Commands it was ever given, in order.
    pub fn commands(&self) -> Vec<String> {
        lock(&self.said).commands.iter().map(|command| command.to_string()).collect()
    }

    /// Calls that were cancelled, and why.
    pub fn cancelled(&self) -> Vec<(u64, CancelReason)> {
        lock(&self.said).cancelled.clone()
    }

    /// Chunks it was allowed in all.
    pub fn granted(&self) -> u32 {
        lock(&self.said).granted.iter().map(|(_, n)| n).sum()
    }

    /// Calls it was told to be stuck in.
    pub fn stuck_calls(&self) -> Vec<u64> {
        lock(&self.said).stuck.clone()
    }

    /// Takes the list of sessions it was told are over.
    pub fn take_ended_sessions(&self) -> Vec<String> {
        let ended = std::mem::take(&mut lock(&self.said).ended);
        ended.iter().map(|session| session.as_str().to_owned()).collect()
    }

    /// Takes the list of calls it was asked to give back.
    pub fn take_revoked(&self) -> Vec<u64> {
        std::mem::take(&mut lock(&self.said).revoked)
    }

    /// How many of its slots are taken.
    pub fn load(&self) -> usize {
        self.slots.load()
    }

    /// Whether everything it was told was also sent.
    pub fn is_flushed(&self) -> bool {
        lock(&self.said).unflushed == 0
    }

    /// Takes no more calls.
    pub fn refuse_from_now_on(&self) {
        lock(&self.said).refuses = true;
    }

    /// Ends a call with its own number as the value.
    pub fn finish(&self, call: u64) {
        self.finish_after(call, Duration::from_micros(20));
    }

    /// Ends a call that claims to have run for so long.
    pub fn finish_after(&self, call: u64, run_time: Duration) {
        finish(self.take(call), run_time);
    }

    /// Ends the call it has held for longest, with this value.
    pub fn finish_first(&self, value: Payload) {
        let first = lock(&self.said).calls.remove(0).1;
        first.finish(CallEvent::Finished { value, run_time: Duration::from_micros(10) });
    }

    /// Fails a call as a tool does that raises.
    pub fn fail(&self, call: u64) {
        let error = Error::new(ErrorKind::Python, "boom");
        let run_time = Some(Duration::from_micros(20));
        self.take(call).finish(CallEvent::Failed { error, run_time });
    }

    /// Gives a call back that has not started.
    pub fn give_back(&self, call: u64) {
        self.take(call).finish(CallEvent::Returned);
    }

    /// Sends an item of a streamed call.
    ///
    /// # Errors
    /// `CreditExceeded` if it was not granted.
    pub fn chunk(&self, call: u64, item: u64) -> Result<(), CreditExceeded> {
        let reply = self.take(call);
        let told = reply.tell(CallEvent::Chunk(number(item)));
        lock(&self.said).calls.push((call, reply));
        told
    }

    /// Calls a tool of the host from inside a call.
    ///
    /// # Panics
    /// If it holds no such call.
    pub fn call_tool(&self, call: u64, tool_call: u64, name: &str) {
        let arguments = number(tool_call);
        let name = name.to_owned();
        let asked = ToolCall { id: tool_call, name, arguments, timeout: None };
        self.teller(call).tell(CallEvent::ToolCalled(asked));
    }

    /// No longer waits for a tool of the host.
    ///
    /// # Panics
    /// If it holds no such call.
    pub fn drop_tool(&self, call: u64, tool_call: u64) {
        self.teller(call).tell(CallEvent::ToolDropped(tool_call));
    }

    fn teller(&self, call: u64) -> Teller {
        let said = lock(&self.said);
        match said.calls.iter().find(|(id, _)| *id == call) {
            Some((_, reply)) => reply.teller(),
            None => panic!("the worker does not hold call {call}"),
        }
    }

    /// Takes the answers to its tool calls: their numbers, and the kinds of errors.
    pub fn take_tool_answers(&self) -> Vec<(u64, Option<ErrorKind>)> {
        std::mem::take(&mut lock(&self.said).tools)
    }

    /// Names of the tools it was told of last.
    pub fn offered(&self) -> Vec<String> {
        lock(&self.said).offered.clone()
    }

    /// Ends a streamed call.
    pub fn end_stream(&self, call: u64) {
        self.take(call).finish(CallEvent::StreamEnded { run_time: Duration::from_millis(1) });
    }

    /// Takes the reply of a call it holds; dropping it loses the call.
    ///
    /// # Panics
    /// If it holds no such call.
    pub fn take(&self, call: u64) -> Reply {
        let mut said = lock(&self.said);
        match said.calls.iter().position(|(id, _)| *id == call) {
            Some(position) => said.calls.remove(position).1,
            None => panic!("the worker does not hold call {call}"),
        }
    }

    /// Gives no sign of life from now on.
    pub fn freeze(&self) {
        *lock(&self.frozen) = Some(Instant::now());
    }

    /// Gives signs of life again.
    pub fn thaw(&self) {
        *lock(&self.frozen) = None;
    }

    /// Dies of a signal that was not sent by the host, such as `SIGSEGV`: its calls are lost with it,
    /// then it is gone.
    pub fn crash(&self, signal: &str) {
        self.refuse_from_now_on();
        let lost = std::mem::take(&mut lock(&self.said).calls);
        for (_, reply) in lost {
            let error = Error::worker_crashed(signal, &format!("it was ended by {signal}"));
            reply.finish(CallEvent::Failed { error, run_time: None });
        }
        self.die();
    }

    /// Dies as a process does: its calls are lost, then it is gone.
    pub fn die(&self) {
        self.end(WorkerExit::Died("killed by the test".to_owned()));
    }

    fn end(&self, exit: WorkerExit) {
        self.refuse_from_now_on();
        let lost = std::mem::take(&mut lock(&self.said).calls);
        // Not under the lock: a reply that is dropped tells its pool, which may come back here.
        drop(lost);
        self.alive.end();
        self.exit.send_replace(Some(exit));
    }

    /// Notes something that a flush has to follow.
    fn note(&self, what: impl FnOnce(&mut Said)) {
        let mut said = lock(&self.said);
        said.unflushed += 1;
        if !said.forgets {
            what(&mut said);
        }
    }
}

fn number(number: u64) -> Payload {
    Payload::encode(Codec::MsgPack, &number).expect("a number can be encoded")
}

fn finish(reply: Reply, run_time: Duration) {
    let value = number(reply.call().get());
    reply.finish(CallEvent::Finished { value, run_time });
}

/// Ends a call after its time, if it is still there.
fn serve(said: &Arc<Mutex<Said>>, call: &Call) {
    let millis = call.request.command.parse().expect("a command that says how long it takes");
    let (time, id) = (Duration::from_millis(millis), call.id);
    let said = Arc::clone(said);
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        let reply = {
            let mut said = lock(&said);
            let position = said.calls.iter().position(|(held, _)| *held == id.get());
            position.map(|position| said.calls.remove(position).1)
        };
        if let Some(reply) = reply {
            finish(reply, time);
        }
    });
}

impl Worker for FakeWorker {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn slots(&self) -> &Arc<dyn Slots> {
        &self.slots
    }

    fn submit(&self, call: &Call, _: Option<Duration>, reply: Reply) -> Result<(), Reply> {
        let mut said = lock(&self.said);
        if said.refuses {
            return Err(reply);
        }
        said.unflushed += 1;
        if !said.forgets {
            said.commands.push(Arc::clone(&call.request.command));
        }
        said.calls.push((call.id.get(), reply));
        drop(said);
        if self.conduct.serves.load(Ordering::Relaxed) {
            serve(&self.said, call);
        }
        Ok(())
    }

    fn cancel(&self, call: CallId, reason: CancelReason) {
        self.note(|said| said.cancelled.push((call.get(), reason)));
    }

    fn revoke(&self, calls: &[CallId]) {
        self.note(|said| said.revoked.extend(calls.iter().map(|call| call.get())));
    }

    fn grant(&self, call: CallId, chunks: u32) {
        self.note(|said| said.granted.push((call.get(), chunks)));
    }

    fn end_session(&self, session: &SessionId) {
        self.note(|said| said.ended.push(session.clone()));
    }

    fn answer_tool(&self, _: CallId, tool_call: u64, result: Result<Payload, Error>) {
        self.note(|said| said.tools.push((tool_call, result.err().map(|error| error.kind()))));
    }

    fn offer_tools(&self, tools: &[Tool]) {
        self.note(|said| said.offered = tools.iter().map(|tool| tool.name.clone()).collect());
    }

    fn flush(&self) {
        lock(&self.said).unflushed = 0;
    }

    fn stuck(&self, call: CallId) {
        lock(&self.said).stuck.push(call.get());
    }

    fn private_bytes(&self) -> Option<u64> {
        self.conduct.say("measure", &self.info.id);
        *lock(&self.conduct.private_bytes)
    }

    fn last_seen(&self) -> Option<Instant> {
        Some(lock(&self.frozen).unwrap_or_else(Instant::now))
    }

    fn check_health(&self) -> BoxFuture<'static, Result<(), String>> {
        let busy = !self.holds().is_empty();
        self.conduct.say(if busy { "check busy" } else { "check" }, &self.info.id);
        let (time, ill) = *lock(&self.conduct.health);
        Box::pin(async move {
            tokio::time::sleep(time).await;
            ill.map_or(Ok(()), |what| Err(what.to_owned()))
        })
    }

    fn exited(&self) -> BoxFuture<'static, WorkerExit> {
        let mut exit = self.exit.subscribe();
        Box::pin(async move {
            match exit.wait_for(Option::is_some).await {
                Ok(exit) => exit.clone().unwrap_or(WorkerExit::Stopped),
                Err(_) => WorkerExit::Died("dropped by the test".to_owned()),
            }
        })
    }

    fn stop(&self, _: Duration) -> BoxFuture<'static, WorkerExit> {
        let idle = self.holds().is_empty();
        self.conduct.say(if idle { "stop" } else { "stop busy" }, &self.info.id);
        if self.stop_time.is_zero() {
            self.end(WorkerExit::Stopped);
            return Box::pin(std::future::ready(WorkerExit::Stopped));
        }
        let (time, alive) = (self.stop_time, Arc::clone(&self.alive));
        let exit = self.exit.clone();
        Box::pin(async move {
            tokio::time::sleep(time).await;
            alive.end();
            exit.send_replace(Some(WorkerExit::Stopped));
            WorkerExit::Stopped
        })
    }
}

impl Drop for FakeWorker {
    fn drop(&mut self) {
        self.alive.end();
    }
}
