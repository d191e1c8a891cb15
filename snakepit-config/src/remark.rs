//! What became of the keys of a document in another form.

use std::fmt;

use serde::Serialize;

use crate::error::Position;

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Remark {
    /// Whether it lives on.
    pub kind: RemarkKind,
    /// The key in the other form, as `pool_config.pool_size`.
    pub key: String,
    /// What it became, or why it became nothing.
    pub message: String,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
}

/// Whether a key lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RemarkKind {
    /// It became another key.
    Became,
    /// It is accepted and has no meaning here.
    NoMeaning,
    /// It was left out, and may have mattered.
    NotTakenOver,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "{position}: ")?;
        }
        let kind = match self.kind {
            RemarkKind::Became => "became",
            RemarkKind::NoMeaning => "has no meaning here:",
            RemarkKind::NotTakenOver => "was not taken over:",
        };
        write!(f, "{} {kind} {}", self.key, self.message)
    }
}
