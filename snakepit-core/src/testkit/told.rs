//! Events as text, for tests of what is told. Owns the listening, and no claim about it.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

use super::lock;

/// The events of what runs on this thread, as people read them.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    /// Listens until the guard is dropped.
    #[must_use = "dropping the guard ends the listening"]
    pub fn listen(&self) -> DefaultGuard {
        // With a single subscriber, tracing asks that of the thread that meets an event first, and
        // in a test beside this one there is none: it would switch the event off for all.
        static SECOND: LazyLock<Dispatch> =
            LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
        LazyLock::force(&SECOND);
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false);
        tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish())
    }

    /// What has been told so far.
    pub fn text(&self) -> String {
        String::from_utf8(lock(&self.0).clone()).expect("events are written as UTF-8")
    }
}

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
