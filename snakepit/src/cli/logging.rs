//! Logs on standard error. Owns which are shown.

use snakepit::config::LogLevel;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// What is shown, which the settings of a host may change.
pub(super) struct Logging {
    /// `None` where the user has said what to show.
    filter: Option<reload::Handle<EnvFilter, Registry>>,
}

/// Starts logging. A host that serves tells what it does; other commands only what is wrong. Logs for
/// programs are one JSON object a line, and from commands that do not serve there are none unless
/// they are asked for.
pub(super) fn init(verbose: u8, json: bool, serves: bool) -> Logging {
    let default = match (verbose, json, serves) {
        (0, true, false) => "off",
        (0, false, false) => "warn",
        (0, _, true) | (1, _, false) => "info",
        (1, _, true) | (2, _, false) => "debug",
        _ => "trace",
    };
    let chosen = EnvFilter::try_from_default_env().ok();
    let said = chosen.is_some() || verbose > 0;
    let filter = chosen.unwrap_or_else(|| EnvFilter::new(default));
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A second start of logging is impossible here, and calls do not need it.
    let _ = if json {
        registry.with(lines.json().flatten_event(true)).try_init()
    } else {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        registry.with(lines.with_ansi(terminal)).try_init()
    };
    Logging { filter: Some(handle).filter(|_| !said) }
}

impl Logging {
    /// Shows what the settings say, unless the user has said it.
    pub(super) fn follow(&self, level: LogLevel) {
        if let Some(filter) = &self.filter {
            // It fails when there is no log any more.
            let _ = filter.reload(EnvFilter::new(level.name()));
        }
    }
}
