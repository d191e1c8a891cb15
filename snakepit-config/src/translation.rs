//! A document of the original's as one of ours: what `migrate` and `import` give.

use crate::config::Config;
use crate::document;
use crate::error::{Code, ConfigError, Problem};
use crate::format::{self, Format};
use crate::host;
use crate::legacy::{self, Translated, Unknown};
use crate::remark::Remark;
use crate::validate;

/// A document in our own form, and what became of each key of the other one.
#[derive(Clone, Debug, PartialEq)]
pub struct Translation {
    document: String,
    remarks: Vec<Remark>,
}

impl Translation {
    /// Translates a document in the original's flat or multi-pool form. One that is in our own form
    /// stays as it is, but for the format.
    ///
    /// # Errors
    /// Every problem at once, at its place in the text.
    pub fn of_document(text: &str, format: Format) -> Result<Self, ConfigError> {
        let document = format::parse(text, format).map_err(ConfigError::new)?;
        if legacy::is_legacy(&document) {
            return Self::judge(legacy::translate(&document, Unknown::IsProblem));
        }
        let translated = Translated { document, remarks: Vec::new(), problems: Vec::new() };
        Self::judge(translated)
    }

    /// Translates the `config :snakepit` parts of an Elixir configuration file. What is no literal
    /// data is not taken over, and a remark says so.
    ///
    /// # Errors
    /// Every problem at once, at its place in the text.
    #[cfg(feature = "elixir")]
    pub fn of_elixir(text: &str) -> Result<Self, ConfigError> {
        let read = crate::elixir::read(text).map_err(ConfigError::new)?;
        let mut translated = legacy::translate(&read.settings, Unknown::IsRemark);
        translated.remarks.extend(read.remarks);
        translated.remarks.sort_by_key(|remark| remark.position);
        Self::judge(translated)
    }

    fn judge(translated: Translated) -> Result<Self, ConfigError> {
        let Translated { document, remarks, mut problems } = translated;
        let read = document::read(&document, None);
        problems.extend(read.problems);
        if let Err(error) = host::judge(&read.host) {
            problems.extend(error.into_problems());
        }
        let mut pools = Vec::new();
        for raw in read.pools {
            match validate::pool(raw) {
                Ok(pool) => pools.push(pool),
                Err(error) => problems.extend(error.into_problems()),
            }
        }
        if !problems.is_empty() {
            return Err(ConfigError::new(problems));
        }
        Config::new(pools)?;
        let document = format::to_toml(&document).map_err(|error| {
            let message = format!("a value has no form in TOML: {error}");
            ConfigError::one(Problem::new(Code::InvalidValue, "", message))
        })?;
        Ok(Self { document, remarks })
    }

    /// The document, as TOML, with nothing but what the other one said.
    pub fn document(&self) -> &str {
        &self.document
    }

    /// What became of each key.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }
}
