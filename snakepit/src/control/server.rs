//! Serving the control socket on the I/O thread.
//!
//! Owns who is let in, and the end. Invariants: only the host's user and root are served; the server
//! never keeps a host alive whose last handle is gone.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use snakepit_core::{Error, ErrorKind};
use snakepit_proto::control::MESSAGE_BYTES;
use snakepit_proto::control::v1::control_service_server::ControlServiceServer;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::place::own_uid;
use super::service::Service;
use super::socket::{ControlSocket, OwnPath};
use crate::host::WeakHost;

/// How long the answers that are under way may take at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Pause after a connection that could not be accepted: the usual reason, no free descriptor, does
/// not go away by itself, and calls share the thread.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The control socket of a host, served. Dropping it removes the socket and waits for nobody.
pub(crate) struct ControlServer {
    host: Arc<OnceLock<WeakHost>>,
    running: Mutex<Option<Running>>,
}

struct Running {
    // In this order: the path goes before the socket is closed.
    path: OwnPath,
    /// Dropped to end the server.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl ControlServer {
    /// Serves a socket on `runtime`. Until there is a host, requests are told that it starts.
    pub(crate) fn start(socket: ControlSocket, runtime: &Handle) -> Result<Self, Error> {
        let ControlSocket { path, listener } = socket;
        let entered = runtime.enter();
        let listener = UnixListener::from_std(listener).map_err(|error| {
            let message = format!("cannot serve the control socket: {error}");
            Error::new(ErrorKind::System, message)
        })?;
        drop(entered);
        let host = Arc::new(OnceLock::new());
        let (stop, stopped) = oneshot::channel();
        let service = Service::new(Arc::clone(&host));
        let task = runtime.spawn(serve(listener, service, stopped));
        Ok(Self { host, running: Mutex::new(Some(Running { path, stop, task })) })
    }

    /// Says which host this is about.
    pub(crate) fn attach(&self, host: WeakHost) {
        // There is one host, and it says so once.
        let _ = self.host.set(host);
    }

    /// Removes the socket, and waits for the answers that are under way.
    pub(crate) async fn close(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { path, stop, task }) = running {
            drop(path);
            drop(stop);
            // Cut off with the runtime, which then ends what there is to end.
            let _ = task.await;
        }
    }
}

async fn serve(listener: UnixListener, service: Service, stop: oneshot::Receiver<()>) {
    let (accepted, incoming) = mpsc::channel(1);
    let incoming = ReceiverStream::new(incoming).map(Ok::<UnixStream, std::convert::Infallible>);
    let service = ControlServiceServer::new(service)
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES);
    // Ends when the sender is gone and each connection has answered what it was asked.
    let (closing, closed) = oneshot::channel::<()>();
    let serving = tonic::transport::Server::builder().serve_with_incoming_shutdown(
        service,
        incoming,
        async move { drop(closed.await) },
    );
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        served = &mut serving => {
            if let Err(error) = served {
                tracing::error!(%error, "the control socket is not served any more");
            }
        }
        () = accept(listener, accepted) => {}
        _ = stop => {
            drop(closing);
            if timeout(LAST_ANSWERS, serving).await.is_err() {
                tracing::debug!("a request over the control socket was cut off");
            }
        }
    }
}

/// Lets connections in, for ever.
async fn accept(listener: UnixListener, accepted: mpsc::Sender<UnixStream>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let peer = stream.peer_cred().map(|peer| peer.uid());
                match peer {
                    Ok(uid) if may_control(uid, own_uid()) => {
                        if accepted.send(stream).await.is_err() {
                            return;
                        }
                    }
                    Ok(uid) => {
                        tracing::warn!(uid, "another user at the control socket was refused")
                    }
                    Err(error) => tracing::warn!(%error, "an unknown user was refused"),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the control socket");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Root can do all of it anyway.
fn may_control(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_user_and_root_may_control() {
        assert!(may_control(1000, 1000) && may_control(0, 1000) && may_control(0, 0));
        assert!(!may_control(1001, 1000) && !may_control(1000, 0));
    }
}
