//! What is said about sessions: sums, and one session at one moment.

use std::ops::AddAssign;
use std::time::Duration;

use serde::Serialize;

use crate::ids::{SessionId, WorkerId};
use crate::seconds::as_seconds;

/// The sessions of a store or a pool, and sums since that was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionStats {
    /// Sessions there are.
    pub active: usize,
    /// Bytes that their values take.
    pub data_bytes: u64,
    /// Sessions that were begun.
    pub begun: u64,
    /// Sessions that were ended.
    pub ended: u64,
    /// Sessions that ended by themselves because nobody used them.
    pub expired: u64,
    /// Sessions that were refused because there were too many.
    pub refused: u64,
    /// Calls that ran at the worker their session had.
    pub kept: u64,
    /// Calls that ran elsewhere because that worker had no free slot, or a worker was named.
    pub strayed: u64,
    /// Times that a session had to look for another worker because its own went.
    pub moved: u64,
    /// The same for sessions bound to their worker, whose callers are told.
    pub lost: u64,
}

impl AddAssign for SessionStats {
    fn add_assign(&mut self, other: Self) {
        let Self { active, data_bytes, begun, ended, expired, refused, kept, strayed, moved, lost } =
            other;
        self.active += active;
        self.data_bytes += data_bytes;
        self.begun += begun;
        self.ended += ended;
        self.expired += expired;
        self.refused += refused;
        self.kept += kept;
        self.strayed += strayed;
        self.moved += moved;
        self.lost += lost;
    }
}

/// One session at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its id.
    #[serde(serialize_with = "as_text")]
    pub id: SessionId,
    /// The worker that served it last, while that takes calls.
    #[serde(serialize_with = "as_optional_text")]
    pub worker: Option<WorkerId>,
    /// Whether it is bound to that worker.
    pub strict: bool,
    /// Time since it began.
    #[serde(rename = "age_seconds", serialize_with = "as_seconds")]
    pub age: Duration,
    /// Time since it was used; zero while a call of it is under way.
    #[serde(rename = "idle_seconds", serialize_with = "as_seconds")]
    pub idle: Duration,
    /// Calls that belonged to it.
    pub calls: u64,
    /// Those of them that have not ended.
    pub in_flight: usize,
    /// Names of its values.
    pub keys: Vec<String>,
    /// Bytes that its values take.
    pub data_bytes: u64,
}

fn as_text<S: serde::Serializer>(id: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_str())
}

fn as_optional_text<S: serde::Serializer>(
    id: &Option<WorkerId>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    id.as_ref().map(WorkerId::as_str).serialize(serializer)
}
