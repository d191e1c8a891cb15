//! Calls that are made without a pool, and what a worker says about each. Keeps watch over the
//! contract meanwhile: one last event, no chunk without credit, nothing told from inside a function
//! that is called with the pool locked.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::lock;
use crate::call::{Call, CallEvent, CancelReason, Request};
use crate::error::Error;
use crate::ids::CallId;
use crate::payload::{Codec, Payload};
use crate::worker::{CallSink, CreditExceeded, Reply, Worker};

/// Time that is far more than anything here takes, and still an end.
pub const LONG: Duration = Duration::from_secs(60);

thread_local! {
    /// Whether this thread is inside a function of a worker that must not call back.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Makes calls of one worker.
pub struct Calls {
    worker: Arc<dyn Worker>,
    breaches: Arc<Mutex<Vec<String>>>,
}

/// A call that a worker has taken. It does not keep the worker.
pub struct InFlight {
    worker: Weak<dyn Worker>,
    id: CallId,
    record: Arc<Record>,
    events: mpsc::UnboundedReceiver<CallEvent>,
}

/// What the worker has said of one call.
struct Record {
    events: mpsc::UnboundedSender<CallEvent>,
    over: AtomicBool,
    /// Chunks that may still come.
    credit: AtomicU32,
    breaches: Arc<Mutex<Vec<String>>>,
}

impl CallSink for Record {
    fn event(
        self: Arc<Self>,
        _: u64,
        call: CallId,
        event: CallEvent,
    ) -> Result<(), CreditExceeded> {
        let breach = |what: &str| lock(&self.breaches).push(format!("call {call}: {what}"));
        if INSIDE.get() {
            breach("an event was told from inside a function that is called with the pool locked");
        }
        if self.over.load(Ordering::SeqCst) {
            breach(&format!("there was an event after the last one: {event:?}"));
        }
        match event {
            CallEvent::Chunk(_) => {
                let less = |credit: u32| credit.checked_sub(1);
                let credit = self.credit.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
                if credit.is_err() {
                    breach("a chunk came that was not granted");
                    return Err(CreditExceeded);
                }
            }
            CallEvent::Progress(_) | CallEvent::ToolCalled(_) | CallEvent::ToolDropped(_) => {}
            _ => self.over.store(true, Ordering::SeqCst),
        }
        // Nobody listens any more when the test has let go of the call.
        let _ = self.events.send(event);
        Ok(())
    }
}

/// Runs a function of a worker that must not tell anything before it returns.
fn inside<T>(function: impl FnOnce() -> T) -> T {
    INSIDE.set(true);
    let result = function();
    INSIDE.set(false);
    result
}

impl Calls {
    /// Calls of this worker.
    pub fn of(worker: &Arc<dyn Worker>) -> Self {
        Self { worker: Arc::clone(worker), breaches: Arc::default() }
    }

    /// Makes a call that returns one value.
    ///
    /// # Panics
    /// If the worker refuses it.
    #[track_caller]
    pub fn call(&self, command: &str, arguments: impl Serialize) -> InFlight {
        let taken = self.submit(request(command, arguments), None);
        taken.unwrap_or_else(|| panic!("the worker refused `{command}`"))
    }

    /// Makes a call that yields a stream, with so many chunks granted.
    ///
    /// # Panics
    /// If the worker refuses it.
    #[track_caller]
    pub fn stream(&self, command: &str, arguments: impl Serialize, credit: u32) -> InFlight {
        let taken = self.submit(request(command, arguments), Some(credit));
        taken.unwrap_or_else(|| panic!("the worker refused `{command}`"))
    }

    /// Hands the worker a call; `None` if it refuses.
    pub fn submit(&self, request: Request, stream_credit: Option<u32>) -> Option<InFlight> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = CallId::new(LAST.fetch_add(1, Ordering::Relaxed) + 1)?;
        let (sent, events) = mpsc::unbounded_channel();
        let record = Arc::new(Record {
            events: sent,
            over: AtomicBool::new(false),
            credit: AtomicU32::new(stream_credit.unwrap_or(0)),
            breaches: Arc::clone(&self.breaches),
        });
        let reply = Reply::new(record.clone(), 0, id);
        let timeout = request.timeout;
        let call = Call { id, request, stream_credit };
        if let Err(reply) = inside(|| self.worker.submit(&call, timeout, reply)) {
            reply.disarm();
            return None;
        }
        self.worker.flush();
        Some(InFlight { worker: Arc::downgrade(&self.worker), id, record, events })
    }

    /// Asks for calls back that have not started.
    pub fn revoke(&self, calls: &[&InFlight]) {
        let ids: Vec<_> = calls.iter().map(|call| call.id).collect();
        inside(|| self.worker.revoke(&ids));
        self.worker.flush();
    }

    /// Makes sure that the worker has kept the contract so far.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    pub fn assert_kept(&self) {
        let breaches = lock(&self.breaches);
        assert!(breaches.is_empty(), "the worker broke the contract: {breaches:#?}");
    }
}

