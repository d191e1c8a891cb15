//! What a worker and a profile are to the engine: the traits behind which processes, threads,
//! containers or other machines stand. Nothing here knows how a worker is made.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::call::{Call, CallEvent, CancelReason};
use crate::error::Error;
use crate::ids::{CallId, PoolName, SessionId, WorkerId};
use crate::payload::Payload;
use crate::slots::Slots;

/// A future in a box, for traits that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One running worker.
///
/// Everything but [`stop`](Self::stop) is synchronous and never blocks. `submit`, `cancel`,
/// `revoke`, `grant` and those about tools only note what is to be sent; [`flush`](Self::flush) sends it. They are
/// called with the pool locked, so they must not call a [`Reply`] before they return.
pub trait Worker: Send + Sync + 'static {
    /// What is known about it.
    fn info(&self) -> &WorkerInfo;

    /// The only counter of its capacity.
    fn slots(&self) -> &Arc<dyn Slots>;

    /// Hands over a call. Exactly one last event is told to `reply` unless the worker refuses.
    /// `timeout` is the time left until the call's deadline.
    ///
    /// # Errors
    /// Gives `reply` back when the worker takes no calls any more.
    fn submit(&self, call: &Call, timeout: Option<Duration>, reply: Reply) -> Result<(), Reply>;

    /// Tells the worker that nobody waits for a call. Its last event still comes.
    fn cancel(&self, call: CallId, reason: CancelReason);

    /// Asks for calls back that have not started. Those are answered with
    /// [`CallEvent::Returned`]; the others run on.
    fn revoke(&self, calls: &[CallId]);

    /// Allows more chunks of a streamed call.
    fn grant(&self, call: CallId, chunks: u32);

    /// Notes that a session is over, so that the worker drops what its tools keep for it. Calls of
    /// it that were submitted before go on; one submitted later under the same id belongs to another
    /// session. Like `submit` it only notes. For workers that keep nothing.
    fn end_session(&self, session: &SessionId) {
        let _ = session;
    }

    /// Answers a tool call that a call of this worker has made. Noted like the others.
    fn answer_tool(&self, call: CallId, tool_call: u64, result: Result<Payload, Error>) {
        // Of a worker that calls no tools nobody asks for an answer.
        drop((call, tool_call, result));
    }

    /// Tells the worker what its calls may call, in place of what it was told before. Noted like the
    /// others; calls that are submitted after it see it.
    fn offer_tools(&self, tools: &[Tool]) {
        let _ = tools;
    }

    /// Sends what was noted since the last flush. Called without any lock.
    fn flush(&self);

    /// Told that a call has ignored its cancellation for the grace period. The worker ends
    /// itself, by force if it must; or it serves on, asks to be [replaced](Self::unfit), and ends
    /// itself when it is stopped.
    fn stuck(&self, call: CallId);

    /// Resolves when the worker should be replaced although it serves on, with the reason as the end
    /// of a sentence that begins with it. Never resolves for one that has nothing to say.
    fn unfit(&self) -> BoxFuture<'static, String> {
        Box::pin(std::future::pending())
    }

    /// Bytes of memory that are the worker's alone; `None` where that is not known. The exception
    /// among these functions: it may take milliseconds, and nobody calls it with the pool locked.
    fn private_bytes(&self) -> Option<u64> {
        None
    }

    /// When the worker last gave a sign of life; `None` where nobody listens for one.
    fn last_seen(&self) -> Option<Instant> {
        None
    }

    /// Asks the worker's own check how it is; the error says what is wrong, for people. Whoever asks
    /// holds a slot of the worker meanwhile ([`Pool::borrow_slot`](crate::Pool::borrow_slot)). Never
    /// resolves for a worker that is gone.
    fn check_health(&self) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Resolves when the worker is gone, however it went; each call in flight has had its last
    /// event by then.
    fn exited(&self) -> BoxFuture<'static, WorkerExit>;

    /// Stops the worker: asks, waits `grace`, then ends it by force.
    fn stop(&self, grace: Duration) -> BoxFuture<'static, WorkerExit>;
}

/// How a worker is made. An open trait: the engine knows no profile by name.
pub trait Profile: Send + Sync + 'static {
    /// Name of the profile, such as `process`.
    fn name(&self) -> &'static str;

    /// Starts one worker and resolves when it is ready for calls.
    ///
    /// # Cancel safety
    /// Dropping the future ends a worker that was being started.
    fn start(&self, seat: Seat) -> BoxFuture<'static, Result<Arc<dyn Worker>, Error>>;

    /// Told that workers that start from now on are to take their program as it is on disk. For
    /// profiles that keep a copy.
    fn renew(&self) {}

    /// Resolves when nothing is left of what this profile has made, whether or not it became a
    /// worker.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting and nothing else.
    fn all_gone(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The place of a worker in its pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The pool.
    pub pool: PoolName,
    /// A number that no other living worker of the pool bears. A worker that died leaves it to its
    /// replacement; one that starts beside the worker it replaces has its own.
    pub index: usize,
    /// How many workers bore this index before.
    pub incarnation: u64,
}

impl Seat {
    /// The id of the worker in this seat.
    pub fn worker_id(&self) -> WorkerId {
        WorkerId::new(format!("{}.{}.{}", self.pool, self.index, self.incarnation))
    }
}

/// What is known about a running worker.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its id.
    #[serde(serialize_with = "as_text")]
    pub id: WorkerId,
    /// Its process, where it has one of its own.
    pub pid: Option<u32>,
    /// The profile that made it.
    pub profile: &'static str,
    /// What can be called.
    pub tools: Vec<Tool>,
    /// Further facts by name, such as `python.version`.
    pub metadata: std::collections::BTreeMap<String, String>,
}

