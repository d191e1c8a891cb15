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
use crate::codec;

/// Longest chain of causes that is followed.
const MAX_CHAIN: usize = 16;

/// Most members of one exception group, and most arguments and notes of one exception.
const MAX_MEMBERS: usize = 32;

/// Most exceptions that one description holds, in groups and chains together.
const MAX_EXCEPTIONS: usize = 64;

/// Most characters of messages and notes that one description holds: together with everything else
/// it stays far below what a frame may hold.
const MAX_ALL_CHARS: usize = 512 * 1024;

/// Frames kept at the outer and inner end of a longer traceback.
const OUTER_FRAMES: usize = 16;
const INNER_FRAMES: usize = 48;

/// Longest text of a message or note, in characters: a page.
const MAX_TEXT_CHARS: usize = 8 * 1024;

/// Longest source line, file name and function name, in characters.
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
    let mut walk = Walk { seen: Vec::new(), described: 0, room: MAX_ALL_CHARS };
    walk.exception(error)
}

struct Walk {
    /// Identities of the exceptions above, because chains may be circular.
    seen: Vec<usize>,
    described: usize,
    /// Characters that may still be spent.
    room: usize,
}

impl Walk {
    fn exception(&mut self, error: &Bound<'_, PyAny>) -> PythonException {
        self.seen.push(error.as_ptr() as usize);
        self.described += 1;
        let ty = error.get_type();
        let message = self.text(text_of(error.str()));
        let mut notes = self.notes(error);
        let (cause, explicit_cause) = self.cause(error);
        let is_group = is_group(error);
        let (members, left_out) = if is_group { self.members(error) } else { (Vec::new(), 0) };
        if left_out > 0 {
            notes.push(format!("<{left_out} of its exceptions left out>"));
        }
        let description = PythonException {
            type_name: ty.name().map_or_else(|_| "?".to_owned(), |name| name.to_string()),
            module: ty.module().map(|name| name.to_string()).unwrap_or_default(),
            message,
            // The other argument of a group is its members, whose `repr` grows with every level.
            args: args(error, if is_group { 1 } else { MAX_MEMBERS }),
            frames: frames(error),
            notes,
            cause,
            explicit_cause,
            members,
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
        let cause = cause
            .filter(|cause| self.has_room() && !self.seen.contains(&(cause.as_ptr() as usize)));
        match cause {
            Some(cause) => (Some(Box::new(self.exception(&cause))), is_explicit),
            None => (None, false),
        }
    }

    /// The members of a group, and how many were left out.
    fn members(&mut self, error: &Bound<'_, PyAny>) -> (Vec<PythonException>, usize) {
        let members = error.getattr("exceptions").and_then(|members| members.try_iter());
        let mut members = match members {
            Ok(members) => members.flatten(),
            Err(_) => return (Vec::new(), 0),
        };
        let mut described = Vec::new();
        while described.len() < MAX_MEMBERS && self.has_room() {
            match members.next() {
                Some(member) => described.push(self.exception(&member)),
                None => break,
            }
        }
        (described, members.count())
    }

    fn notes(&mut self, error: &Bound<'_, PyAny>) -> Vec<String> {
        let notes = error.getattr("__notes__").and_then(|notes| notes.try_iter());
        let Ok(notes) = notes else { return Vec::new() };
        notes.flatten().take(MAX_MEMBERS).map(|note| self.text(text_of(note.str()))).collect()
    }

    fn has_room(&self) -> bool {
        self.seen.len() < MAX_CHAIN && self.described < MAX_EXCEPTIONS
    }

    fn text(&mut self, text: String) -> String {
        let text = shorten(text, MAX_TEXT_CHARS.min(self.room));
        self.room = self.room.saturating_sub(text.chars().count());
        text
    }
}

fn is_group(error: &Bound<'_, PyAny>) -> bool {
    let group = error.py().import("builtins").and_then(|m| m.getattr("BaseExceptionGroup"));
    group.and_then(|group| error.is_instance(&group)).unwrap_or(false)
}

fn args(error: &Bound<'_, PyAny>, most: usize) -> Vec<String> {
    let args = error.getattr("args").and_then(|args| args.try_iter());
    let Ok(args) = args else { return Vec::new() };
    args.flatten().take(most).map(|arg| codec::shown(&text_of(arg.repr()))).collect()
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
        function: shorten(code.getattr(intern!(py, "co_qualname"))?.extract()?, MAX_LINE_CHARS),
        source: shorten(source.trim().to_owned(), MAX_LINE_CHARS),
        file: shorten(file, 5 * MAX_LINE_CHARS),
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
