//! What workers say about calls, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::answers::Answer;
use super::caller::Completed;
use super::state::{Caller, Record, Stage};
use super::turn::Turn;
use crate::call::CallEvent;
use crate::error::Error;
use crate::ids::{CallId, WorkerId};
use crate::payload::Payload;
use crate::worker::{CallSink, CreditExceeded};

/// Lets workers tell a pool what becomes of its calls. The events hold the pool alive only while a
/// worker has calls.
impl CallSink for Shared {
    fn event(
        self: Arc<Self>,
        member: u64,
        call: CallId,
        event: CallEvent,
    ) -> Result<(), CreditExceeded> {
        let mut turn = Turn::new(&self);
        // A late answer, of a call that is gone or has moved to another worker, reaches nobody.
        let result = if turn.is_at(call, member) { turn.hear(member, call, event) } else { Ok(()) };
        turn.end();
        result
    }
}

impl Turn<'_> {
    pub(super) fn is_at(&self, call: CallId, member: u64) -> bool {
        let record = self.state.calls.get(&call);
        record.is_some_and(|r| matches!(&r.stage, Stage::Assigned(a) if a.member == member))
    }

    fn hear(&mut self, member: u64, call: CallId, event: CallEvent) -> Result<(), CreditExceeded> {
        match event {
            CallEvent::Chunk(item) => return self.chunk(call, item),
            CallEvent::Progress(progress) => {
                let handler =
                    self.state.calls.get(&call).and_then(|r| r.call.request.on_progress.clone());
                if let Some(handler) = handler {
                    self.report(handler, progress);
                }
                return Ok(());
            }
            CallEvent::Finished { value, run_time } => {
                self.finished(member, call, Outcome::Value(value), Some(run_time));
            }
            CallEvent::StreamEnded { run_time } => {
                self.finished(member, call, Outcome::StreamEnd, Some(run_time));
            }
            CallEvent::Failed { error, .. } if self.crashed(member, call, &error) => {}
            CallEvent::Failed { error, run_time } => {
                self.finished(member, call, Outcome::Error(error), run_time);
            }
            CallEvent::ToolCalled(tool_call) => self.tool_called(member, call, tool_call),
            CallEvent::ToolDropped(id) => self.tool_dropped(member, call, id),
            CallEvent::Returned => self.returned(member, call),
        }
        self.pump();
        Ok(())
    }

    fn finished(
        &mut self,
        member: u64,
        call: CallId,
        outcome: Outcome,
        run_time: Option<Duration>,
    ) {
        let Some(mut record) = self.state.remove(call) else {
            return;
        };
        let Stage::Assigned(assignment) = &mut record.stage else {
            return;
        };
        let (lease, dispatched) = (assignment.lease.take(), assignment.dispatched);
        if let Some(run_time) = run_time {
            self.state.estimates.observe(&record.call.request.command, run_time);
        }
        self.pass_on(member, lease);
        let state = &mut *self.state;
        let worker = state.members.get_mut(&member).map(|member| {
            member.served += 1;
            let served = member.served;
            if let Some((_, told)) = member.milestone.take_if(|(at, _)| *at <= served) {
                state.reached.push(told);
            }
            member.id().clone()
        });
        let counters = &mut state.counters;
        let answer = match outcome {
            _ if matches!(record.caller, Caller::Gone) => return self.retire(record, None),
            Outcome::Value(payload) => {
                counters.completed += 1;
                Answer::Value(Completed {
                    payload,
                    queue_time: dispatched - record.submitted,
                    run_time: run_time.unwrap_or_default(),
                    worker: worker.unwrap_or_else(|| WorkerId::from("")),
                })
            }
            Outcome::StreamEnd => {
                counters.completed += 1;
                Answer::StreamEnd
            }
            Outcome::Error(error) => {
                counters.failed += 1;
                Answer::Error(error)
            }
        };
        self.retire(record, Some(answer));
    }

    /// A call that never started goes back to its place, or ends if nobody could start it.
    fn returned(&mut self, member: u64, call: CallId) {
        let Some(mut record) = self.state.remove(call) else {
            return;
        };
        if let Stage::Assigned(assignment) = &mut record.stage {
            let lease = assignment.lease.take();
            self.pass_on(member, lease);
        }
        self.state.counters.returned += 1;
        let is_nested = record.call.request.caller.is_some();
        if matches!(record.caller, Caller::Gone) {
            return self.retire(record, None);
        }
        let error = if self.state.closed && !is_nested {
            self.closed()
        } else if let Some(worker) = &record.call.request.worker {
            Error::worker_lost(false, "it went before the call started")
                .with_detail("worker", worker.as_str())
        } else if let Some(error) = self.stranded(&record, member) {
            error
        } else {
            return self.put_back(call, record);
        };
        self.state.counters.failed += 1;
        self.retire(record, Some(Answer::Error(error)));
    }

    /// Puts a call that was at a worker back into its place in line.
    pub(super) fn put_back(&mut self, call: CallId, mut record: Box<Record>) {
        record.stage = Stage::Queued;
        let is_nested = record.call.request.caller.is_some();
        self.state.calls.insert(call, record);
        self.line_up(call);
        if is_nested {
            // It left the books with the rest of the call.
            self.nested_again(call);
        }
        self.time_queued(call);
    }

    fn chunk(&mut self, call: CallId, item: Payload) -> Result<(), CreditExceeded> {
        let Some(record) = self.state.calls.get_mut(&call) else {
            return Ok(());
        };
        if let Stage::Assigned(assignment) = &mut record.stage {
            assignment.last_chunk = self.now;
        }
        record.spoken = true;
        match &record.caller {
            Caller::Stream(buffer) => {
                let reader = buffer.push(item)?;
                self.wake_reader(reader);
                Ok(())
            }
            // Sent before the worker heard of the cancellation.
            Caller::Gone => Ok(()),
            Caller::One(_) => {
                // No chunk was ever granted to a call with one result.
                Err(CreditExceeded)
            }
        }
    }
}

enum Outcome {
    Value(Payload),
    StreamEnd,
    Error(Error),
}
