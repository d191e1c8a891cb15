//! What a worker says: the hello, then frames until the link ends.
//!
//! Owns the order of things inside the host when a frame comes in: the call leaves the in-flight
//! table, then its reply is told, which dispatches the next call on this same thread. Nothing here
//! ever waits for a consumer. Invariant: however the reader ends, the link ends with it.

use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use snakepit_core::{CallEvent, Error, ErrorKind, Store, ToolCall};
use snakepit_proto::v1::host_message::Frame as HostFrame;
use snakepit_proto::v1::worker_message::Frame;
use snakepit_proto::v1::{self, WorkerMessage};
use snakepit_proto::{FRAGMENT_BYTES, SHM_CAPABILITY};
use tokio_stream::StreamExt;

use crate::convert;
use crate::hello::{self, Hello};
use crate::inbox::{Breach, CallFrame, Inbox};
use crate::link::Link;
use crate::server::Pending;
use crate::shared::{InFlight, LinkEnd, Shared};

/// Why the transport has no further frame.
pub(crate) enum Unreadable {
    /// The bytes are not a frame.
    Malformed(String),
    /// The connection broke.
    Lost,
}

/// Shared memory up to this size is made on the thread of the links: a quarter of a millisecond at a
/// gigabyte a second, which is what touching new pages takes.
const MOST_AT_ONCE: u64 = 256 * 1024;

/// Large wants of one worker that may be unanswered. Each of its calls waits for one at a time.
const MOST_WANTS: usize = snakepit_shm::RUNNING_SLOTS;

/// Serves the incoming half of one link until it ends.
pub(crate) async fn run(
    pending: Pending,
    mut incoming: impl Stream<Item = Result<WorkerMessage, Unreadable>> + Unpin,
) {
    let Pending { shared, done } = pending;
    let mut ending = Ending { shared: Arc::clone(&shared), end: LinkEnd::WorkerGone };
    let welcomed = match incoming.next().await {
        Some(Ok(message)) => welcome(&shared, message),
        Some(Err(Unreadable::Malformed(text))) => Err(hello::broken(&text)),
        Some(Err(Unreadable::Lost)) | None => Err(hello::missing()),
    };
    match welcomed {
        Ok(hello) => {
            shared.vitals.seen();
            let link = Link::new(Arc::clone(&shared), hello);
            // Nobody waits for the worker any more: dropping the link closes it.
            drop(done.send(Ok(link)));
        }
        Err(error) => {
            ending.end = LinkEnd::Broken(error.to_string());
            shared.farewell(error.to_string());
            drop(done.send(Err(error)));
            return;
        }
    }
    let mut reader = Reader {
        inbox: Inbox::new(shared.max_payload_bytes),
        wants: Arc::default(),
        released: Vec::new(),
        shared: Arc::clone(&shared),
    };
    while let Some(message) = incoming.next().await {
        let taken = match message {
            Ok(message) => {
                shared.traffic.received();
                reader.take(message)
            }
            Err(Unreadable::Malformed(text)) => Err(Offence::Malformed(text)),
            Err(Unreadable::Lost) => return,
        };
        if let Err(offence) = taken {
            ending.end = reader.judge(offence);
            return;
        }
    }
}

/// Checks the first frame and answers it.
fn welcome(shared: &Shared, message: WorkerMessage) -> Result<Hello, Error> {
    let hello = hello::accept(&shared.worker_id, message)?;
    shared.vitals.set_gil(hello.python.gil_enabled, &hello.python.gil_module);
    let loans = shared.loans.as_ref();
    let loans = loans.filter(|_| hello.capabilities.iter().any(|name| name == SHM_CAPABILITY));
    if let Some(loans) = loans {
        loans.serve();
    }
    shared.push(HostFrame::Welcome(v1::Welcome {
        contract: snakepit_proto::contract(),
        version: hello::HOST_VERSION.to_owned(),
        heartbeat_ms: u32::try_from(shared.heartbeat.as_millis()).unwrap_or(u32::MAX),
        max_payload_bytes: shared.max_payload_bytes,
        fragment_bytes: FRAGMENT_BYTES as u32,
        shm_threshold_bytes: loans.map_or(0, |loans| loans.memory.threshold().max(1) as u64),
        shm_strict: shared.loans.as_ref().is_some_and(|loans| loans.memory.is_strict()),
    }));
    shared.flush();
    Ok(hello)
}

