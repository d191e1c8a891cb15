//! Logs on standard error. Owns which are shown.

use tracing_subscriber::EnvFilter;

/// Starts logging. A host that serves tells what it does; other commands only what is wrong. Logs for
/// programs are one JSON object a line, and from commands that do not serve there are none unless
/// they are asked for.
pub(super) fn init(verbose: u8, json: bool, serves: bool) {
    let default = match (verbose, json, serves) {
        (0, true, false) => "off",
        (0, false, false) => "warn",
        (0, _, true) | (1, _, false) => "info",
        (1, _, true) | (2, _, false) => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start of logging is impossible here, and calls do not need it.
    let _ = if json {
        subscriber.json().flatten_event(true).try_init()
    } else {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        subscriber.with_ansi(terminal).try_init()
    };
}
