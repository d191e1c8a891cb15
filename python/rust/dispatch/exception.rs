//! Python exceptions as the host is told of them.
//!
//! Owns the walk over traceback, notes, chain and groups. Invariant: whatever an exception's own
//! code does while it is looked at, the description comes out, of limited size.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};
use snakepit_proto::v1::{PythonException, PythonFrame};

use super::host_error;

/// Longest chain of causes that is followed.
const MAX_CHAIN: usize = 16;

/// Most members of one exception group.
const MAX_MEMBERS: usize = 32;

/// Frames kept at the outer and inner end of a longer traceback.
const OUTER_FRAMES: usize = 16;
const INNER_FRAMES: usize = 48;

/// Longest text of a message or note, in characters: a page.
const MAX_TEXT_CHARS: usize = 8 * 1024;

/// Longest `repr` of an argument and longest source line, in characters.
const MAX_LINE_CHARS: usize = 200;

/// Describes an exception that was raised.
pub(super) fn describe(py: Python<'_>, error: &PyErr) -> PythonException {
    let value = error.value(py);
    if let Some(traceback) = error.traceback(py) {
        // Until Python 3.12 the two travel apart. Setting what fits cannot fail.
        let _ = value.setattr(intern!(py, "__traceback__"), traceback);
    }
    describe_value(value.as_any())
}

/// Describes an exception object.
pub(crate) fn describe_value(error: &Bound<'_, PyAny>) -> PythonException {
    Walk { seen: Vec::new() }.exception(error)
}

struct Walk {
    /// Identities of the exceptions above, because chains may be circular.
    seen: Vec<usize>,
}

impl Walk {
    fn exception(&mut self, error: &Bound<'_, PyAny>) -> PythonException {
        self.seen.push(error.as_ptr() as usize);
        let ty = error.get_type();
        let (cause, explicit_cause) = self.cause(error);
        let description = PythonException {
            type_name: ty.name().map_or_else(|_| "?".to_owned(), |name| name.to_string()),
            module: ty.module().map(|name| name.to_string()).unwrap_or_default(),
            message: shorten(text_of(error.str()), MAX_TEXT_CHARS),
            args: args(error),
            frames: frames(error),
            notes: notes(error),
            cause,
            explicit_cause,
            members: self.members(error),
            bases: bases(&ty),
            host_error: host_error::carried(error),
        };
        self.seen.pop();
        description
    }

    fn cause(&mut self, error: &Bound<'_, PyAny>) -> (Option<Box<PythonException>>, bool) {
        let attribute = |name| error.getattr(name).ok().filter(|value| !value.is_none());
        let explicit = attribute("__cause__");
        let is_explicit = explicit.is_some();
        let suppressed = error.getattr("__suppress_context__").and_then(|s| s.is_truthy());
        let cause = explicit
            .or_else(|| if suppressed.unwrap_or(false) { None } else { attribute("__context__") });
        let cause = cause.filter(|cause| {
            self.seen.len() < MAX_CHAIN && !self.seen.contains(&(cause.as_ptr() as usize))
        });
        match cause {
            Some(cause) => (Some(Box::new(self.exception(&cause))), is_explicit),
            None => (None, false),
        }
    }

    fn members(&mut self, error: &Bound<'_, PyAny>) -> Vec<PythonException> {
        let py = error.py();
        let group = py.import("builtins").and_then(|m| m.getattr("BaseExceptionGroup"));
        if !group.and_then(|group| error.is_instance(&group)).unwrap_or(false)
            || self.seen.len() >= MAX_CHAIN
        {
            return Vec::new();
        }
        let members = error.getattr("exceptions").and_then(|members| members.try_iter());
        let Ok(members) = members else {
            return Vec::new();
        };
        members.flatten().take(MAX_MEMBERS).map(|member| self.exception(&member)).collect()
    }
}

fn args(error: &Bound<'_, PyAny>) -> Vec<String> {
    let args = error.getattr("args").and_then(|args| args.try_iter());
    let Ok(args) = args else { return Vec::new() };
    args.flatten()
        .map(|arg| shorten(text_of(arg.repr()), MAX_LINE_CHARS))
        .take(MAX_MEMBERS)
        .collect()
}

