//! What a host has beside its pools: how it is found, what it tells, how it ends. Owns its rules too:
//! they are few, and nothing of a pool's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};

use crate::error::{Code, ConfigError, Problem};
use crate::keys;
use crate::logs::LogLevel;
use crate::node::Place;
use crate::raw::RawHost;
use crate::units::{format_duration, format_size};
use crate::validate::{GRACE, SHM_QUOTA, out_of_range};

/// A service manager that was told nothing else gives a service half a minute and more.
const DEFAULT_SHUTDOWN: Duration = Duration::from_secs(25);

/// Longest name of an instance, in bytes: it is part of a path that must stay short.
const NAME_LIMIT: usize = 64;

/// Valid settings of a host; defaults are filled in.
///
/// `Serialize` gives the table `host` of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    instance: Option<String>,
    socket_dir: Option<PathBuf>,
    control_socket: ControlSocket,
    adopt_orphans: bool,
    log: LogLevel,
    watch: bool,
    shutdown_timeout: Duration,
    shm_total: Option<u64>,
}

/// Where a host has its control socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlSocket {
    /// Under the instance's name in the directory of sockets.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// At this path.
    Path(PathBuf),
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            instance: None,
            socket_dir: None,
            control_socket: ControlSocket::Auto,
            adopt_orphans: false,
            log: LogLevel::Info,
            watch: false,
            shutdown_timeout: DEFAULT_SHUTDOWN,
            shm_total: None,
        }
    }
}

impl HostConfig {
    /// Starts the settings of a host; all of them have defaults.
    pub fn builder() -> HostBuilder {
        HostBuilder { raw: RawHost::default() }
    }

    /// The name under which the host is found; `None` leaves that to whoever starts it.
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// The directory of control sockets; `None` is the user's own.
    pub fn socket_dir(&self) -> Option<&Path> {
        self.socket_dir.as_deref()
    }

    /// Where the control socket is.
    pub fn control_socket(&self) -> &ControlSocket {
        &self.control_socket
    }

    /// Whether processes that workers leave behind come to the host.
    pub fn adopt_orphans(&self) -> bool {
        self.adopt_orphans
    }

    /// From which level on `snakepit run` tells what happens.
    pub fn log(&self) -> LogLevel {
        self.log
    }

    /// Whether `snakepit run` reads its file again whenever that has changed.
    pub fn watch(&self) -> bool {
        self.watch
    }

    /// How long everything may take to end when `snakepit run` is told to.
    pub fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout
    }

    /// Shared memory that all pools may have together, in bytes; `None` is a gibibyte, and no more than
    /// half of the machine's memory.
    pub fn shm_total(&self) -> Option<u64> {
        self.shm_total
    }

    /// The keys whose values differ, as `host.instance`, in the order of their names.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let of = |host: &Self| serde_json::to_value(host).unwrap_or_default();
        let (mine, theirs) = (of(self), of(other));
        let mut names: Vec<&str> = keys::HOST.iter().map(|key| key.name).collect();
        names.sort_unstable();
        names.retain(|name| mine[*name] != theirs[*name]);
        names.into_iter().map(|name| format!("host.{name}")).collect()
    }
}

impl Serialize for HostConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |path: &Path| {
            let text = path.to_str().map(str::to_owned);
            text.ok_or_else(|| S::Error::custom("the path is not UTF-8"))
        };
        let mut map = serializer.serialize_map(None)?;
        if let Some(name) = &self.instance {
            map.serialize_entry("instance", name)?;
        }
        if let Some(directory) = &self.socket_dir {
            map.serialize_entry("socket_dir", &text(directory)?)?;
        }
        let socket = match &self.control_socket {
            ControlSocket::Auto => "auto".to_owned(),
            ControlSocket::Off => "off".to_owned(),
            // With a slash, by which it is known to be a path.
            ControlSocket::Path(path) if path.components().count() == 1 && path.is_relative() => {
                format!("./{}", text(path)?)
            }
            ControlSocket::Path(path) => text(path)?,
        };
        map.serialize_entry("control_socket", &socket)?;
        map.serialize_entry("adopt_orphans", &self.adopt_orphans)?;
        map.serialize_entry("log", self.log.name())?;
        map.serialize_entry("watch", &self.watch)?;
        map.serialize_entry("shutdown_timeout", &format_duration(self.shutdown_timeout))?;
        if let Some(bytes) = self.shm_total {
            map.serialize_entry("shm_total", &format_size(bytes))?;
        }
        map.end()
    }
}

/// Settings of a host in the making; each call sets one, the last one counts.
#[derive(Clone, Debug)]
#[must_use]
pub struct HostBuilder {
    raw: RawHost,
}

