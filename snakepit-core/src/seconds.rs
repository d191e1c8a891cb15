//! Times as programs read them: seconds, as a number.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// Serializes a time in seconds, or none as null: for `serialize_with`.
///
/// # Errors
/// What the serializer says.
pub fn as_seconds<S: Serializer>(
    time: &(impl Into<Option<Duration>> + Copy),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let time: Option<Duration> = (*time).into();
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}
