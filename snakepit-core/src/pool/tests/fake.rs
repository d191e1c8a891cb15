//! Short ways of saying things about pools and their fake workers.

use std::sync::Mutex;

use tokio::runtime::Handle;

use crate::call::Request;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::ids::SessionId;
use crate::payload::{Codec, Payload};
use crate::pool::{Completed, Pool, PoolOptions};
use crate::session::Affinity;
use crate::tool::{ToolHost, ToolJob};
use crate::worker::Tool;

pub(super) use crate::testkit::FakeWorker;

/// A pool on the current runtime's (paused) clock.
pub(super) fn pool(change: impl FnOnce(&mut PoolOptions)) -> Pool {
    let mut options = PoolOptions::new("test");
    options.prefetch = 0;
    change(&mut options);
    let runtime = Handle::current();
    Pool::new(options, Clock::of_runtime(runtime.clone()), &runtime)
}

pub(super) fn request(command: &str) -> Request {
    Request::new(command, Payload::encode(Codec::MsgPack, &()).unwrap())
}

pub(super) fn session_request(command: &str, session: &str) -> Request {
    Request { session: Some(SessionId::from(session)), ..request(command) }
}

/// A call of a session that holds to its worker.
pub(super) fn bound_request(session: &str, affinity: Affinity) -> Request {
    Request { affinity: Some(affinity), ..session_request("x", session) }
}

/// The number a fake worker answered with: the call's own.
pub(super) fn number(result: Result<Completed, Error>) -> u64 {
    result.unwrap().payload.decode().unwrap()
}

pub(super) fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    result.map(|_| "a value").unwrap_err().kind()
}

/// Lets the timer task of the pool run once without advancing the clock.
pub(super) async fn settle() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

/// Serves tools by keeping what is asked until the test decides.
#[derive(Default)]
pub(super) struct Jobs(Mutex<Vec<ToolJob>>);

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Jobs")
    }
}

impl Jobs {
    /// Takes what was asked first.
    pub(super) fn take(&self) -> ToolJob {
        self.0.lock().unwrap().remove(0)
    }
}

impl ToolHost for Jobs {
    fn tools(&self) -> Vec<Tool> {
        vec![Tool::new("lookup")]
    }

    fn run(&self, job: ToolJob) {
        self.0.lock().unwrap().push(job);
    }
}

/// Ends a tool.
pub(super) fn end(job: ToolJob) {
    job.reply.finish(Payload::encode(Codec::MsgPack, &()));
}

/// A call that a tool makes.
pub(super) fn nested(job: &ToolJob, command: &str) -> Request {
    job.caller.nest(command, Payload::encode(Codec::MsgPack, &()).unwrap())
}
