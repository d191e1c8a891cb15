//! Layers of settings: defaults, a document, environment variables, builder calls; each over the one
//! before, key by key. Owns their order and keeps where each value comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::builder::PoolBuilder;
use crate::config::Config;
use crate::document;
use crate::environment;
use crate::error::{Code, ConfigError, Problem};
use crate::format::{self, Format};
use crate::host::{self, HostBuilder, HostConfig};
use crate::legacy::{self, Unknown};
use crate::node::Table;
use crate::origin::Origin;
use crate::raw::RawPool;
use crate::remark::Remark;
use crate::validate;

/// Layers of settings to be put together.
///
/// ```
/// use snakepit_config::{Format, Layers, Origin, PoolConfig};
///
/// let loaded = Layers::new()
///     .text("[pool.default]\nadapter = 'a.py'\nworkers = 2\nqueue = 5", Format::Toml)
///     .variables([("SNAKEPIT_POOL__DEFAULT__WORKERS", "4")])
///     .pool(PoolConfig::builder("default").queue(9))
///     .load()?;
/// let pool = loaded.config().pool("default").unwrap();
/// assert_eq!((pool.workers(), pool.queue()), (4, 9));
/// assert_eq!(loaded.origin("pool.default.adapter").to_string(), "2:11");
/// assert_eq!(loaded.origin("pool.default.queue"), Origin::Builder);
/// assert_eq!(loaded.origin("pool.default.prefetch"), Origin::Default);
/// # Ok::<(), snakepit_config::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Layers {
    document: Document,
    variables: Vec<(String, String)>,
    host: Option<HostBuilder>,
    pools: Vec<PoolBuilder>,
}

#[derive(Clone, Debug, Default)]
enum Document {
    #[default]
    None,
    File(PathBuf),
    Text(String, Format),
}

/// Valid settings, and where each of them comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    config: Config,
    origins: BTreeMap<String, Origin>,
    remarks: Vec<Remark>,
}

/// One setting of [`Loaded`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Setting {
    /// As `pool.default.workers`.
    pub path: String,
    /// As the document writes it.
    pub value: serde_json::Value,
    /// Where it comes from.
    pub origin: Origin,
}

impl Layers {
    /// No layer but the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a file as the document; its ending tells the format. Relative files in it are taken
    /// from its directory.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.document = Document::File(path.into());
        self
    }

    /// Takes a text as the document. Relative files in it stay relative to the working directory.
    pub fn text(mut self, text: impl Into<String>, format: Format) -> Self {
        self.document = Document::Text(text.into(), format);
        self
    }

    /// Adds this process's environment: `SNAKEPIT_POOL__DEFAULT__WORKERS=4` sets
    /// `pool.default.workers`. Variables that are not UTF-8 are no settings.
    pub fn environment(self) -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        self.variables(variables)
    }

    /// Adds variables, as if they were this process's.
    pub fn variables<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.variables.extend(variables);
        self
    }

    /// Puts builder calls over the settings of the host.
    pub fn host(mut self, host: HostBuilder) -> Self {
        self.host = Some(host);
        self
    }

    /// Puts builder calls over the pool of that name, or adds it.
    pub fn pool(mut self, pool: PoolBuilder) -> Self {
        self.pools.push(pool);
        self
    }

    /// Puts the layers together and judges what comes out.
    ///
    /// # Errors
    /// Every problem at once, each with its file, line and column, or its variable.
    pub fn load(self) -> Result<Loaded, ConfigError> {
        let file = self.file_name();
        self.load_named(file.as_deref()).map_err(|error| of_file(error, file))
    }

    /// Judges the settings of the host alone, for those who look for a running one: what is wrong with
    /// pools, or that there is none, is not their business.
    ///
    /// # Errors
    /// If the document cannot be read, else every problem of the host's settings.
    pub fn load_host(self) -> Result<HostConfig, ConfigError> {
        let file = self.file_name();
        let load = || {
            let merged = merge(&self.document, self.variables)?;
            let mut read = document::read(&merged.document, merged.base.as_deref());
            let problems = merged.problems.into_iter().chain(read.problems);
            let problems: Vec<Problem> = problems
                .filter(|problem| problem.path == "host" || problem.path.starts_with("host."))
                .collect();
            if let Some(over) = self.host {
                over.into_raw().over(&mut read.host);
            }
            let host = host::judge(&read.host);
            if problems.is_empty() {
                return host;
            }
            let judged = host.err().map(ConfigError::into_problems).unwrap_or_default();
            Err(ConfigError::new(problems.into_iter().chain(judged).collect()))
        };
        load().map_err(|error| of_file(error, file))
    }

    fn file_name(&self) -> Option<String> {
        match &self.document {
            Document::File(path) => Some(path.display().to_string()),
            _ => None,
        }
    }

    fn load_named(self, file: Option<&str>) -> Result<Loaded, ConfigError> {
        let Merged { document, base, mut problems, remarks } =
            merge(&self.document, self.variables)?;
        let document::Read { host: mut raw_host, pools: mut raw, problems: found } =
            document::read(&document, base.as_deref());
        problems.extend(found);
        if let Some(host) = self.host {
            host.into_raw().over(&mut raw_host);
        }
        for pool in self.pools {
            let over = pool.into_raw();
            match raw.iter_mut().find(|raw| raw.name == over.name) {
                Some(raw) => over.over(raw),
                None => {
                    let mut new = RawPool { name: over.name.clone(), ..RawPool::default() };
                    over.over(&mut new);
                    raw.push(new);
                }
            }
        }
        let (mut origins, mut fallbacks) = (BTreeMap::new(), BTreeMap::new());
        for (path, place) in raw_host.places.iter() {
            origins.insert(format!("host.{path}"), Origin::of(place, file));
        }
        let host = host::judge(&raw_host).map_err(|error| problems.extend(error.into_problems()));
        let mut pools = Vec::new();
        for raw in raw {
            for (path, place) in raw.places.iter().filter(|(path, _)| !path.is_empty()) {
                origins.insert(format!("pool.{}.{path}", raw.name), Origin::of(place, file));
            }
            if let Some(place) = raw.places.exactly("fallback.pool") {
                fallbacks.insert(format!("pool.{}.fallback.pool", raw.name), place.clone());
            }
            match validate::pool(raw) {
                Ok(pool) => pools.push(pool),
                Err(error) => problems.extend(error.into_problems()),
            }
        }
        let host = match host {
            Ok(host) if problems.is_empty() => host,
            _ => return Err(ConfigError::new(problems)),
        };
        // What holds between pools is found without the document; it knows the places.
        let config = Config::new(pools).map_err(|error| {
            let placed = error.into_problems().into_iter().map(|problem| {
                let place = fallbacks.get(&problem.path).cloned();
                if place.is_some() { problem.at(place) } else { problem }
            });
            ConfigError::new(placed.collect())
        })?;
        Ok(Loaded { config: config.with_host(host), origins, remarks })
    }
}

