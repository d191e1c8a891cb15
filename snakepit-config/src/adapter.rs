//! What a pool runs: the text that names an adapter, taken apart. Imports nothing.

use std::fmt;
use std::path::{Path, PathBuf};

/// An adapter: a Python file or an importable module, and optionally one class of it.
///
/// Texts are `adapter.py`, `dir/adapter.py:Class`, `package.module` and `package.module:Class`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AdapterSpec {
    source: Source,
    class: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    File(PathBuf),
    Module(String),
}

impl AdapterSpec {
    /// Takes a text apart.
    ///
    /// # Errors
    /// One sentence on what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("the adapter is empty".to_owned());
        }
        if text.contains('\0') {
            return Err("the adapter holds a NUL character".to_owned());
        }
        let (source, class) = match text.rsplit_once(':') {
            Some((source, class)) => {
                if !class.split('.').all(is_identifier) {
                    return Err(format!("`{class}` is no name of a Python class"));
                }
                (source, Some(class.to_owned()))
            }
            None => (text, None),
        };
        let source = if source.ends_with(".py") || source.contains(std::path::MAIN_SEPARATOR) {
            Source::File(PathBuf::from(source))
        } else if source.split('.').all(is_identifier) {
            Source::Module(source.to_owned())
        } else {
            return Err(format!(
                "`{source}` is neither a .py file nor the name of a Python module"
            ));
        };
        Ok(Self { source, class })
    }

    /// The file, when the adapter is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) => Some(path),
            Source::Module(_) => None,
        }
    }

    /// The module, when the adapter is one.
    pub fn module(&self) -> Option<&str> {
        match &self.source {
            Source::Module(name) => Some(name),
            Source::File(_) => None,
        }
    }

    /// The class, when one is named.
    pub fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    /// The same adapter with a relative file taken from `base`.
    #[must_use]
    pub fn based_on(self, base: &Path) -> Self {
        let source = match self.source {
            Source::File(path) => Source::File(base.join(path)),
            module => module,
        };
        Self { source, ..self }
    }
}

impl fmt::Display for AdapterSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::File(path) => write!(f, "{}", path.display())?,
            Source::Module(name) => f.write_str(name)?,
        }
        match &self.class {
            Some(class) => write!(f, ":{class}"),
            None => Ok(()),
        }
    }
}

/// Whether Python takes it as a name; letters beyond ASCII are left for Python to judge.
fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c == '_' || c.is_alphabetic())
        && chars.all(|c| c == '_' || c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_modules_and_classes_are_told_apart() {
        let spec = AdapterSpec::parse("lib/adapter.py:Model").unwrap();
        assert_eq!((spec.file(), spec.class()), (Some(Path::new("lib/adapter.py")), Some("Model")));
        let spec = AdapterSpec::parse("package.module").unwrap();
        assert_eq!((spec.module(), spec.class()), (Some("package.module"), None));
        for text in ["", "a-b", "module:", "module:not a class", "1module", "a..b"] {
            assert!(AdapterSpec::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_relative_files_move_to_the_base() {
        let based =
            |text| AdapterSpec::parse(text).unwrap().based_on(Path::new("/base")).to_string();
        assert_eq!(based("a.py:C"), "/base/a.py:C");
        assert_eq!(based("/abs/a.py"), "/abs/a.py");
        assert_eq!(based("module:C"), "module:C");
    }
}