/// Ends the link when the reader ends, by return, by panic or with its runtime.
struct Ending {
    shared: Arc<Shared>,
    end: LinkEnd,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.end(self.end.clone());
    }
}

/// Why a worker's link must end.
#[derive(Debug, thiserror::Error)]
enum Offence {
    #[error("malformed frame: {0}")]
    Malformed(String),
    #[error("a frame of a kind this host does not know")]
    UnknownFrame,
    #[error("{0} after the first frame")]
    LateHello(&'static str),
    #[error("{what} for call {call_id}, which is not in flight")]
    UnknownCall { what: &'static str, call_id: u64 },
    #[error("{what} for call {call_id}, which asked for {wanted}")]
    WrongShape { what: &'static str, call_id: u64, wanted: &'static str },
    #[error("shared memory: it is asked for more often than there are calls")]
    TooManyWants,
    #[error("shared memory: this worker has none")]
    NoMemory,
    #[error("chunk {found} of call {call_id} where {expected} was due")]
    ChunkOrder { call_id: u64, expected: u64, found: u64 },
    #[error("more chunks of call {call_id} than were granted")]
    CreditExceeded { call_id: u64 },
    #[error(transparent)]
    Fragments(#[from] Breach),
    #[error("shared memory: {0}")]
    Loans(#[from] snakepit_shm::Breach),
}

struct Reader {
    shared: Arc<Shared>,
    inbox: Inbox,
    /// Held by each large want that is not answered yet.
    wants: Arc<()>,
    released: Vec<(u64, CallFrame)>,
}

impl Reader {
    fn take(&mut self, message: WorkerMessage) -> Result<(), Offence> {
        self.shared.vitals.seen();
        let (inbox, loans) = (&mut self.inbox, self.shared.loans.as_ref());
        let (call_id, frame) = match message.frame.ok_or(Offence::UnknownFrame)? {
            Frame::Result(v1::Result { call_id, value, run_us }) => {
                let make = |value| CallFrame::Result { value, run_us };
                (call_id, inbox.with_payload(call_id, value, loans, make)?)
            }
            Frame::Error(error) => {
                (error.call_id, inbox.plain(error.call_id, CallFrame::Error(error))?)
            }
            Frame::Chunk(v1::Chunk { call_id, index, value }) => {
                let make = |value| CallFrame::Chunk { index, value };
                (call_id, inbox.with_payload(call_id, value, loans, make)?)
            }
            Frame::ChunkEnd(v1::ChunkEnd { call_id, chunks, run_us }) => {
                (call_id, inbox.plain(call_id, CallFrame::ChunkEnd { chunks, run_us })?)
            }
            Frame::ToolCall(tool) => {
                let v1::ToolCall { tool_call_id, call_id, name, arguments, timeout_us } = tool;
                let make =
                    |arguments| CallFrame::ToolCall { tool_call_id, name, timeout_us, arguments };
                (call_id, inbox.with_payload(call_id, arguments, loans, make)?)
            }
            Frame::ToolCancel(v1::ToolCancel { tool_call_id, call_id }) => {
                (call_id, inbox.plain(call_id, CallFrame::ToolCancel { tool_call_id })?)
            }
            Frame::Fragment(fragment) => {
                let mut released = std::mem::take(&mut self.released);
                inbox.fragment(fragment, &mut released)?;
                for (call_id, frame) in released.drain(..) {
                    self.deliver(call_id, frame)?;
                }
                self.released = released;
                return Ok(());
            }
            other => return self.aside(other),
        };
        match frame {
            Some(frame) => self.deliver(call_id, frame),
            None => {
                self.shared.note_spoken(call_id);
                Ok(())
            }
        }
    }

    /// Tells a call's reply what a whole frame says.
    fn deliver(&self, call_id: u64, frame: CallFrame) -> Result<(), Offence> {
        match frame {
            CallFrame::Result { value, run_us } => {
                let entry = self.entry(call_id, "a result")?;
                if entry.next_chunk.is_some() {
                    self.shared.put_back(call_id, entry);
                    let wanted = "a stream";
                    return Err(Offence::WrongShape { what: "a result", call_id, wanted });
                }
                let run_time = Duration::from_micros(run_us);
                entry.reply.finish(CallEvent::Finished { value, run_time });
            }
            CallFrame::Error(error) => {
                let mut entry = self.entry(call_id, "an error")?;
                let run_time = error.started.then(|| Duration::from_micros(error.run_us));
                let cause = entry.take_tool_error(error.tool_call_id);
                let mut error = convert::error(error, entry.next_chunk.is_some());
                if let Some(cause) = cause {
                    error = error.with_cause(cause);
                }
                entry.reply.finish(CallEvent::Failed { error, run_time });
            }
            CallFrame::Chunk { index, value } => {
                let mut entry = self.entry(call_id, "a chunk")?;
                let verdict = match &mut entry.next_chunk {
                    None => {
                        Err(Offence::WrongShape { what: "a chunk", call_id, wanted: "one value" })
                    }
                    Some(next) if *next != index => {
                        Err(Offence::ChunkOrder { call_id, expected: *next, found: index })
                    }
                    Some(next) => {
                        *next += 1;
                        entry
                            .reply
                            .tell(CallEvent::Chunk(value))
                            .map_err(|_| Offence::CreditExceeded { call_id })
                    }
                };
                self.shared.put_back(call_id, entry);
                verdict?;
            }
            CallFrame::ChunkEnd { chunks, run_us } => {
                let entry = self.entry(call_id, "the end of a stream")?;
                if entry.next_chunk != Some(chunks) {
                    let expected = entry.next_chunk.unwrap_or(0);
                    self.shared.put_back(call_id, entry);
                    return Err(Offence::ChunkOrder { call_id, expected, found: chunks });
                }
                let run_time = Duration::from_micros(run_us);
                entry.reply.finish(CallEvent::StreamEnded { run_time });
            }
            CallFrame::ToolCall { tool_call_id, name, timeout_us, arguments } => {
                let timeout = (timeout_us > 0).then(|| Duration::from_micros(timeout_us));
                let asked = ToolCall { id: tool_call_id, name, arguments, timeout };
                match self.shared.teller(call_id) {
                    Some(teller) => teller.tell(CallEvent::ToolCalled(asked)),
                    // Made by what the call has left behind.
                    None => self.answer(HostFrame::ToolError(convert::tool_error(
                        tool_call_id,
                        &Error::new(ErrorKind::Cancelled, "the call has ended"),
                    ))),
                }
            }
            CallFrame::ToolCancel { tool_call_id } => {
                if let Some(teller) = self.shared.teller(call_id) {
                    teller.tell(CallEvent::ToolDropped(tool_call_id));
                }
            }
        }
        Ok(())
    }

    fn entry(&self, call_id: u64, what: &'static str) -> Result<InFlight, Offence> {
        self.shared.take(call_id).ok_or(Offence::UnknownCall { what, call_id })
    }

    /// Frames that carry no payload and keep no order with a call's results.
    fn aside(&self, frame: Frame) -> Result<(), Offence> {
        match frame {
            Frame::Progress(progress) => {
                // The newest report may come after the result it was about; then it is too late.
                if let Some(entry) = self.shared.take(progress.call_id) {
                    let call_id = progress.call_id;
                    let told = entry.reply.tell(CallEvent::Progress(convert::progress(progress)));
                    self.shared.put_back(call_id, entry);
                    told.map_err(|_| Offence::CreditExceeded { call_id })?;
                }
            }
            Frame::Revoked(revoked) => {
                for call_id in revoked.call_ids {
                    let entry = self.entry(call_id, "a revocation")?;
                    entry.reply.finish(CallEvent::Returned);
                }
            }
            Frame::Heartbeat(beat) => {
                self.shared.vitals.beat(&beat);
                if beat.nonce != 0 {
                    self.shared.pong(beat.nonce);
                }
            }
            Frame::HealthReport(report) => self.shared.health_report(report),
            Frame::DrainDone(_) => self.shared.drain_done(),
            Frame::Log(record) => self.log(&record),
            Frame::Event(event) => self.event(&event),
            Frame::ShmRelease(release) => match &self.shared.loans {
                Some(loans) => loans.release(&release)?,
                None => return Err(Offence::NoMemory),
            },
            Frame::ShmWant(want) => self.want(want)?,
            Frame::Unimplemented(refusal) => tracing::warn!(
                worker = %self.shared.worker_id,
                frame = refusal.frame,
                call = refusal.call_id,
                "the worker does not serve a frame it was sent",
            ),
            Frame::Hello(_) => return Err(Offence::LateHello("a hello")),
            Frame::StartFailure(_) => return Err(Offence::LateHello("a start failure")),
            Frame::Result(_)
            | Frame::Error(_)
            | Frame::Chunk(_)
            | Frame::ChunkEnd(_)
            | Frame::ToolCall(_)
            | Frame::ToolCancel(_)
            | Frame::Fragment(_) => return Err(Offence::UnknownFrame),
        }
        Ok(())
    }

    /// Answers through the link's notices, when the memory is there.
    fn want(&self, want: v1::ShmWant) -> Result<(), Offence> {
        let Some(loans) = &self.shared.loans else { return Err(Offence::NoMemory) };
        if want.size_bytes <= MOST_AT_ONCE {
            loans.want(&want);
            return Ok(());
        }
        if Arc::strong_count(&self.wants) > MOST_WANTS {
            return Err(Offence::TooManyWants);
        }
        let (shared, open) = (Arc::clone(&self.shared), Arc::clone(&self.wants));
        // Whoever wants it waits for the answer; the link does not, nor any other.
        drop(tokio::task::spawn_blocking(move || {
            if let Some(loans) = &shared.loans {
                loans.want(&want);
            }
            drop(open);
        }));
        Ok(())
    }

    fn answer(&self, frame: HostFrame) {
        self.shared.push(frame);
        self.shared.flush();
    }

    /// What an adapter tells of becomes an event of this program, with text as JSON: the names in it
    /// are the adapter's.
    fn event(&self, event: &v1::Event) {
        if event.dropped > 0 {
            tracing::warn!(
                worker = %self.shared.worker_id,
                pool = %self.shared.pool,
                dropped = event.dropped,
                "the adapter told of more events than could leave; those were dropped",
            );
        }
        tracing::info!(
            target: "snakepit::python",
            worker = %self.shared.worker_id,
            pool = %self.shared.pool,
            call = event.call_id,
            event = event.name,
            measurements = %convert::measurements(&event.measurements),
            metadata = %serde_json::json!(event.details),
        );
    }

    fn log(&self, record: &v1::Log) {
        macro_rules! emit {
            ($level:ident) => {
                tracing::$level!(
                    target: "snakepit::worker::log",
                    worker = %self.shared.worker_id,
                    pool = %self.shared.pool,
                    logger = record.logger,
                    call = record.call_id,
                    "{}",
                    record.message
                )
            };
        }
        match record.level() {
            v1::LogLevel::Error => emit!(error),
            v1::LogLevel::Warning => emit!(warn),
            v1::LogLevel::Info => emit!(info),
            v1::LogLevel::Debug | v1::LogLevel::Unspecified => emit!(debug),
        }
    }

    /// Turns an offence into the link's end.
    fn judge(&self, offence: Offence) -> LinkEnd {
        let rule = offence.to_string();
        tracing::warn!(
            worker = %self.shared.worker_id,
            pool = %self.shared.pool,
            rule,
            "the worker broke the protocol; its link ends",
        );
        self.shared.farewell(rule.clone());
        LinkEnd::Broken(rule)
    }
}
