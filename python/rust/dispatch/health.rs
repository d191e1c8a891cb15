//! The adapter's own health check, and what it says as one sentence.

use pyo3::intern;
use pyo3::prelude::*;

use super::{Hooks, exception};

/// Asks the adapter how it is; what is wrong, or nothing. Runs in a copy of the calls' context and
/// without a call, so what the check leaves there reaches none.
pub(super) fn check(py: Python<'_>, hooks: &Hooks) -> String {
    let asked = hooks.context.bind(py).call_method0(intern!(py, "copy")).and_then(|context| {
        context.call_method1(intern!(py, "run"), (&hooks.health,))?.extract::<bool>()
    });
    match asked {
        Ok(true) => String::new(),
        Ok(false) => "its `health` returned False".to_owned(),
        Err(error) => {
            let raised = exception::describe(py, &error);
            match &*raised.message {
                "" => format!("its `health` raised {}", raised.type_name),
                text => format!("its `health` raised {}: {text}", raised.type_name),
            }
        }
    }
}
