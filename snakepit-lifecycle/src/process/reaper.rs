//! Where children are watched and collected.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Sees children to their end on one runtime. Clones are handles to the same one.
///
/// A runtime that ends kills and reaps the children it still watches; whoever wants them to end in
/// order waits for [`idle`](Self::idle) before.
#[derive(Clone, Debug)]
pub struct Reaper {
    runtime: Handle,
    tasks: TaskTracker,
}

impl Reaper {
    /// A reaper whose tasks run on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, tasks: TaskTracker::new() }
    }

    /// Resolves when every child was reaped and its output read.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting and nothing else.
    pub async fn idle(&self) {
        // Closed only means that `wait` may resolve; tasks can be added still.
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.spawn_on(task, &self.runtime)
    }
}
