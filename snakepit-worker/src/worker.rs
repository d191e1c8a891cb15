//! One worker: its link and its process, joined.
//!
//! Owns how either end of the pair ends the other, and when calls in flight are decided: only when
//! the process is dead can nothing start any more. Slots, and what a call that is stuck means for the
//! others, are the profile's. Invariant: the process is gone and its calls
//! have had their last events before anybody is told that the worker exited.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use snakepit_bridge::{Link, LinkEnd};
use snakepit_core::{
    BoxFuture, Call, CallId, CancelReason, Error, Payload, Reply, SessionId, Slots, Tool, Worker,
    WorkerExit, WorkerInfo,
};
use snakepit_lifecycle::process::{Child, ExitReport, ExitStatus};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::dump;
use crate::workshop::{Joined, Workshop};

/// How long a worker may outlive its link unless it was asked to stop. A crash ends both at once;
/// what this bounds is a worker that lost its link by breaking a rule.
const OUTLIVE: Duration = Duration::from_millis(250);

/// Between SIGTERM and SIGKILL for a worker that is stuck in a call.
const STUCK_GRACE: Duration = Duration::from_secs(5);

/// How long a worker may take to show its stacks before it is ended by force. It takes milliseconds,
/// unless it is frozen.
const DUMP: Duration = Duration::from_secs(1);

/// What a profile makes of a worker.
pub trait Manner: Send + Sync + 'static {
    /// Name of the profile.
    fn profile(&self) -> &'static str;

    /// The only counter of the worker's capacity.
    fn slots(&self) -> &Arc<dyn Slots>;

    /// Told that a call has ignored its cancellation; says what becomes of the worker.
    fn stuck(&self, call: CallId) -> Stuck;

    /// Told that the worker takes no calls any more.
    fn closing(&self) {}

    /// See [`Worker::unfit`].
    fn unfit(&self) -> BoxFuture<'static, String> {
        Box::pin(std::future::pending())
    }
}

/// What becomes of a worker with a call that does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// It is ended at once: there is nothing else in it.
    End,
    /// It serves on without that slot until it is stopped, and then gets no time.
    ServeOn,
}

/// A worker process and the link to it.
pub struct PythonWorker {
    info: WorkerInfo,
    manner: Arc<dyn Manner>,
    body: Arc<Body>,
    exited: watch::Receiver<Option<WorkerExit>>,
    runtime: Handle,
    tasks: TaskTracker,
}

/// What the worker and the task that sees it to its end share.
struct Body {
    link: Link,
    child: Child,
    /// The worker takes the end of this stream for the host's death, and is asked for its stacks here.
    liveness: OwnedFd,
    /// It was asked to stop.
    stopping: AtomicBool,
    /// The call that it did not let go of, for which it is or will be ended.
    stuck: OnceLock<CallId>,
    /// It is being ended by force because of that call.
    ending: AtomicBool,
}

impl PythonWorker {
    /// Makes a worker of a process that has said hello, and sees it to its end from here on.
    /// `metadata` are the profile's facts about it, by name.
    pub fn new<'a>(
        workshop: &Workshop,
        joined: Joined,
        manner: Arc<dyn Manner>,
        metadata: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Self {
        let Joined { link, child, liveness } = joined;
        let mut info = describe(&link, &child, manner.profile());
        let metadata = metadata.into_iter().map(|(name, value)| (name.to_owned(), value));
        info.metadata.extend(metadata);
        let (stopping, stuck, ending) = Default::default();
        let body = Arc::new(Body { link, child, liveness, stopping, stuck, ending });
        let (told, exited) = watch::channel(None);
        let ending = Arc::clone(&body);
        workshop.endings.spawn_on(
            async move {
                let exit = ending.see_to_the_end().await;
                told.send_replace(Some(exit));
            },
            &workshop.runtime,
        );
        let (runtime, tasks) = (workshop.runtime.clone(), workshop.endings.clone());
        Self { info, manner, body, exited, runtime, tasks }
    }
}

