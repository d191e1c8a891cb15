//! Python exceptions as values: type, arguments, frames, notes, causes, members of groups. Owns their
//! traceback as text; which exceptions are worth a name of their own is `python_kind`'s.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{Error, PythonKind};

/// An exception that Python code raised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PythonException {
    /// Type name, as `ValueError`.
    pub type_name: String,
    /// Module of the type, as `builtins`.
    pub module: String,
    /// Text of the exception.
    pub message: String,
    /// `repr` of each argument, shortened.
    pub args: Vec<String>,
    /// Names of the type's base classes, nearest first.
    pub bases: Vec<String>,
    /// The traceback, outermost frame first.
    pub frames: Vec<PythonFrame>,
    /// Lines added by `add_note`.
    pub notes: Vec<String>,
    /// The exception it was raised from (`__cause__`), or else while handling (`__context__`), unless
    /// `raise … from None` has hidden that.
    pub cause: Option<Box<PythonException>>,
    /// Whether `cause` was given explicitly (`raise … from …`).
    pub explicit_cause: bool,
    /// The members of an exception group.
    pub members: Vec<PythonException>,
    /// The error of the host's that this exception carries: a tool of the host's had failed.
    pub host_error: Option<Box<Error>>,
}

/// One line of a Python traceback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PythonFrame {
    /// Source file.
    pub file: String,
    /// Line number, from 1; 0 if not known.
    pub line: u32,
    /// Function.
    pub function: String,
    /// The source line; empty if not known.
    pub source: String,
}

impl PythonException {
    /// `Type: message`, as the last line of a traceback.
    pub fn summary(&self) -> String {
        let name = match self.module.as_str() {
            "" | "builtins" | "__main__" => self.type_name.clone(),
            module => format!("{module}.{}", self.type_name),
        };
        if self.message.is_empty() { name } else { format!("{name}: {}", self.message) }
    }

    /// What kind of exception it is.
    pub fn kind(&self) -> PythonKind {
        PythonKind::of(self)
    }

    /// Whether it is of the named type or of one derived from it.
    pub fn is_a(&self, type_name: &str) -> bool {
        self.type_name == type_name || self.bases.iter().any(|base| base == type_name)
    }

    /// The traceback as Python prints it: causes first, the members of a group in boxes.
    pub fn traceback(&self) -> String {
        let mut printer = Printer { out: String::new(), depth: 0, open: false };
        printer.exception(self);
        printer.out
    }
}

/// Writes a traceback, in boxes where there are groups. The layout is that of Python's own
/// `traceback` module.
struct Printer {
    out: String,
    /// Groups that we are inside of.
    depth: usize,
    /// Whether the last member of a group still wants its closing line.
    open: bool,
}

impl Printer {
    fn exception(&mut self, exception: &PythonException) {
        if let Some(cause) = &exception.cause {
            self.exception(cause);
            self.line("");
            self.line(if exception.explicit_cause {
                "The above exception was the direct cause of the following exception:"
            } else {
                "During handling of the above exception, another exception occurred:"
            });
            self.line("");
        }
        if exception.members.is_empty() {
            self.own(exception, "Traceback (most recent call last):", '|');
            return;
        }
        let outermost = self.depth == 0;
        if outermost {
            self.depth = 1;
        }
        let corner = if outermost { '+' } else { '|' };
        self.own(exception, "Exception Group Traceback (most recent call last):", corner);
        self.members(&exception.members);
        if outermost {
            self.depth = 0;
        }
    }

    fn members(&mut self, members: &[PythonException]) {
        for (index, member) in members.iter().enumerate() {
            self.open = index + 1 == members.len();
            let indent = self.indent();
            let corner = if index == 0 { "+-" } else { "  " };
            let number = index + 1;
            // Writing to a String cannot fail, here and below.
            let _ =
                writeln!(self.out, "{indent}{corner}+---------------- {number} ----------------");
            self.depth += 1;
            self.exception(member);
            if index + 1 == members.len() && self.open {
                let _ =
                    writeln!(self.out, "{}+------------------------------------", self.indent());
                self.open = false;
            }
            self.depth -= 1;
        }
    }

    /// The exception by itself: its frames, its last line, its notes.
    fn own(&mut self, exception: &PythonException, heading: &str, corner: char) {
        if !exception.frames.is_empty() {
            self.margined(corner, heading);
        }
        for frame in &exception.frames {
            if frame.file.is_empty() {
                // A remark about frames, such as how many were left out.
                self.line(&format!("  {}", frame.function));
                continue;
            }
            let PythonFrame { file, line, function, source } = frame;
            self.line(&format!("  File \"{file}\", line {line}, in {function}"));
            if !source.is_empty() {
                self.line(&format!("    {source}"));
            }
        }
        self.text(&exception.summary());
        for note in &exception.notes {
            self.text(note);
        }
    }

    fn text(&mut self, text: &str) {
        for line in text.split('\n') {
            self.line(line);
        }
    }

    fn line(&mut self, line: &str) {
        self.margined('|', line);
    }

    fn margined(&mut self, margin: char, line: &str) {
        let indent = self.indent();
        let _ = match self.depth {
            0 => writeln!(self.out, "{line}"),
            _ => writeln!(self.out, "{indent}{margin} {line}"),
        };
    }

    fn indent(&self) -> String {
        "  ".repeat(self.depth)
    }
}
