//! A worker that is none: it keeps the replies of its calls until it is told to answer, so that
//! nothing else is measured than the engine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use snakepit_core::{
    BoxFuture, Call, CallEvent, CallId, CancelReason, Error, Payload, Profile, Reply, Seat, Slots,
    Worker, WorkerExit, WorkerInfo,
};

/// The replies of calls that have not been answered.
#[derive(Clone, Default)]
pub(crate) struct Replies(Arc<Mutex<Vec<Reply>>>);

impl Replies {
    /// Answers the call that came last; none if there is none.
    pub(crate) fn finish_last(&self, value: Payload) -> Option<()> {
        let reply = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        reply.finish(CallEvent::Finished { value, run_time: Duration::from_micros(10) });
        Some(())
    }

    fn keep(&self, reply: Reply) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(reply);
    }
}

/// Makes workers that keep their calls' replies for the benchmark.
pub(crate) struct Prompt {
    pub(crate) replies: Replies,
}

impl Profile for Prompt {
    fn name(&self) -> &'static str {
        "prompt"
    }

    fn start(&self, seat: Seat) -> BoxFuture<'static, Result<Arc<dyn Worker>, Error>> {
        let info = WorkerInfo::new(seat.worker_id(), "prompt");
        let (slots, replies) = (Arc::new(OneSlot::default()), self.replies.clone());
        Box::pin(async move { Ok(Arc::new(PromptWorker { info, slots, replies }) as _) })
    }
}

struct PromptWorker {
    info: WorkerInfo,
    slots: Arc<dyn Slots>,
    replies: Replies,
}

impl Worker for PromptWorker {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn slots(&self) -> &Arc<dyn Slots> {
        &self.slots
    }

    fn submit(&self, _: &Call, _: Option<Duration>, reply: Reply) -> Result<(), Reply> {
        self.replies.keep(reply);
        Ok(())
    }

    fn cancel(&self, _: CallId, _: CancelReason) {}
    fn revoke(&self, _: &[CallId]) {}
    fn grant(&self, _: CallId, _: u32) {}
    fn flush(&self) {}
    fn stuck(&self, _: CallId) {}

    fn exited(&self) -> BoxFuture<'static, WorkerExit> {
        Box::pin(std::future::pending())
    }

    fn stop(&self, _: Duration) -> BoxFuture<'static, WorkerExit> {
        Box::pin(std::future::ready(WorkerExit::Stopped))
    }
}

#[derive(Default)]
struct OneSlot(AtomicBool);

impl Slots for OneSlot {
    fn capacity(&self) -> usize {
        1
    }

    fn load(&self) -> usize {
        usize::from(self.0.load(Ordering::Relaxed))
    }

    fn try_acquire(&self) -> bool {
        !self.0.swap(true, Ordering::Acquire)
    }

    fn release(&self) {
        self.0.store(false, Ordering::Release);
    }
}