/// A document in our own form with the environment over it.
struct Merged {
    document: Table,
    /// The directory its relative files are taken from.
    base: Option<PathBuf>,
    problems: Vec<Problem>,
    remarks: Vec<Remark>,
}

fn merge(document: &Document, variables: Vec<(String, String)>) -> Result<Merged, ConfigError> {
    let (mut document, base) = document.read().map_err(ConfigError::new)?;
    let (mut problems, mut remarks) = (Vec::new(), Vec::new());
    if legacy::is_legacy(&document) {
        let translated = legacy::translate(&document, Unknown::IsProblem);
        document = translated.document;
        remarks = translated.remarks;
        problems = translated.problems;
    }
    let layer = environment::layer(variables, &document, &mut problems);
    document.overlay(layer);
    Ok(Merged { document, base, problems, remarks })
}

fn of_file(error: ConfigError, file: Option<String>) -> ConfigError {
    match file {
        Some(file) => error.of_source(file),
        None => error,
    }
}

impl Document {
    /// The document as a tree, and the directory its relative files are taken from.
    fn read(&self) -> Result<(Table, Option<PathBuf>), Vec<Problem>> {
        match self {
            Self::None => Ok((Table::default(), None)),
            Self::Text(text, format) => Ok((format::parse(text, *format)?, None)),
            Self::File(path) => {
                let (table, base) = read_file(path)?;
                Ok((table, Some(base)))
            }
        }
    }
}

fn read_file(path: &Path) -> Result<(Table, PathBuf), Vec<Problem>> {
    let unreadable = |message: String| vec![Problem::new(Code::Unreadable, "", message)];
    let format = Format::of_path(path).ok_or_else(|| {
        let problem = Problem::new(Code::Unreadable, "", "the file's ending names no format");
        vec![problem.help("end its name in .toml, .json, .yaml or .yml")]
    })?;
    let cannot = |error: std::io::Error| unreadable(format!("cannot read the file: {error}"));
    let bytes = std::fs::read(path).map_err(cannot)?;
    // Made absolute, so that a later change of the working directory changes nothing.
    let absolute = std::path::absolute(path).map_err(cannot)?;
    let text = format::utf8(&bytes).map_err(|problem| vec![problem])?;
    let base = absolute.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok((format::parse(text, format)?, base))
}

impl Loaded {
    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The settings alone.
    pub fn into_config(self) -> Config {
        self.config
    }

    /// Every setting with its value and where that comes from, in the order of the document.
    ///
    /// # Panics
    /// Never: what has no JSON form cannot be held.
    pub fn settings(&self) -> Vec<Setting> {
        let tree = format::parse(&self.config.to_json(), Format::Json);
        let tree = tree.expect("JSON that was just written can be read");
        let mut settings = Vec::new();
        self.collect(&tree, "", &mut settings);
        settings
    }

    fn collect(&self, table: &Table, above: &str, settings: &mut Vec<Setting>) {
        for entry in &table.entries {
            let key = &entry.key;
            let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
            // What is inside an argument is the argument's.
            let whole = above.ends_with(".adapter_args");
            match entry.node.as_table().filter(|_| !whole) {
                Some(table) => self.collect(table, &path, settings),
                None => {
                    let value = serde_json::to_value(&entry.node.value).unwrap_or_default();
                    let origin = self.origin(&path);
                    settings.push(Setting { path, value, origin });
                }
            }
        }
    }

    /// What became of each key of a document in a form of the original's; empty for our own.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// Where the value at a path comes from, as `pool.default.workers`.
    pub fn origin(&self, path: &str) -> Origin {
        // A value inside an argument comes with the argument, and that with the table.
        let mut path = path;
        loop {
            if let Some(origin) = self.origins.get(path) {
                return origin.clone();
            }
            match path.rsplit_once('.') {
                Some((above, _)) if above.contains(".adapter_args") => path = above,
                _ => return Origin::Default,
            }
        }
    }
}
