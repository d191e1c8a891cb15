#![doc = include_str!("../README.md")]

mod environment;
mod launch;
mod options;
mod slot;
mod sync;
mod template;

use std::sync::Arc;

use snakepit_bridge::LinkServer;
use snakepit_core::{BoxFuture, Error, Profile, Seat, Worker};
use snakepit_worker::Workshop;
use tokio::runtime::Handle;

use template::Template;

pub use options::{ProcessOptions, StartMethod};
pub use slot::SingleSlot;
pub use snakepit_worker::WorkerOptions;

/// Makes workers that are Python processes and run one call at a time.
#[derive(Clone)]
pub struct ProcessProfile(Arc<Parts>);

struct Parts {
    workshop: Workshop,
    start: StartMethod,
    template: Template,
}

impl ProcessProfile {
    /// A profile whose workers attach to `links` and are watched on `runtime`, the runtime of the
    /// links.
    ///
    /// # Errors
    /// `System` when the thread that spawns processes cannot be started.
    pub fn new(
        options: ProcessOptions,
        links: Arc<LinkServer>,
        runtime: Handle,
    ) -> Result<Self, Error> {
        let ProcessOptions { worker, start } = options;
        let workshop = Workshop::new(worker, 1, links, runtime)?;
        Ok(Self(Arc::new(Parts { workshop, start, template: Template::default() })))
    }
}

impl Profile for ProcessProfile {
    fn name(&self) -> &'static str {
        slot::PROFILE
    }

    fn start(&self, seat: Seat) -> BoxFuture<'static, Result<Arc<dyn Worker>, Error>> {
        let parts = Arc::clone(&self.0);
        Box::pin(async move {
            let worker = launch::launch(&parts, &seat).await?;
            Ok(Arc::new(worker) as Arc<dyn Worker>)
        })
    }

    /// A new zygote imports the adapter. Without zygote each worker does so anyway.
    fn renew(&self) {
        self.0.template.renew();
    }

    /// Its zygote is ended after its workers.
    fn all_gone(&self) -> BoxFuture<'static, ()> {
        let parts = Arc::clone(&self.0);
        Box::pin(async move {
            parts.template.close().await;
            parts.workshop.all_gone().await;
        })
    }
}
