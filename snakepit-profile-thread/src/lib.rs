#![doc = include_str!("../README.md")]

mod gil;
mod manner;
mod options;
mod slots;
mod sync;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use snakepit_bridge::LinkServer;
use snakepit_core::{BoxFuture, Error, ErrorKind, Profile, Seat, Worker};
use snakepit_worker::{PythonWorker, Workshop, variables};
use tokio::runtime::Handle;

use manner::{ManyCalls, PROFILE};

pub use options::{GilPolicy, ThreadOptions};
pub use slots::ThreadSlots;
pub use snakepit_worker::{MOST_CALLS as MOST_THREADS, WorkerOptions};

/// Makes workers that are Python processes and run several calls at a time, each on a thread.
#[derive(Clone)]
pub struct ThreadProfile(Arc<Parts>);

struct Parts {
    workshop: Workshop,
    threads: usize,
    gil: GilPolicy,
    /// How many threads native libraries may start in a worker.
    native_threads: usize,
    /// The pool has been told that its interpreter cannot be without a GIL.
    told: AtomicBool,
}

impl ThreadProfile {
    /// A profile whose workers attach to `links` and are watched on `runtime`, the runtime of the
    /// links.
    ///
    /// # Errors
    /// `InvalidConfig` for no thread or more than [`MOST_THREADS`]; `System` when the thread that
    /// spawns processes cannot be started.
    pub fn new(
        options: ThreadOptions,
        links: Arc<LinkServer>,
        runtime: Handle,
    ) -> Result<Self, Error> {
        let ThreadOptions { worker, threads, gil } = options;
        if !(1..=MOST_THREADS).contains(&threads) {
            let message = format!("a worker has 1 to {MOST_THREADS} threads, not {threads}");
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let native_threads = native_threads(cores, threads);
        let workshop = Workshop::new(worker, threads, links, runtime)?;
        let told = AtomicBool::new(false);
        Ok(Self(Arc::new(Parts { workshop, threads, gil, native_threads, told })))
    }
}

/// Of so many cores, the share of each call: what its library may use without getting in the way of
/// the other calls.
fn native_threads(cores: usize, threads: usize) -> usize {
    (cores / threads).max(1)
}

impl Parts {
    async fn launch(&self, seat: &Seat) -> Result<PythonWorker, Error> {
        let options = self.workshop.options();
        let deadline = self.workshop.deadline();
        let connection = self.workshop.connect(seat)?;
        let package = options.worker_package.as_deref();
        let env = variables(&options.env, package, self.native_threads, seat.index)?;
        let joined = self.workshop.spawn(seat, connection, env, deadline).await?;
        let manner = Arc::new(ManyCalls::new(self.threads));
        // Dropping what has joined ends it.
        gil::judge(self.gil, joined.link(), &manner, &self.told)?;
        self.workshop.accompany(gil::follow(self.gil, joined.link(), Arc::clone(&manner)));
        let metadata = [
            ("start", "spawn".to_owned()),
            ("threads", self.threads.to_string()),
            ("native_threads", self.native_threads.to_string()),
            ("gil", self.gil.name().to_owned()),
        ];
        Ok(PythonWorker::new(&self.workshop, joined, manner, metadata))
    }
}

impl Profile for ThreadProfile {
    fn name(&self) -> &'static str {
        PROFILE
    }

    fn start(&self, seat: Seat) -> BoxFuture<'static, Result<Arc<dyn Worker>, Error>> {
        let parts = Arc::clone(&self.0);
        Box::pin(async move {
            let worker = parts.launch(&seat).await?;
            Ok(Arc::new(worker) as Arc<dyn Worker>)
        })
    }

    fn all_gone(&self) -> BoxFuture<'static, ()> {
        let parts = Arc::clone(&self.0);
        Box::pin(async move { parts.workshop.all_gone().await })
    }
}

#[cfg(all(test, not(snakepit_loom)))]
mod tests {
    use super::native_threads;

    #[test]
    fn calls_share_the_cores_and_each_has_one_at_least() {
        assert_eq!(native_threads(16, 4), 4);
        assert_eq!(native_threads(16, 5), 3);
        assert_eq!(native_threads(2, 16), 1);
        assert_eq!(native_threads(8, 1), 8);
    }
}
