//! `snakepit run`: keeps the pools of a settings file up. Owns the order of start and end; what is
//! told to whom about it is `tell`'s, signals are `signals`'.

mod notify;
mod signals;
mod tell;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use snakepit::config::Layers;
use snakepit::{Snakepit, control};

use self::signals::Signals;
use self::tell::{Reason, Teller};
use self::watch::Watch;
use super::Outcome;
use super::diagnostic::{Failure, Reporter};
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

    /// Name under which the other commands find this host; the settings file's, if left out
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,

    /// Put the control socket here instead of into the user's own directory
    #[arg(long, value_name = "PATH", conflicts_with = "instance")]
    socket: Option<PathBuf>,

    /// Read the settings file again whenever it has changed
    #[arg(long)]
    watch: bool,

    /// Time for running calls and workers to end, as `25s`; calls may take three quarters of it
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "25s")]
    shutdown_timeout: Duration,
}

pub(super) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    // Before it is read: what changes from then on is seen.
    let mut watch = args.watch.then(|| Watch::begin(&args.config)).transpose()?;
    let layers = Layers::new().file(&args.config).environment();
    let loaded = layers.load().map_err(Failure::settings)?;
    for remark in loaded.remarks() {
        tracing::info!("{}:{remark}", args.config.display());
    }
    let config = loaded.into_config();
    let (instance, socket) = args.place()?;
    // Before anything starts: as PID 1, a process without handlers is deaf to these signals.
    let mut signals = Signals::listen()?;
    let builder = Snakepit::builder().config(config).reload_from(&args.config);
    let starting = builder.control_socket(&socket).start();
    let snakepit = tokio::select! {
        started = starting => started.map_err(Failure::start)?,
        // Dropping the start ends what has started.
        signal = signals.next() => return Ok(signal.outcome()),
    };
    let teller = Teller::new(reporter, instance, socket);
    teller.ready(&snakepit);
    let reason = serve(&snakepit, &mut signals, &mut watch, &teller).await;
    teller.stopping(reason);
    let ended = tokio::select! {
        ended = snakepit.shutdown(args.shutdown_timeout) => ended,
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
) -> Reason {
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
            Some(reloaded) = reloads.next() => teller.reloaded(&reloaded),
            () = snakepit.ended() => return Reason::Drained,
        }
    }
}

impl Args {
    /// The instance's name, unless its socket is elsewhere, and its socket.
    fn place(&self) -> Result<(Option<String>, PathBuf), Failure> {
        if let Some(path) = &self.socket {
            return Ok((None, path.clone()));
        }
        let name = self.instance.clone().unwrap_or_else(|| {
            let stem = self.config.file_stem().unwrap_or_default().to_string_lossy();
            // What cannot stand in a name is replaced, as the user has not chosen it.
            let kept = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
            stem.chars().map(kept).take(64).collect()
        });
        let socket = control::socket_path(&name).map_err(Failure::start)?;
        Ok((Some(name), socket))
    }
}
