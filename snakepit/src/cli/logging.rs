//! Logs on standard error. Owns which are shown.

use tracing_subscriber::EnvFilter;

/// Starts logging. For programs there is none unless it is asked for: what they read on standard
/// error is JSON.
pub(super) fn init(verbose: u8, json: bool) {
    let default = match (verbose, json) {
        (0, true) => "off",
        (0, false) => "warn",
        (1, _) => "info",
        (2, _) => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    // A second start of logging is impossible here, and calls do not need it.
    let _ = subscriber.try_init();
}
