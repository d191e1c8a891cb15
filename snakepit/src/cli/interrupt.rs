//! Ctrl-C. The first one is told to whoever waits; the second one ends the program at once.

use tokio::runtime::Handle;
use tokio::sync::watch;

/// Whether the user wants to stop.
#[derive(Clone)]
pub(super) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens on `runtime`, which must not be the one that writes output: that may be stuck when
    /// the user loses patience.
    pub(super) fn listen(runtime: &Handle) -> Self {
        let (sender, receiver) = watch::channel(false);
        runtime.spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if sender.send_replace(true) {
                    std::process::exit(130);
                }
            }
        });
        Self(receiver)
    }

    /// One that never comes.
    #[cfg(test)]
    pub(super) fn never() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Whether it has come.
    pub(super) fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when it comes.
    pub(super) async fn raised(&mut self) {
        if self.0.wait_for(|raised| *raised).await.is_err() {
            // Nobody listens any more, so it never comes.
            std::future::pending::<()>().await;
        }
    }
}