impl Body {
    /// Waits until link and process are both gone and settles the calls that were in flight.
    async fn see_to_the_end(&self) -> WorkerExit {
        let closed = self.link.closed();
        let (end, report) = tokio::select! {
            report = self.child.exited() => {
                // A grandchild may hold the socket; the worker itself says nothing more.
                self.link.close();
                (closed.await, report)
            }
            end = self.link.closed() => (end, self.outlived().await),
        };
        let how = account(&end, &report, self.stuck.get());
        self.link.settle(&self.lost(&end, &report, &how));
        // Relaxed: the flag says what was asked for and publishes nothing else.
        // Of a worker that has outlived its zygote nobody knows the status; it did what it was asked.
        let well = matches!(report.status, ExitStatus::Code(0) | ExitStatus::Unknown);
        if self.stopping.load(Ordering::Relaxed) && well {
            WorkerExit::Stopped
        } else {
            WorkerExit::Died(how)
        }
    }

    /// The error of calls that the worker had begun. It names the signal where the worker was ended by
    /// one that was not sent from here.
    fn lost(&self, end: &LinkEnd, report: &ExitReport, how: &str) -> Error {
        let ours = self.stopping.load(Ordering::Relaxed)
            || self.stuck.get().is_some()
            || matches!(end, LinkEnd::Broken(_));
        match report.status.signal_name().filter(|_| !ours) {
            Some(signal) => Error::worker_crashed(signal, how),
            None => Error::worker_lost(true, how),
        }
    }

    /// Waits for the exit of a worker whose link has ended, and helps it along.
    async fn outlived(&self) -> ExitReport {
        // A worker that was asked to stop has been given its time by `stop`.
        if !self.stopping.load(Ordering::Relaxed)
            && let Err(_elapsed) = timeout(OUTLIVE, self.child.exited()).await
        {
            self.child.kill();
        }
        self.child.exited().await
    }

    /// Asks the worker to stop and ends it by force when `grace` is over.
    async fn stop(&self, grace: Duration) {
        if self.stuck.get().is_some() {
            // It would wait for a call that does not end. Its last answers are on their way.
            let why = "a call ignores its cancellation; ending its worker";
            if !self.ending.swap(true, Ordering::Relaxed) {
                return self.end_by_force(why, DUMP.min(grace), STUCK_GRACE.min(grace)).await;
            }
        }
        if timeout(grace, self.child.exited()).await.is_err() {
            let late = grace / 4;
            self.end_by_force("a worker ignores its stop; ending it", DUMP.min(late), late).await;
        }
    }

    /// Tells what the worker is doing, then ends its group: SIGTERM, `grace`, SIGKILL.
    async fn end_by_force(&self, why: &str, dump: Duration, grace: Duration) {
        let mut exited = std::pin::pin!(self.child.exited());
        let stacks = tokio::select! {
            // Its end is what was wanted.
            biased;
            _ = &mut exited => return,
            stacks = dump::of(&self.liveness, dump) => stacks,
        };
        let call = self.stuck.get().map(tracing::field::display);
        tracing::warn!(
            name: "worker.stuck",
            target: "snakepit::worker",
            worker_id = %self.link.worker_id(),
            pool = %self.link.pool(),
            pid = self.child.pid(),
            call,
            stacks,
            "{why}"
        );
        self.child.terminate(grace).await;
    }
}

/// What happened to a worker, as the end of a sentence that begins with it.
fn account(end: &LinkEnd, report: &ExitReport, stuck: Option<&CallId>) -> String {
    let status = report.status;
    let how = match (stuck, end) {
        (Some(call), _) => format!("it did not let go of call {call} and {status}"),
        (None, LinkEnd::Broken(rule)) => format!("it broke the protocol ({rule}) and {status}"),
        (None, _) => format!("it {status}"),
    };
    match report.stderr.iter().rev().find(|line| !line.trim().is_empty()) {
        Some(line) if status != ExitStatus::Code(0) => format!("{how}, last on stderr: {line}"),
        _ => how,
    }
}

