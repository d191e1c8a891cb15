//! `snakepit run`: keeps the pools of a settings file up. Owns the order of start and end; what is
//! told to whom about it is `tell`'s, signals are `signals`'.

mod notify;
mod signals;
mod tell;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use snakepit::config::{ControlSocket, HostConfig, Layers};
use snakepit::{Snakepit, control};

use self::signals::Signals;
use self::tell::{Reason, Teller};
use self::watch::Watch;
use super::Outcome;
use super::diagnostic::{Failure, Reporter};
use super::logging::Logging;
use super::pool::duration;

/// Starts all pools of a settings file, opens a control socket for `pools`, `workers`, `stats`,
/// `recycle`, `scale`, `reload` and `drain`, and serves until SIGTERM, SIGINT or `snakepit drain`; then
/// running calls may end. SIGHUP has it read the file again, as `snakepit reload` does. A second signal ends it at once. A pool that does not start is reported and leaves the
/// others up.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Settings file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,

    /// Name under which the other commands find this host; that of the settings, or else the file's
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,

    /// Put the control socket here, whatever the settings say
    #[arg(long, value_name = "PATH", conflicts_with = "instance")]
    socket: Option<PathBuf>,

    /// Read the settings file again whenever it has changed
    #[arg(long)]
    watch: bool,

    /// Time for running calls and workers to end, as `25s`; calls may take three quarters of it. That
    /// of the settings, if left out
    #[arg(long, value_name = "TIME", value_parser = duration)]
    shutdown_timeout: Option<Duration>,
}

pub(super) async fn run(
    args: Args,
    reporter: Reporter,
    logging: Logging,
) -> Result<Outcome, Failure> {
    // Before it is read: what changes from then on is seen.
    let begun = Watch::begin(&args.config);
    let layers = Layers::new().file(&args.config).environment();
    let loaded = layers.load().map_err(Failure::settings)?;
    for remark in loaded.remarks() {
        tracing::info!("{}:{remark}", args.config.display());
    }
    let config = loaded.into_config();
    logging.follow(config.host().log());
    let mut watch = if args.watch || config.host().watch() { Some(begun?) } else { None };
    let (instance, socket) = args.place(config.host())?;
    // Before anything starts: as PID 1, a process without handlers is deaf to these signals.
    let mut signals = Signals::listen()?;
    let builder = Snakepit::builder().config(config).reload_from(&args.config);
    let starting = match &socket {
        Some(socket) => builder.control_socket(socket),
        None => builder.no_control_socket(),
    };
    let starting = starting.start();
    let snakepit = tokio::select! {
        started = starting => started.map_err(Failure::start)?,
        // Dropping the start ends what has started.
        signal = signals.next() => return Ok(signal.outcome()),
    };
    let teller = Teller::new(reporter, instance, socket);
    teller.ready(&snakepit);
    let follow = |host: &HostConfig, watch: &mut Option<Watch>| {
        logging.follow(host.log());
        args.follow(host, watch)
    };
    let reason = serve(&snakepit, &mut signals, &mut watch, &teller, follow).await;
    teller.stopping(reason);
    let limit = args.shutdown_timeout.unwrap_or(snakepit.host_config().shutdown_timeout());
    let ended = tokio::select! {
        ended = snakepit.shutdown(limit) => ended,
        // The last handle goes with this function, and the workers with it.
        signal = signals.next() => return Ok(signal.outcome()),
    };
    teller.stopped(&ended);
    ended.map(|()| Outcome::Fine).map_err(Failure::call)
}

/// Serves until there is a reason to end, and reads the settings again when told to. Reading them
/// again keeps nobody from ending it.
async fn serve(
    snakepit: &Snakepit,
    signals: &mut Signals,
    watch: &mut Option<Watch>,
    teller: &Teller,
    follow: impl Fn(&HostConfig, &mut Option<Watch>) -> bool,
) -> Reason {
    let mut host = snakepit.host_config();
    let mut reloads = FuturesOrdered::new();
    loop {
        let changed = async {
            match watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            signal = signals.next_or_reload() => match signal {
                Some(signal) => return Reason::Signal(signal),
                None => reloads.push_back(snakepit.reload_file()),
            },
            () = changed => reloads.push_back(snakepit.reload_file()),
            // Whoever had them read.
            other = snakepit.host_config_changed(&host) => {
                if follow(&other, watch) {
                    // It may have changed since it was read.
                    reloads.push_back(snakepit.reload_file());
                }
                host = other;
            }
            Some(reloaded) = reloads.next() => teller.reloaded(&reloaded),
            () = snakepit.ended() => return Reason::Drained,
        }
    }
}

impl Args {
    /// The instance's name, unless its socket is elsewhere, and its socket, if it has one.
    fn place(&self, host: &HostConfig) -> Result<(Option<String>, Option<PathBuf>), Failure> {
        if let Some(path) = &self.socket {
            return Ok((None, Some(path.clone())));
        }
        if let Some(name) = &self.instance {
            let socket = control::socket_in(host.socket_dir(), name).map_err(Failure::start)?;
            return Ok((Some(name.clone()), Some(socket)));
        }
        let name = host.instance().map_or_else(|| name_of(&self.config), str::to_owned);
        let socket = control::socket_of(host, Some(&name)).map_err(Failure::start)?;
        let named = *host.control_socket() == ControlSocket::Auto;
        Ok((named.then_some(name), socket))
    }

    /// Watches the file from now on, or no more; says whether it has begun to.
    fn follow(&self, host: &HostConfig, watch: &mut Option<Watch>) -> bool {
        if !self.watch && !host.watch() {
            *watch = None;
        }
        if watch.is_some() || !(self.watch || host.watch()) {
            return false;
        }
        match Watch::begin(&self.config) {
            Ok(begun) => *watch = Some(begun),
            Err(failure) => {
                let error = failure.error();
                tracing::warn!(%error, "the settings file is not watched");
            }
        }
        watch.is_some()
    }
}

/// The name of an instance that has been given none: the settings file's.
pub(super) fn name_of(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    // What cannot stand in a name is replaced, as the user has not chosen it.
    let kept = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    stem.chars().map(kept).take(64).collect()
}
