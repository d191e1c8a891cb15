//! The thread profile keeps what every profile must keep, with one thread and with several, with a
//! GIL and without.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use snakepit_bridge::LinkServer;
use snakepit_core::Profile;
use snakepit_core::testkit::conformance::Subject;
use snakepit_profile_thread::{GilPolicy, ThreadOptions, ThreadProfile};
use support::{free_threaded, with_gil};
use tokio::runtime::Handle;

struct Threads {
    profile: ThreadProfile,
    capacity: usize,
}

impl Threads {
    fn new(python: PathBuf, capacity: usize) -> Self {
        let runtime = Handle::current();
        let links = Arc::new(LinkServer::start(runtime.clone()));
        let mut options = ThreadOptions::new(python, "snakepit.conformance", capacity);
        // An interpreter that has one serves as well.
        options.gil = GilPolicy::Warn;
        let profile = ThreadProfile::new(options, links, runtime).unwrap();
        Self { profile, capacity }
    }
}

impl Subject for Threads {
    fn profile(&self) -> Arc<dyn Profile> {
        Arc::new(self.profile.clone())
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

mod one_thread {
    use super::{Threads, free_threaded};
    snakepit_core::conformance!(Threads::new(free_threaded(), 1));
}

mod four_threads {
    use super::{Threads, free_threaded};
    snakepit_core::conformance!(Threads::new(free_threaded(), 4));
}

mod four_threads_and_a_gil {
    use super::{Threads, with_gil};
    snakepit_core::conformance!(Threads::new(with_gil(), 4));
}
