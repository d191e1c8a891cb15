//! The commands that speak to a running host over its control socket. Owns how the host is found and
//! reached, and how its refusals become failures; one module for each command.

mod drain;
mod format;
mod pools;
mod recycle;
mod reload;
mod reset;
mod scale;
mod shm;
mod stats;
mod workers;

use std::future::Future;
use std::io::{self, ErrorKind as Io};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use prost::Message;
use snakepit::config::{ControlSocket, HostConfig, Layers};
use snakepit::{Error, ErrorKind, control};
use snakepit_proto::control::MESSAGE_BYTES;
use snakepit_proto::control::v1;
use snakepit_proto::control::v1::control_service_client::ControlServiceClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

pub(super) use self::drain::{Args as DrainArgs, run as drain};
pub(super) use self::pools::{Args as PoolsArgs, run as pools};
pub(super) use self::recycle::{Args as RecycleArgs, run as recycle};
pub(super) use self::reload::{Args as ReloadArgs, run as reload};
pub(super) use self::reset::{Args as ResetArgs, run as reset};
pub(super) use self::scale::{Args as ScaleArgs, run as scale};
pub(super) use self::shm::{Args as ShmArgs, run as shm};
pub(super) use self::stats::{Args as StatsArgs, run as stats};
pub(super) use self::workers::{Args as WorkersArgs, run as workers};
use super::diagnostic::Failure;
use super::pool::duration;
use super::run::name_of;

/// How long a host may take to answer what it need not wait for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which host to speak to; the only one that runs, if nothing is said. What the environment and a
/// settings file say of the host (`host.instance`, …) counts here as in `snakepit run`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Target {
    /// Name of the running host, as `snakepit run` was given it
    #[arg(long, value_name = "NAME", conflicts_with = "socket")]
    instance: Option<String>,

    /// Control socket of the running host
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Settings file of the running host, where it was given no name and no socket
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How long to wait until what was asked for is done.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// Do not wait
    #[arg(long)]
    no_wait: bool,

    /// Wait no longer than this, as `30s`
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "no_wait")]
    timeout: Option<Duration>,
}

impl Waiting {
    /// Waits for the answer; `undone` says what goes on when the time for that is up.
    async fn wait<T>(
        self,
        answer: impl Future<Output = Result<Response<T>, Status>>,
        undone: &str,
    ) -> Result<T, Failure> {
        let Some(limit) = self.timeout else { return answered(answer.await) };
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answered(answer),
            Err(_) => {
                let message = format!("{undone} after {limit:?}; it goes on");
                let error = Error::new(ErrorKind::System, message);
                let help = "`snakepit workers` and the host's log say why";
                Err(Failure::control(error.with_help(help)))
            }
        }
    }
}

/// A host that listens.
struct Found {
    name: String,
    stream: UnixStream,
}

/// The way to a running host.
pub(super) struct Host {
    client: ControlServiceClient<Channel>,
}

impl Target {
    /// Finds the host and reaches it.
    async fn reach(&self) -> Result<Host, Failure> {
        let stream = match (&self.socket, &self.instance) {
            (Some(path), _) => at(path).await?,
            (None, Some(name)) => named(self.settings()?.socket_dir(), name).await?,
            (None, None) => self.of_settings(&self.settings()?).await?,
        };
        Host::over(stream).await
    }

    /// What settings say of the host.
    fn settings(&self) -> Result<HostConfig, Failure> {
        let layers = match &self.config {
            Some(file) => Layers::new().file(file),
            None => Layers::new(),
        };
        layers.environment().load_host().map_err(Failure::settings)
    }

    async fn of_settings(&self, host: &HostConfig) -> Result<UnixStream, Failure> {
        let directory = host.socket_dir();
        match (host.control_socket(), host.instance(), &self.config) {
            (ControlSocket::Path(path), ..) => at(path).await,
            (ControlSocket::Off, ..) => {
                let message = "the settings say that the host has no control socket".to_owned();
                Err(none_runs(message, "see `host.control_socket`, or name its `--socket`"))
            }
            (_, Some(name), _) => named(directory, name).await,
            (_, None, Some(file)) => named(directory, &name_of(file)).await,
            (_, None, None) => only(directory, all(directory).await?).await,
        }
    }
}

/// The host at a path.
async fn at(path: &Path) -> Result<UnixStream, Failure> {
    knock(path).await?.ok_or_else(|| {
        let message = format!("no host listens at {}", path.display());
        none_runs(message, "start one with `snakepit run --config FILE`")
    })
}

/// The host of that name.
async fn named(directory: Option<&Path>, name: &str) -> Result<UnixStream, Failure> {
    let path = control::socket_in(directory, name).map_err(Failure::start)?;
    if let Some(stream) = knock(&path).await? {
        return Ok(stream);
    }
    let others: Vec<String> = all(directory).await?.into_iter().map(|found| found.name).collect();
    let help = match others.as_slice() {
        [] => "none runs: start one with `snakepit run --config FILE`".to_owned(),
        names => format!("those that run are: {}", names.join(", ")),
    };
    Err(none_runs(format!("no host named `{name}` runs"), help))
}