fn describe(link: &Link, child: &Child, profile: &'static str) -> WorkerInfo {
    let hello = link.hello();
    let python = &hello.python;
    let mut info = WorkerInfo::new(link.worker_id().clone(), profile);
    info.pid = Some(child.pid());
    info.tools.clone_from(&hello.tools);
    info.metadata = [
        ("python.version", python.version.clone()),
        ("python.implementation", python.implementation.clone()),
        ("python.executable", python.executable.clone()),
        ("python.free_threaded", python.free_threaded_build.to_string()),
        ("python.gil", python.gil_enabled.to_string()),
        ("python.gil_module", python.gil_module.clone()),
        ("worker_package.version", hello.version.clone()),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    info
}

impl Worker for PythonWorker {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn slots(&self) -> &Arc<dyn Slots> {
        self.manner.slots()
    }

    fn submit(&self, call: &Call, timeout: Option<Duration>, reply: Reply) -> Result<(), Reply> {
        self.body.link.submit(call, timeout, reply)
    }

    fn cancel(&self, call: CallId, reason: CancelReason) {
        self.body.link.cancel(call, reason);
    }

    fn revoke(&self, calls: &[CallId]) {
        self.body.link.revoke(calls);
    }

    fn grant(&self, call: CallId, chunks: u32) {
        self.body.link.grant(call, chunks);
    }

    fn end_session(&self, session: &SessionId) {
        self.body.link.end_session(session);
    }

    fn answer_tool(&self, call: CallId, tool_call: u64, result: Result<Payload, Error>) {
        self.body.link.answer_tool(call, tool_call, result);
    }

    fn offer_tools(&self, tools: &[Tool]) {
        self.body.link.offer_tools(tools);
    }

    fn flush(&self) {
        self.body.link.flush();
    }

    fn stuck(&self, call: CallId) {
        // The one that ends the worker is the first of several to come here.
        let _ = self.body.stuck.set(call);
        if self.manner.stuck(call) == Stuck::ServeOn
            || self.body.ending.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let body = Arc::clone(&self.body);
        self.tasks.spawn_on(
            async move {
                let why = "a call ignores its cancellation; ending its worker";
                body.end_by_force(why, DUMP, STUCK_GRACE).await;
            },
            &self.runtime,
        );
    }

    fn unfit(&self) -> BoxFuture<'static, String> {
        self.manner.unfit()
    }

    fn private_bytes(&self) -> Option<u64> {
        crate::memory::private_bytes(self.body.child.pid())
    }

    fn last_seen(&self) -> Option<Instant> {
        Some(self.body.link.vitals().last_seen)
    }

    fn check_health(&self) -> BoxFuture<'static, Result<(), String>> {
        let report = self.body.link.check_health();
        Box::pin(async move {
            match report.await {
                Ok(report) => report,
                // Its exit says more.
                Err(_lost) => std::future::pending().await,
            }
        })
    }

    fn exited(&self) -> BoxFuture<'static, WorkerExit> {
        let mut exited = self.exited.clone();
        Box::pin(async move {
            match exited.wait_for(Option::is_some).await {
                Ok(exit) => exit.clone().unwrap_or(WorkerExit::Stopped),
                Err(_) => WorkerExit::Died("the runtime that watched it has ended".to_owned()),
            }
        })
    }

    fn stop(&self, grace: Duration) -> BoxFuture<'static, WorkerExit> {
        self.body.stopping.store(true, Ordering::Relaxed);
        self.manner.closing();
        self.body.link.shutdown(grace);
        let body = Arc::clone(&self.body);
        let exited = self.exited();
        Box::pin(async move {
            body.stop(grace).await;
            exited.await
        })
    }
}

impl Drop for PythonWorker {
    fn drop(&mut self) {
        // The task that sees to the end holds the child too; it goes on until the child is reaped.
        self.body.child.kill();
    }
}
