//! The process profile keeps what every profile must keep: forked workers, and spawned ones.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;

use snakepit_core::Profile;
use snakepit_core::testkit::conformance::Subject;
use snakepit_profile_process::{ProcessOptions, ProcessProfile, StartMethod};
use support::{profile, python};

struct Processes(ProcessProfile);

impl Processes {
    fn new(start: StartMethod) -> Self {
        let mut options = ProcessOptions::new(python(), "snakepit.conformance");
        options.start = start;
        Self(profile(options))
    }
}

impl Subject for Processes {
    fn profile(&self) -> Arc<dyn Profile> {
        Arc::new(self.0.clone())
    }

    fn capacity(&self) -> usize {
        1
    }
}

mod forked {
    use super::{Processes, StartMethod};
    snakepit_core::conformance!(Processes::new(StartMethod::Zygote));
}

mod spawned {
    use super::{Processes, StartMethod};
    snakepit_core::conformance!(Processes::new(StartMethod::Spawn));
}
