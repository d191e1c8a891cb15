//! What a child is made from. Plain data.

use std::ffi::OsString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use snakepit_core::{CallId, PoolName, WorkerId};

use super::marker::Marker;
use super::output::Output;

/// A program to run, and what it is given.
#[derive(Debug)]
pub struct ChildSpec {
    pub(crate) label: Label,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, Option<OsString>)>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) descriptors: Vec<(OwnedFd, i32)>,
    pub(crate) marker: Marker,
}

/// Who a child is in events, and how much of what it writes becomes some.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) pool: PoolName,
    pub(crate) worker: WorkerId,
    pub(crate) call: Option<CurrentCall>,
    pub(crate) output: Output,
}

impl Label {
    pub(crate) fn new(pool: PoolName, worker: WorkerId) -> Self {
        Self { pool, worker, call: None, output: Output::default() }
    }

    /// Names the call that it is in, too.
    pub(crate) fn name_call(&mut self, call: impl Fn() -> Option<CallId> + Send + Sync + 'static) {
        self.call = Some(CurrentCall(Arc::new(call)));
    }
}

/// Tells which call a child is in.
#[derive(Clone)]
pub(crate) struct CurrentCall(pub(crate) Arc<dyn Fn() -> Option<CallId> + Send + Sync>);

impl fmt::Debug for CurrentCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CurrentCall")
    }
}

impl ChildSpec {
    /// A child that runs `program` without arguments, in the host's directory and environment.
    /// Pool and worker name it in events.
    pub fn new(pool: PoolName, worker: WorkerId, program: impl Into<PathBuf>) -> Self {
        Self {
            label: Label::new(pool, worker),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            descriptors: Vec::new(),
            marker: Marker::unique(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), Some(value.into())));
        self
    }

    /// Leaves out an environment variable of the host's.
    #[must_use]
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.env.push((name.into(), None));
        self
    }

    /// Starts it in this directory.
    #[must_use]
    pub fn cwd(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cwd = Some(directory.into());
        self
    }

    /// Has the events of its output carry the call that it is in, where it runs one at a time.
    #[must_use]
    pub fn current_call(
        mut self,
        call: impl Fn() -> Option<CallId> + Send + Sync + 'static,
    ) -> Self {
        self.label.name_call(call);
        self
    }

    /// Has its output told by these options.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.label.output = output;
        self
    }

    /// Gives it a descriptor under a number of its own, 3 or above. It gets no other descriptor of
    /// the host's but its three standard ones.
    #[must_use]
    pub fn descriptor(mut self, descriptor: OwnedFd, number: i32) -> Self {
        self.descriptors.push((descriptor, number));
        self
    }
}