fn notes(error: &Bound<'_, PyAny>) -> Vec<String> {
    let notes = error.getattr("__notes__").and_then(|notes| notes.try_iter());
    let Ok(notes) = notes else { return Vec::new() };
    notes
        .flatten()
        .map(|note| shorten(text_of(note.str()), MAX_TEXT_CHARS))
        .take(MAX_MEMBERS)
        .collect()
}

fn bases(ty: &Bound<'_, PyType>) -> Vec<String> {
    ty.mro()
        .iter()
        .skip(1)
        .filter_map(|base| base.cast::<PyType>().ok()?.name().ok().map(|name| name.to_string()))
        .filter(|name| name != "object")
        .collect()
}

/// The traceback from the tool's own frame on.
fn frames(error: &Bound<'_, PyAny>) -> Vec<PythonFrame> {
    let mut frames = Vec::new();
    let mut next = error.getattr("__traceback__").ok();
    while let Some(traceback) = next.filter(|traceback| !traceback.is_none()) {
        if let Ok(frame) = frame(&traceback, frames.is_empty())
            && let Some(frame) = frame
        {
            frames.push(frame);
        }
        next = traceback.getattr("tb_next").ok();
    }
    if let Some(left_out) = frames.len().checked_sub(OUTER_FRAMES + INNER_FRAMES)
        && left_out > 0
    {
        let note = format!("<{left_out} frames left out>");
        let note = PythonFrame { function: note, ..Default::default() };
        frames.splice(OUTER_FRAMES..OUTER_FRAMES + left_out, [note]);
    }
    frames
}

/// One frame; none if it is the worker's own, or what called the adapter for it.
fn frame(traceback: &Bound<'_, PyAny>, outermost: bool) -> PyResult<Option<PythonFrame>> {
    let py = traceback.py();
    let frame = traceback.getattr(intern!(py, "tb_frame"))?;
    let code = frame.getattr(intern!(py, "f_code"))?;
    let file: String = code.getattr(intern!(py, "co_filename"))?.extract()?;
    if is_own(py, &file) || (outermost && is_caller(&file)) {
        return Ok(None);
    }
    let line = traceback.getattr(intern!(py, "tb_lineno"))?;
    let line: u32 = line.extract().unwrap_or_default();
    let source = py
        .import(intern!(py, "linecache"))
        .and_then(|cache| {
            let globals = frame.getattr(intern!(py, "f_globals"))?;
            cache.call_method1(intern!(py, "getline"), (&file, line, globals))?.extract::<String>()
        })
        // A file that is gone or no text has no source line.
        .unwrap_or_default();
    Ok(Some(PythonFrame {
        function: code.getattr(intern!(py, "co_qualname"))?.extract()?,
        source: shorten(source.trim().to_owned(), MAX_LINE_CHARS),
        file,
        line,
    }))
}

/// Whether a file is a private part of the worker package, or of the interpreter's import.
fn is_own(py: Python<'_>, file: &str) -> bool {
    if file.starts_with("<frozen importlib.") {
        return true;
    }
    static PACKAGE: PyOnceLock<String> = PyOnceLock::new();
    let package = PACKAGE.get_or_init(py, || {
        let init = py.import("snakepit").and_then(|package| package.getattr("__file__"));
        let init = init.and_then(|file| file.extract::<String>()).unwrap_or_default();
        init.rsplit_once('/').map_or_else(String::new, |(directory, _)| format!("{directory}/"))
    });
    let Some(name) = file.strip_prefix(package.as_str()).filter(|_| !package.is_empty()) else {
        return false;
    };
    name.starts_with('_') || matches!(name, "worker.py" | "testing.py")
}

/// Whether a file belongs to what stands between the worker and the adapter: the event loop, or
/// `import_module`.
fn is_caller(file: &str) -> bool {
    file.rsplit_once('/').is_some_and(|(directory, _)| {
        directory.ends_with("/asyncio") || directory.ends_with("/importlib")
    })
}

fn text_of(text: PyResult<Bound<'_, PyString>>) -> String {
    match text {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => "<unprintable>".to_owned(),
    }
}

fn shorten(text: String, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
