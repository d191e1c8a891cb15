//! Frames from the host.
//!
//! Owns what each of them does. Never touches Python: a tool that holds the GIL must not be in the
//! way of a cancel. Invariant: each frame is handled at
//! once; nothing here waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustc_hash::FxHashMap;
use snakepit_proto::v1::host_message::Frame;
use snakepit_proto::v1::worker_message::Frame as Answer;
use snakepit_proto::v1::{self, CancelReason, ErrorKind};

use super::assembly::{Assembly, Whole};
use super::{Shared, Violation};
use crate::call::{CallState, Cancelled, Pending, Session, StopReason, ToolAnswer};

/// What the link has to do after a frame.
pub(super) enum After {
    /// Read on.
    Nothing,
    /// Cancel the running calls when this time is over.
    CancelIn(Duration),
}

pub(super) struct Reader {
    shared: Arc<Shared>,
    assembly: Assembly,
    /// Those that have had a call here and have not ended; as many as the host has at most.
    sessions: FxHashMap<String, Arc<Session>>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, welcome: &v1::Welcome) -> Self {
        let max_payload_bytes = match welcome.max_payload_bytes {
            0 => snakepit_proto::MAX_PAYLOAD_BYTES,
            bytes => bytes,
        };
        shared
            .max_payload_bytes
            .store(usize::try_from(max_payload_bytes).unwrap_or(usize::MAX), Ordering::Relaxed);
        if welcome.fragment_bytes > 0 {
            shared.outbox.set_fragment_bytes(welcome.fragment_bytes as usize);
        }
        shared.sharing.configure(welcome);
        let assembly = Assembly::new(max_payload_bytes, shared.sharing.clone());
        let sessions = FxHashMap::default();
        Self { shared, assembly, sessions }
    }

    pub(super) fn handle(&mut self, frame: Frame) -> Result<After, Violation> {
        match frame {
            Frame::Call(call) => self.call(call)?,
            Frame::Fragment(fragment) => {
                if let Some(whole) = self.assembly.add(fragment)? {
                    self.take(whole);
                }
            }
            Frame::Cancel(cancel) => self.cancel(&cancel),
            Frame::Revoke(revoke) => self.revoke(&revoke.call_ids),
            Frame::Credit(credit) => self.credit(&credit),
            Frame::Ping(ping) => self.shared.beat(ping.nonce),
            Frame::HealthCheck(check) => self.shared.queue.check(check.check_id),
            Frame::Drain(drain) => {
                self.shared.queue.drain();
                if drain.deadline_ms > 0 {
                    return Ok(After::CancelIn(Duration::from_millis(drain.deadline_ms)));
                }
            }
            Frame::Shutdown(_) => {
                self.shared.leaving.store(true, Ordering::Release);
                self.shared.queue.stop();
            }
            Frame::ToolResult(result) => {
                if let Some(whole) = self.assembly.answer(result.tool_call_id, result.value)? {
                    self.take(whole);
                }
            }
            Frame::ToolError(error) => {
                self.shared.tools.answer(error.tool_call_id, ToolAnswer::Failed(error));
            }
            Frame::HostTools(offered) => self.shared.tools.offer(offered.tools),
            Frame::ShmGrant(grant) => {
                self.shared.sharing.grant(&grant).map_err(Violation::of("ShmGrant"))?;
            }
            Frame::ShmRevoke(revoke) => self.shared.sharing.revoke(revoke.segment_ids),
            Frame::SessionEnd(end) => {
                // Its calls have come before; one that comes after it is another session's.
                if let Some(session) = self.sessions.remove(&end.session_id) {
                    self.shared.queue.end_session(session);
                }
            }
            // The host lacks something this worker can do without.
            Frame::Unimplemented(_) => {}
            Frame::Welcome(_) => return Err(Violation("a second Welcome".to_owned())),
        }
        Ok(After::Nothing)
    }

    fn call(&mut self, call: v1::Call) -> Result<(), Violation> {
        if call.call_id == 0 {
            return Err(Violation("a call without an id".to_owned()));
        }
        let timeout = (call.timeout_us > 0).then(|| Duration::from_micros(call.timeout_us));
        let mut state = CallState::new(call.call_id, call.command, timeout);
        state.session = self.session(call.session_id);
        state.traceparent = call.traceparent;
        state.metadata = call.metadata;
        state.streaming = call.streaming;
        state.depth = call.depth;
        if call.credit > 0 {
            state.add_credit(call.credit);
        }
        if let Some(whole) = self.assembly.start(state, call.arguments)? {
            self.take(whole);
        }
        Ok(())
    }

    fn session(&mut self, id: String) -> Option<Arc<Session>> {
        if id.is_empty() {
            return None;
        }
        if let Some(session) = self.sessions.get(&id) {
            return Some(Arc::clone(session));
        }
        let session = Arc::new(Session::new(id.clone()));
        self.sessions.insert(id, Arc::clone(&session));
        Some(session)
    }

    fn take(&self, whole: Whole) {
        match whole {
            Whole::Call(call) => self.enqueue(call),
            Whole::Answer(id, codec, parts, beside) => {
                self.shared.tools.answer(id, ToolAnswer::Value(codec, parts, beside));
            }
        }
    }

    fn enqueue(&self, call: Pending) {
        if let Err(call) = self.shared.queue.push(call) {
            // It crossed with the drain, or its fragments came after it.
            self.answer(Answer::Revoked(v1::Revoked { call_ids: vec![call.state.id] }));
        }
    }

    fn cancel(&mut self, cancel: &v1::Cancel) {
        let reason = match cancel.reason() {
            CancelReason::Deadline => StopReason::Deadline,
            _ => StopReason::Cancelled,
        };
        let id = cancel.call_id;
        match self.shared.queue.cancel(id, reason) {
            Cancelled::Running => {
                self.shared.tools.stop(id);
                self.shared.wake.wake();
            }
            Cancelled::Unknown if !self.assembly.forget(id) => {}
            Cancelled::Waiting | Cancelled::Unknown => {
                self.answer(Answer::Error(v1::Error {
                    call_id: id,
                    kind: ErrorKind::Cancelled.into(),
                    message: "the call was cancelled before it started".to_owned(),
                    ..Default::default()
                }));
            }
        }
    }

    fn revoke(&mut self, ids: &[u64]) {
        let mut call_ids = self.shared.queue.revoke(ids);
        call_ids.extend(ids.iter().filter(|id| self.assembly.forget(**id)));
        self.answer(Answer::Revoked(v1::Revoked { call_ids }));
    }

    fn credit(&self, credit: &v1::Credit) {
        let id = credit.call_id;
        // Credit for a call that has ended crossed with its end.
        if let Some(call) = self.shared.queue.find(id).or_else(|| self.assembly.find(id)) {
            call.add_credit(credit.chunks);
            self.shared.wake.wake();
        }
    }

    fn answer(&self, frame: Answer) {
        self.shared.outbox.push(frame);
    }
}
