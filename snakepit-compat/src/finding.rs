//! Owns the shape of what was found when something was looked over: how bad it is, what it is, and
//! what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at, in a word or two.
    pub topic: String,
    /// What was found.
    pub message: String,
    /// What to do, unless all is well.
    pub remedy: Option<String>,
}

/// How bad a finding is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Level {
    /// As it should be.
    Fine,
    /// It works, with less than there could be.
    Warning,
    /// It does not work.
    Fatal,
}

impl Finding {
    /// All is well.
    pub fn fine(topic: &str, message: impl Into<String>) -> Self {
        Self { level: Level::Fine, topic: topic.to_owned(), message: message.into(), remedy: None }
    }

    /// Something is less than it could be.
    pub fn warning(topic: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, remedy: Some(remedy.into()), ..Self::fine(topic, message) }
    }

    /// Something does not work.
    pub fn fatal(topic: &str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Fatal, remedy: Some(remedy.into()), ..Self::fine(topic, message) }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fine => "ok",
            Self::Warning => "warning",
            Self::Fatal => "fatal",
        })
    }
}