impl HostBuilder {
    /// The name under which the host is found: letters, digits, `-`, `_` and dots that do not lead.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.raw.instance = Some(name.into());
        self
    }

    /// The directory of control sockets.
    pub fn socket_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.raw.socket_dir = Some(directory.into());
        self
    }

    /// Where the control socket is: `auto`, `off`, or a path with a slash.
    pub fn control_socket(mut self, place: impl Into<String>) -> Self {
        self.raw.control_socket = Some(place.into());
        self
    }

    /// Whether processes that workers leave behind come to the host.
    pub fn adopt_orphans(mut self, adopt: bool) -> Self {
        self.raw.adopt_orphans = Some(adopt);
        self
    }

    /// From which level on `snakepit run` tells what happens.
    pub fn log(mut self, level: LogLevel) -> Self {
        self.raw.log = Some(level.name().to_owned());
        self
    }

    /// Whether `snakepit run` reads its file again whenever that has changed.
    pub fn watch(mut self, watch: bool) -> Self {
        self.raw.watch = Some(watch);
        self
    }

    /// How long everything may take to end when `snakepit run` is told to.
    pub fn shutdown_timeout(mut self, limit: Duration) -> Self {
        self.raw.shutdown_timeout = Some(limit);
        self
    }

    /// Shared memory that all pools may have together, in bytes.
    pub fn shm_total(mut self, bytes: u64) -> Self {
        self.raw.shm_total = Some(bytes);
        self
    }

    pub(crate) fn into_raw(self) -> RawHost {
        self.raw
    }

    /// Judges the settings.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn build(self) -> Result<HostConfig, ConfigError> {
        judge(&self.raw)
    }
}

/// Judges the settings of a host.
pub(crate) fn judge(raw: &RawHost) -> Result<HostConfig, ConfigError> {
    let mut check = Check { raw, problems: Vec::new() };
    let config = HostConfig {
        instance: check.instance(),
        socket_dir: raw.socket_dir.as_deref().map(|path| check.path("socket_dir", path)),
        control_socket: check.control_socket(),
        adopt_orphans: raw.adopt_orphans.unwrap_or_default(),
        log: check.log(),
        watch: raw.watch.unwrap_or_default(),
        shutdown_timeout: check.shutdown_timeout(),
        shm_total: check.shm_total(),
    };
    if check.problems.is_empty() { Ok(config) } else { Err(ConfigError::new(check.problems)) }
}

/// Whether an instance may be called so. It becomes the name of a file.
pub(crate) fn is_instance(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=NAME_LIMIT).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed)
}

struct Check<'a> {
    raw: &'a RawHost,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, key: &str, message: impl Into<String>, help: Option<String>) {
        let problem = Problem::new(Code::InvalidValue, format!("host.{key}"), message.into());
        let mut problem = problem.at(self.raw.places.of(key).cloned());
        problem.help = help;
        self.problems.push(problem);
    }

    fn instance(&mut self) -> Option<String> {
        let name = self.raw.instance.as_ref()?;
        if !is_instance(name) {
            let message = format!(
                "an instance's name has 1 to {NAME_LIMIT} letters, digits, `-`, `_` and dots, and \
                 no dot in front"
            );
            self.problem("instance", message, None);
        }
        Some(name.clone())
    }

    fn control_socket(&mut self) -> ControlSocket {
        match self.raw.control_socket.as_deref() {
            None | Some("auto") => ControlSocket::Auto,
            Some("off") => ControlSocket::Off,
            Some(path) if path.contains('/') => {
                let raw = self.raw;
                let others = [
                    ("instance", raw.instance.is_some()),
                    ("socket_dir", raw.socket_dir.is_some()),
                ];
                for (key, given) in others {
                    if given {
                        let message = "the control socket has a path of its own";
                        let help = "leave it out, or `control_socket`".to_owned();
                        self.problem(key, message, Some(help));
                    }
                }
                ControlSocket::Path(self.path("control_socket", Path::new(path)))
            }
            Some(other) => {
                let message = format!("`{other}` is neither `auto` nor `off` nor a path");
                let help = "write a path with a slash, as `./control.sock`".to_owned();
                self.problem("control_socket", message, Some(help));
                ControlSocket::Auto
            }
        }
    }

    /// A relative path is taken from the document's directory, if a document names it.
    fn path(&mut self, key: &str, given: &Path) -> PathBuf {
        let plain = given.strip_prefix(".").ok().filter(|rest| !rest.as_os_str().is_empty());
        // As it is written out again: without slashes that say nothing.
        let given: PathBuf = plain.unwrap_or(given).components().collect();
        let in_document = matches!(self.raw.places.exactly(key), Some(Place::Text(_)));
        let path = match self.raw.base.as_deref().filter(|_| in_document) {
            Some(base) => base.join(&given),
            None => given.clone(),
        };
        match path.to_str() {
            None => self.problem(key, "the path is not UTF-8", None),
            Some(text) if given.as_os_str().is_empty() || text.contains('\0') => {
                self.problem(key, "the path is empty or holds a NUL character", None);
            }
            Some(_) => {}
        }
        path
    }

    fn log(&mut self) -> LogLevel {
        let Some(name) = &self.raw.log else { return LogLevel::Info };
        LogLevel::from_name(name).unwrap_or_else(|| {
            let help = keys::suggestion(name, &LogLevel::NAMES);
            self.problem("log", format!("there is no such level as `{name}`"), Some(help));
            LogLevel::Info
        })
    }

    fn shm_total(&mut self) -> Option<u64> {
        let bytes = self.raw.shm_total?;
        if !SHM_QUOTA.contains(&bytes) {
            let range = format_size(*SHM_QUOTA.start())..=format_size(*SHM_QUOTA.end());
            self.problem("shm_total", out_of_range(&format_size(bytes), &range), None);
        }
        Some(bytes)
    }

    fn shutdown_timeout(&mut self) -> Duration {
        let time = self.raw.shutdown_timeout.unwrap_or(DEFAULT_SHUTDOWN);
        if !GRACE.contains(&time) {
            let range = format_duration(*GRACE.start())..=format_duration(*GRACE.end());
            self.problem("shutdown_timeout", out_of_range(&format_duration(time), &range), None);
        }
        time
    }
}