impl WorkerInfo {
    /// Facts about a worker without tools or further particulars.
    pub fn new(id: WorkerId, profile: &'static str) -> Self {
        Self {
            id,
            pid: None,
            profile,
            tools: Vec::new(),
            metadata: std::collections::BTreeMap::new(),
        }
    }
}

fn as_text<S: serde::Serializer>(id: &WorkerId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_str())
}

/// One function that can be called.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tool {
    /// The name a call gives as its command.
    pub name: String,
    /// What it does, in a paragraph; may be empty.
    pub description: String,
    /// JSON Schema of the arguments.
    pub parameters: serde_json::Value,
    /// JSON Schema of the result or of one chunk; null if not known.
    pub returns: serde_json::Value,
    /// Whether it yields a stream.
    pub streaming: bool,
}

impl Tool {
    /// A tool that takes anything and says nothing of its result.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            parameters: serde_json::json!({"type": "object"}),
            returns: serde_json::Value::Null,
            streaming: false,
        }
    }
}

/// How a worker went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WorkerExit {
    /// It was asked to go and went.
    Stopped,
    /// It went by itself, was killed, or broke its link; the text says which, for people.
    Died(String),
}

/// Where a worker tells what becomes of one call.
///
/// Dropping it without a last event counts as the worker's death after the call had started, so no
/// caller waits for ever.
pub struct Reply {
    sink: Option<Arc<dyn CallSink>>,
    member: u64,
    call: CallId,
}

/// Who listens to replies: a pool, or a measurement that needs no pool.
pub trait CallSink: Send + Sync + 'static {
    /// Takes an event of a call. `member` is the number the reply was made with.
    ///
    /// # Errors
    /// `CreditExceeded` for a chunk that was not granted; the link that sent it must end.
    fn event(
        self: Arc<Self>,
        member: u64,
        call: CallId,
        event: CallEvent,
    ) -> Result<(), CreditExceeded>;
}

/// A worker sent more chunks than it was granted.
#[derive(Debug, thiserror::Error)]
#[error("the worker sent more chunks than it was granted")]
pub struct CreditExceeded;

impl Reply {
    /// Makes the reply of a call.
    pub fn new(sink: Arc<dyn CallSink>, member: u64, call: CallId) -> Self {
        Self { sink: Some(sink), member, call }
    }

    /// The call this is about.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// Tells an event that is not the last.
    ///
    /// # Errors
    /// `CreditExceeded` for a chunk that was not granted; the link that sent it must end.
    pub fn tell(&self, event: CallEvent) -> Result<(), CreditExceeded> {
        match &self.sink {
            Some(sink) => Arc::clone(sink).event(self.member, self.call, event),
            None => Ok(()),
        }
    }

    /// What tells something about tool calls while the reply itself is where it belongs: what follows
    /// from that may come back to the call.
    pub fn teller(&self) -> Teller {
        Teller { sink: self.sink.clone(), member: self.member, call: self.call }
    }

    /// Tells the last event.
    pub fn finish(mut self, event: CallEvent) {
        if let Some(sink) = self.sink.take() {
            // Only chunks can exceed a credit, and a chunk is never the last event.
            let _ = sink.event(self.member, self.call, event);
        }
    }

    /// Lets go of a call that the worker refused; tells nothing.
    pub(crate) fn disarm(mut self) {
        self.sink = None;
    }
}

/// Tells one thing about a call that is not its last, apart from its [`Reply`].
#[must_use = "it tells nothing by itself"]
pub struct Teller {
    sink: Option<Arc<dyn CallSink>>,
    member: u64,
    call: CallId,
}

impl Teller {
    /// Tells that a tool call begins or is given up.
    pub fn tell(self, event: CallEvent) {
        if let Some(sink) = self.sink {
            // Only chunks can exceed a credit.
            let _ = sink.event(self.member, self.call, event);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            let error = Error::worker_lost(true, "the worker dropped the call");
            let _ = sink.event(self.member, self.call, CallEvent::Failed { error, run_time: None });
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("call", &self.call).finish_non_exhaustive()
    }
}

/// Signals that native code brings on itself, and the one that the kernel sends when memory runs out.
const CRASHES: [&str; 6] = ["SIGSEGV", "SIGABRT", "SIGKILL", "SIGBUS", "SIGILL", "SIGFPE"];

impl Error {
    /// The worker died of this signal, such as `SIGSEGV`, while it had the call.
    pub fn worker_crashed(signal: &str, how: &str) -> Self {
        Self::worker_lost(true, how).with_detail("signal", signal)
    }

    /// The signal of which the worker died, if it was one that calls bring about: that of a fault in
    /// native code, an abort, or a kill for lack of memory.
    pub fn crash_signal(&self) -> Option<&str> {
        let lost = matches!(self.kind(), crate::error::ErrorKind::WorkerLost { .. });
        let signal = self.details().get("signal").filter(|_| lost)?;
        CRASHES.contains(&signal.as_str()).then_some(signal)
    }

    /// The worker died while it had the call.
    pub fn worker_lost(maybe_executed: bool, how: &str) -> Self {
        let kind = crate::error::ErrorKind::WorkerLost { maybe_executed };
        let message = format!("the worker was lost: {how}");
        if maybe_executed {
            Self::new(kind, message)
                .with_help("the tool may have run; repeat the call only if that does no harm")
        } else {
            Self::new(kind, message)
        }
    }
}
