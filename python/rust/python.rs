//! Facts about the interpreter.
//!
//! Owns the questions asked of `sys`. Invariant: what is asked is whether the GIL is on, never
//! which version usually has one.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use snakepit_proto::v1::PythonInfo;

/// The interpreter as the host is told of it, but for its GIL. Asked once: in a zygote that is for all
/// its workers.
pub(crate) fn describe(py: Python<'_>) -> PyResult<&'static PythonInfo> {
    static DESCRIBED: PyOnceLock<PythonInfo> = PyOnceLock::new();
    DESCRIBED.get_or_try_init(py, || ask(py))
}

fn ask(py: Python<'_>) -> PyResult<PythonInfo> {
    let sys = py.import(intern!(py, "sys"))?;
    let version = sys.getattr(intern!(py, "version_info"))?;
    let part = |name: &str| version.getattr(name)?.extract::<u32>();
    let mut text = format!("{}.{}.{}", part("major")?, part("minor")?, part("micro")?);
    let level: String = version.getattr(intern!(py, "releaselevel"))?.extract()?;
    if level != "final" {
        let short = match &*level {
            "candidate" => "rc",
            "beta" => "b",
            _ => "a",
        };
        text = format!("{text}{short}{}", part("serial")?);
    }
    let executable = sys.getattr(intern!(py, "executable"))?;
    Ok(PythonInfo {
        version: text,
        implementation: sys
            .getattr(intern!(py, "implementation"))?
            .getattr(intern!(py, "name"))?
            .extract()?,
        free_threaded_build: is_free_threaded_build(py)?,
        gil_enabled: is_gil_enabled(py)?,
        // It is None or empty where the interpreter does not know.
        executable: executable.extract().unwrap_or_default(),
        gil_module: String::new(),
    })
}

/// Whether this build can run without the GIL.
fn is_free_threaded_build(py: Python<'_>) -> PyResult<bool> {
    let flags = py.import(intern!(py, "sys"))?.getattr_opt(intern!(py, "abiflags"))?;
    Ok(match flags {
        Some(flags) => flags.extract::<String>()?.contains('t'),
        None => false,
    })
}

/// Whether the GIL is on now.
fn is_gil_enabled(py: Python<'_>) -> PyResult<bool> {
    match py.import(intern!(py, "sys"))?.getattr_opt(intern!(py, "_is_gil_enabled"))? {
        Some(ask) => ask.call0()?.extract(),
        None => Ok(true),
    }
}

/// How many modules are loaded; when it grows, an extension may have turned the GIL on.
pub(crate) fn loaded_modules(py: Python<'_>) -> PyResult<usize> {
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    Ok(modules.cast::<PyDict>()?.len())
}
