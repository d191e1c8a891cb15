//! The owner's view of one attached worker.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use snakepit_core::{
    Call, CallId, CancelReason, Error, ErrorKind, Payload, PoolName, Reply, SessionId, Tool,
    WorkerId,
};
use snakepit_proto::v1;
use snakepit_proto::v1::host_message::Frame;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::convert;
use crate::hello::Hello;
use crate::shared::{Gil, LinkEnd, Shared, wire_ids};

/// The link to one worker that has attached: the wire half of `snakepit_core::Worker`.
///
/// Whoever owns a link also decides what becomes of the calls in flight when it ends: only the
/// owner can tell when the worker cannot start another one. Call [`settle`](Self::settle) then.
/// Dropping the link closes it and counts every call in flight as started.
pub struct Link {
    shared: Arc<Shared>,
    hello: Hello,
}

/// Last signs of life of a worker.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Vitals {
    /// When its last frame of any kind came in.
    pub last_seen: Instant,
    /// Calls it was running at its last heartbeat.
    pub running: u32,
    /// Calls that waited in it at its last heartbeat.
    pub queued: u32,
    /// Whether the GIL was on when last looked at.
    pub gil_enabled: bool,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>, hello: Hello) -> Self {
        Self { shared, hello }
    }

    /// What the worker said about itself.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The worker.
    pub fn worker_id(&self) -> &WorkerId {
        &self.shared.worker_id
    }

    /// The pool it was started for.
    pub fn pool(&self) -> &PoolName {
        &self.shared.pool
    }

    /// Largest payload it accepts, in bytes.
    pub fn max_payload_bytes(&self) -> u64 {
        self.shared.max_payload_bytes
    }

    /// Calls that were submitted and have not had their last event.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight()
    }

    /// Queues a call; [`flush`](Self::flush) sends it. Arguments over the limit fail the call with
    /// `PayloadTooLarge` at the next flush.
    ///
    /// # Errors
    /// Gives `reply` back once the link is draining or has ended.
    pub fn submit(
        &self,
        call: &Call,
        timeout: Option<Duration>,
        reply: Reply,
    ) -> Result<(), Reply> {
        self.shared.submit(call, timeout, reply)
    }

    /// Queues the news that nobody waits for a call.
    ///
    /// Arguments that are still being sent are sent to the end: the worker knows the payload
    /// already, and the link is a local socket.
    pub fn cancel(&self, call: CallId, reason: CancelReason) {
        let reason = convert::reason_to_wire(reason).into();
        self.shared.push(Frame::Cancel(v1::Cancel { call_id: call.get(), reason }));
    }

    /// Queues the request to give calls back that have not started.
    pub fn revoke(&self, calls: &[CallId]) {
        if !calls.is_empty() {
            self.shared.push(Frame::Revoke(v1::Revoke { call_ids: wire_ids(calls) }));
        }
    }

    /// Queues room for more chunks of a call.
    pub fn grant(&self, call: CallId, chunks: u32) {
        if chunks > 0 {
            self.shared.push(Frame::Credit(v1::Credit { call_id: call.get(), chunks }));
        }
    }

    /// Queues the news that a session is over.
    pub fn end_session(&self, session: &SessionId) {
        let session_id = session.as_str().to_owned();
        self.shared.push(Frame::SessionEnd(v1::SessionEnd { session_id }));
    }

    /// Queues the answer to a tool call that one of its calls has made. A result over the limit
    /// becomes the error `PayloadTooLarge`.
    pub fn answer_tool(&self, call: CallId, tool_call: u64, result: Result<Payload, Error>) {
        self.shared.answer_tool(call, tool_call, result);
    }

    /// Queues the list of what the worker's calls may call, in place of the one before.
    pub fn offer_tools(&self, tools: &[Tool]) {
        let tools = tools.iter().map(convert::tool_to_wire).collect();
        self.shared.push(Frame::HostTools(v1::HostTools { tools }));
    }

    /// Sends what was queued. Wakes the link's writer only if it is waiting.
    pub fn flush(&self) {
        self.shared.flush();
    }

    /// Takes no more calls, lets the worker finish those it has, at most for `deadline`.
    ///
    /// # Errors
    /// `WorkerLost` if the link ends first.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting; the link stays closed to new calls.
    pub fn drain(
        &self,
        deadline: Option<Duration>,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        self.shared.drain(deadline);
        let mut drained = self.shared.drained();
        let ended = self.closed();
        async move {
            tokio::select! {
                // The sender lives as long as the link's reader, whose end the other branch sees.
                Ok(_) = drained.wait_for(|done| *done) => Ok(()),
                end = ended => Err(Error::worker_lost(false, &end.to_string())),
            }
        }
    }

    /// Takes no more calls and asks the worker to tear down within `grace` and exit.
    pub fn shutdown(&self, grace: Duration) {
        self.shared.shutdown(grace);
    }

    /// Asks for a sign of life and resolves with the time it took.
    ///
    /// # Errors
    /// `WorkerLost` if the link ends first.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answer.
    pub fn ping(&self) -> impl Future<Output = Result<Duration, Error>> + Send + use<> {
        let answer = self.shared.ping();
        let sent = Instant::now();
        async move {
            let lost = |_| {
                let kind = ErrorKind::WorkerLost { maybe_executed: false };
                Error::new(kind, "the link ended before the worker answered the ping")
            };
            answer.await.map_err(lost).map(|()| sent.elapsed())
        }
    }

    /// Has the worker run its adapter's own check; the inner error says what is wrong, for people.
    /// The worker must have a slot free for it.
    ///
    /// # Errors
    /// `WorkerLost` if the link ends first.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answer.
    pub fn check_health(
        &self,
    ) -> impl Future<Output = Result<Result<(), String>, Error>> + Send + use<> {
        let answer = self.shared.check_health();
        async move {
            let lost = |_| {
                let kind = ErrorKind::WorkerLost { maybe_executed: false };
                Error::new(kind, "the link ended before the worker reported its health")
            };
            answer.await.map_err(lost)
        }
    }

    /// The worker's last signs of life.
    pub fn vitals(&self) -> Vitals {
        let (running, queued, gil_enabled) = self.shared.vitals.read();
        Vitals { last_seen: self.shared.vitals.last_seen(), running, queued, gil_enabled }
    }

    /// The GIL of the worker's interpreter, now and whenever it changes. There are no more changes
    /// when the link has ended.
    pub fn gil(&self) -> watch::Receiver<Gil> {
        self.shared.vitals.gil()
    }

    /// Resolves when the link has ended; what the worker wrote before was read by then. Calls in
    /// flight wait for [`settle`](Self::settle).
    pub fn closed(&self) -> impl Future<Output = LinkEnd> + Send + use<> {
        let mut ended = self.shared.ended();
        async move {
            match ended.wait_for(Option::is_some).await {
                Ok(end) => end.clone().unwrap_or(LinkEnd::Closed),
                // Without its state a link is over, however that came about.
                Err(_) => LinkEnd::Closed,
            }
        }
    }

    /// Closes the link; [`closed`](Self::closed) resolves once what has arrived was read.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Tells every call still in flight its last event, by the control page: `Failed` with `lost` if
    /// its tool may have run, `Returned` if it was never entered.
    ///
    /// To be called when the link has ended and the worker is dead.
    pub fn settle(&self, lost: &Error) {
        self.shared.settle(lost);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.abandon(&Error::worker_lost(true, "its owner let go of it"));
    }
}
