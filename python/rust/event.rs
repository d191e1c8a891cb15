//! Events: what an adapter tells its host besides results.
//!
//! Owns the function for it and where events go, which is the link of this process. Invariant: it
//! never waits, and what is too much is dropped and counted.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};
use snakepit_proto::v1;
use snakepit_proto::v1::number::Value;

use crate::link::Outbox;

/// Longest name or text of an event in bytes; events are for dashboards, not for payloads.
const MAX_TEXT_BYTES: usize = 4096;

/// A process has one link, made after any fork.
static HOST: OnceLock<Arc<Outbox>> = OnceLock::new();

/// From now on events go there.
pub(crate) fn attach(outbox: &Arc<Outbox>) {
    // A second link exists in tests only; the first stays.
    let _ = HOST.set(outbox.clone());
}

/// Tells the host of something; returns whether there is a host to tell.
///
/// Numbers become measurements, everything else becomes text.
#[pyfunction]
#[pyo3(signature = (name, measurements, details, call_id=0))]
pub(crate) fn tell(
    name: &str,
    measurements: &Bound<'_, PyDict>,
    details: &Bound<'_, PyDict>,
    call_id: u64,
) -> PyResult<bool> {
    let Some(outbox) = HOST.get() else {
        return Ok(false);
    };
    let mut event = v1::Event { name: shortened(name.to_owned()), call_id, ..v1::Event::default() };
    for (key, value) in measurements.iter() {
        match number(&value) {
            Some(number) => {
                event.measurements.insert(text(&key)?, v1::Number { value: Some(number) });
            }
            None => note(&mut event.details, &key, &value)?,
        }
    }
    for (key, value) in details.iter() {
        note(&mut event.details, &key, &value)?;
    }
    outbox.push_event(event);
    Ok(true)
}

fn number(value: &Bound<'_, PyAny>) -> Option<Value> {
    if let Ok(flag) = value.cast::<PyBool>() {
        return Some(Value::Integer(i64::from(flag.is_true())));
    }
    // An integer beyond 64 bits is as good as a float here.
    let integer = value.extract::<i64>().map(Value::Integer);
    integer.or_else(|_| value.extract::<f64>().map(Value::Real)).ok()
}

fn note(
    details: &mut HashMap<String, String>,
    key: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    details.insert(text(key)?, text(value)?);
    Ok(())
}

fn text(value: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(shortened(value.str()?.to_string_lossy().into_owned()))
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.push('…');
    }
    text
}
