//! A Python exception as miette shows it: the line that raised it, its causes, the members of a group.
//! Owns the mapping; the traceback as Python prints it is the exception's own business.

use std::fmt;

use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};
use snakepit::{PythonException, PythonFrame};

/// An exception with those it came from.
pub(super) struct Raised {
    summary: String,
    at: Option<Line>,
    cause: Option<Box<Raised>>,
    members: Vec<Raised>,
}

/// The line of source that raised: all of it that is known, under its number.
struct Line(PythonFrame);

impl Raised {
    pub(super) fn new(exception: &PythonException) -> Self {
        let innermost = exception.frames.iter().rev().find(|frame| !frame.source.is_empty());
        Self {
            summary: exception.summary(),
            at: innermost.cloned().map(Line),
            cause: exception.cause.as_deref().map(|cause| Box::new(Self::new(cause))),
            members: exception.members.iter().map(Self::new).collect(),
        }
    }
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Raised").field(&self.summary).finish()
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)
    }
}

impl std::error::Error for Raised {}

impl Diagnostic for Raised {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.at.as_ref().map(|line| line as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Line(frame) = self.at.as_ref()?;
        let text = format!("raised in `{}`", frame.function);
        Some(Box::new([LabeledSpan::new(Some(text), 0, frame.source.len())].into_iter()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let members = self.members.iter().map(|member| member as &dyn Diagnostic);
        (!self.members.is_empty()).then(|| Box::new(members) as Box<dyn Iterator<Item = _>>)
    }

    fn diagnostic_source(&self) -> Option<&dyn Diagnostic> {
        self.cause.as_deref().map(|cause| cause as &dyn Diagnostic)
    }
}

impl SourceCode for Line {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        _before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let Self(frame) = self;
        if span.offset() + span.len() > frame.source.len() {
            return Err(MietteError::OutOfBounds);
        }
        let line = frame.line.saturating_sub(1) as usize;
        let whole = (0, frame.source.len()).into();
        let name = frame.file.clone();
        let source = frame.source.as_bytes();
        Ok(Box::new(MietteSpanContents::new_named(name, source, whole, line, 0, 1)))
    }
}