/// The host, if there is only one.
async fn only(directory: Option<&Path>, mut hosts: Vec<Found>) -> Result<UnixStream, Failure> {
    match (hosts.pop(), hosts.is_empty()) {
        (None, _) => {
            let directory = directory.map_or_else(control::directory, Path::to_path_buf);
            let message = format!("no host runs: none listens in {}", directory.display());
            let help = "start one with `snakepit run --config FILE`, or name its `--socket`";
            Err(none_runs(message, help))
        }
        (Some(host), true) => Ok(host.stream),
        (Some(last), false) => {
            hosts.push(last);
            let mut described = Vec::new();
            for host in hosts {
                described.push(describe(host).await);
            }
            let message = format!("several hosts run: {}", described.join("; "));
            let error = Error::new(ErrorKind::InvalidConfig, message);
            Err(Failure::invalid(error.with_help("name one with `--instance NAME`")))
        }
    }
}

/// The host's name, and what it says of itself.
async fn describe(Found { name, stream }: Found) -> String {
    let asked = async {
        let mut host = Host::over(stream).await?;
        soon(host.client.get_host(v1::GetHostRequest {})).await
    };
    match asked.await {
        Ok(host) => format!("{name} (process {}: {})", host.pid, host.pools.join(", ")),
        // It starts or ends; its name is all that is needed.
        Err(_) => name,
    }
}

/// Every host of this user that listens.
async fn all(directory: Option<&Path>) -> Result<Vec<Found>, Failure> {
    let mut hosts = Vec::new();
    for (name, path) in control::sockets_in(directory).map_err(Failure::unreachable)? {
        // A dead host's socket, or one that went away meanwhile, is none.
        if let Some(stream) = knock(&path).await? {
            hosts.push(Found { name, stream });
        }
    }
    Ok(hosts)
}

/// Connects to a socket; `None` if nobody listens there. Somebody else's is an error: it may not be
/// what it seems.
async fn knock(path: &Path) -> Result<Option<UnixStream>, Failure> {
    let failed = |what: String| {
        let message = format!("cannot reach the control socket {}: {what}", path.display());
        Failure::unreachable(Error::new(ErrorKind::System, message))
    };
    let trusted = |uid: u32| uid == 0 || uid == rustix::process::geteuid().as_raw();
    match std::fs::symlink_metadata(path) {
        Ok(found) if !trusted(found.uid()) => {
            return Err(failed(format!("it belongs to user {}", found.uid())));
        }
        _ => {}
    }
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), Io::NotFound | Io::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    match stream.peer_cred() {
        Ok(peer) if trusted(peer.uid()) => Ok(Some(stream)),
        Ok(peer) => Err(failed(format!("it is served by user {}", peer.uid()))),
        Err(error) => Err(failed(error.to_string())),
    }
}

impl Host {
    async fn over(stream: UnixStream) -> Result<Self, Failure> {
        let mut stream = Some(TokioIo::new(stream));
        let connector = tower::service_fn(move |_: tonic::transport::Uri| {
            let stream = stream.take().ok_or_else(|| io::Error::other("the connection is lost"));
            std::future::ready(stream)
        });
        // The authority is never looked up: it only has to be one.
        let endpoint = Endpoint::from_static("http://snakepit.invalid");
        let channel = endpoint.connect_with_connector(connector).await.map_err(|error| {
            let message = format!("the host closed the connection: {error}");
            Failure::unreachable(Error::new(ErrorKind::System, message).with_help(REFUSED))
        })?;
        let client = ControlServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES);
        Ok(Self { client })
    }
}

/// Waits for an answer that needs no waiting for anything else.
async fn soon<T>(answer: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answered(answer),
        Err(_) => {
            let message = format!("the host has not answered within {PATIENCE:?}");
            Err(Failure::unreachable(Error::new(ErrorKind::System, message)))
        }
    }
}

fn answered<T>(answer: Result<Response<T>, Status>) -> Result<T, Failure> {
    answer.map(Response::into_inner).map_err(|status| refused(&status))
}

const REFUSED: &str = "a host serves its own user and root only";

/// What a refusal means to the one who asked.
fn refused(status: &Status) -> Failure {
    if let Some(error) = error_in(status) {
        return Failure::control(error);
    }
    let system = |message: String| Error::new(ErrorKind::System, message);
    match status.code() {
        Code::Unimplemented => {
            let message = "the host does not know this request".to_owned();
            let help = "it runs another version of Snakepit: use the command of that version";
            Failure::control(Error::new(ErrorKind::VersionMismatch, message).with_help(help))
        }
        // With a source it is the connection that broke, which may be the host's way to refuse.
        Code::Unavailable if std::error::Error::source(status).is_none() => {
            Failure::unreachable(system(status.message().to_owned()))
        }
        _ => {
            let message = format!("the host ended the connection: {}", status.message());
            Failure::unreachable(system(message).with_help(REFUSED))
        }
    }
}

/// The error the host has sent along.
fn error_in(status: &Status) -> Option<Error> {
    let failure = v1::Failure::decode(status.details()).ok()?;
    // Without details the status was not made by the service.
    (!failure.kind.is_empty()).then(|| error_of(failure))
}

fn error_of(failure: v1::Failure) -> Error {
    let v1::Failure { kind, message, help, details } = failure;
    let kind = ErrorKind::from_code(&kind).unwrap_or(ErrorKind::Internal);
    let error = Error::new(kind, message).with_help(help);
    details.into_iter().fold(error, |error, (name, value)| error.with_detail(name, value))
}

fn none_runs(message: String, help: impl Into<String>) -> Failure {
    Failure::unreachable(Error::new(ErrorKind::System, message).with_help(help))
}
