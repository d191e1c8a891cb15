//! Where children are watched and collected.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::marker::{self, Marker};
use super::strays::Strays;

/// Sees children to their end on one runtime. Clones are handles to the same one.
///
/// A runtime that ends kills and reaps the children it still watches; whoever wants them to end in
/// order waits for [`idle`](Self::idle) before.
#[derive(Clone, Debug)]
pub struct Reaper {
    runtime: Handle,
    tasks: TaskTracker,
    strays: Strays,
}

impl Reaper {
    /// A reaper whose tasks run on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, tasks: TaskTracker::new(), strays: Strays::new() }
    }

    /// Resolves when every child was reaped, its output read, and what it left behind ended.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting and nothing else.
    pub async fn idle(&self) {
        let _hurry = self.strays.hurry();
        // Closed only means that `wait` may resolve; tasks can be added still.
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends, soon, what a child that has ended has left behind.
    pub(super) fn end_strays(&self, mark: Marker) {
        if self.strays.add(mark) {
            self.spawn(self.strays.clone().look(marker::end_all));
        }
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
