//! Where the value of a setting comes from.

use std::fmt;

use serde::Serialize;

use crate::error::Position;
use crate::node::Place;

/// The layer a value comes from; each is stronger than the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "layer", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The document.
    File {
        /// Its file, if it is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// Where in it.
        #[serde(flatten)]
        position: Position,
    },
    /// An environment variable.
    Variable {
        /// Its name.
        name: String,
    },
    /// A call of a builder, which is also what options of the command line become.
    Builder,
}

impl Origin {
    pub(crate) fn of(place: &Place, file: Option<&str>) -> Self {
        match place {
            Place::Text(position) => {
                Self::File { file: file.map(str::to_owned), position: *position }
            }
            Place::Variable(name) => Self::Variable { name: name.to_string() },
            Place::Default => Self::Default,
            Place::Builder => Self::Builder,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file: Some(file), position } => write!(f, "{file}:{position}"),
            Self::File { file: None, position } => position.fmt(f),
            Self::Variable { name } => f.write_str(name),
            Self::Builder => f.write_str("builder"),
        }
    }
}
