//! A supervised pool of fake workers that serve: a call's command says how many milliseconds it
//! takes, and a worker is ready after a second.

use std::sync::Arc;
use std::time::Duration;

use snakepit_core::{Clock, Codec, Completed, Error, Payload, Pool, PoolOptions, Request};
use snakepit_lifecycle::{Supervisor, SupervisorOptions};
use tokio::runtime::Handle;

pub(crate) use snakepit_core::testkit::{FakeProfile, Start};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct World {
    pub(crate) pool: Pool,
    pub(crate) script: Arc<FakeProfile>,
    pub(crate) supervisor: Supervisor,
}

/// A pool named `p` whose workers have just become ready.
pub(crate) async fn world(workers: usize, change: impl FnOnce(&mut SupervisorOptions)) -> World {
    let runtime = Handle::current();
    let mut options = PoolOptions::new("p");
    options.queue_timeout = None;
    options.queue_limit = 10_000;
    let pool = Pool::new(options, Clock::of_runtime(runtime.clone()), &runtime);
    let script = Arc::new(FakeProfile::serving(1, Start::ReadyAfter(SECOND)));
    let mut options = SupervisorOptions::new(workers);
    options.jitter = 0.0;
    change(&mut options);
    let supervisor =
        Supervisor::start(pool.clone(), script.clone(), options, &runtime).await.unwrap();
    script.take_log();
    World { pool, script, supervisor }
}

/// Calls that take so long, answered with the worker they ran on.
pub(crate) fn call(
    pool: &Pool,
    millis: u64,
) -> impl Future<Output = Result<Completed, Error>> + use<> {
    let arguments = Payload::from_bytes(Codec::Raw, "");
    let handle = pool.submit(Request::new(millis.to_string(), arguments));
    async move { handle?.await }
}