/// A request with named arguments.
pub(super) fn request(command: &str, arguments: impl Serialize) -> Request {
    let arguments = Payload::encode(Codec::MsgPack, &arguments).expect("arguments can be encoded");
    Request::new(command, arguments)
}

impl InFlight {
    /// Its number.
    pub fn id(&self) -> CallId {
        self.id
    }

    /// Whether it has had its last event.
    pub fn is_over(&self) -> bool {
        self.record.over.load(Ordering::SeqCst)
    }

    /// Says that nobody waits for it.
    pub fn cancel(&self, reason: CancelReason) {
        self.tell(|worker| worker.cancel(self.id, reason));
    }

    /// Allows more chunks.
    pub fn grant(&self, chunks: u32) {
        self.record.credit.fetch_add(chunks, Ordering::SeqCst);
        self.tell(|worker| worker.grant(self.id, chunks));
    }

    /// Tells the worker something, if it is still there.
    fn tell(&self, what: impl FnOnce(&dyn Worker)) {
        if let Some(worker) = self.worker.upgrade() {
            inside(|| what(&*worker));
            worker.flush();
        }
    }

    /// The next thing the worker says of it.
    ///
    /// # Panics
    /// If it says nothing for [`LONG`].
    pub async fn event(&mut self) -> CallEvent {
        match tokio::time::timeout(LONG, self.events.recv()).await {
            Ok(Some(event)) => event,
            _ => panic!("nothing was said about call {}", self.id),
        }
    }

    /// Waits until its tool says how far it is.
    ///
    /// # Panics
    /// If it says anything else.
    pub async fn begun(&mut self) {
        let event = self.event().await;
        assert!(matches!(event, CallEvent::Progress(_)), "not progress but {event:?}");
    }

    /// Its next chunk.
    ///
    /// # Panics
    /// If something else comes.
    pub async fn chunk<T: DeserializeOwned>(&mut self) -> T {
        match self.event().await {
            CallEvent::Chunk(chunk) => chunk.decode().expect("a chunk of that type"),
            other => panic!("not a chunk but {other:?}"),
        }
    }

    /// Its last event; what comes before is passed over.
    pub async fn last_event(&mut self) -> CallEvent {
        loop {
            match self.event().await {
                CallEvent::Progress(_)
                | CallEvent::Chunk(_)
                | CallEvent::ToolCalled(_)
                | CallEvent::ToolDropped(_) => {}
                last => return last,
            }
        }
    }

    /// Its value.
    ///
    /// # Panics
    /// If it has none.
    pub async fn value<T: DeserializeOwned>(mut self) -> T {
        match self.last_event().await {
            CallEvent::Finished { value, .. } => value.decode().expect("a value of that type"),
            other => panic!("not a value but {other:?}"),
        }
    }

    /// Why it failed.
    ///
    /// # Panics
    /// If it has not.
    pub async fn error(mut self) -> Error {
        match self.last_event().await {
            CallEvent::Failed { error, .. } => error,
            other => panic!("not an error but {other:?}"),
        }
    }
}
