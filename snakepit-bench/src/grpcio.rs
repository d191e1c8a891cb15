//! gRPC servers in Python behind a tonic client: what one would build by hand. Each server is a process
//! with a Unix socket of its own; calls go to them in turn.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::workload::Setting;

/// Running servers and the channels to them.
pub struct Servers {
    processes: Vec<Child>,
    channels: Vec<Channel>,
    _sockets: tempfile::TempDir,
    /// The package's version.
    pub version: String,
}

impl Servers {
    /// Starts so many servers and connects to them.
    ///
    /// # Errors
    /// When the interpreter has no grpcio.
    pub async fn start(python: &Path, workers: usize) -> Result<Self> {
        let sockets = tempfile::tempdir()?;
        let mut servers = Self {
            processes: Vec::new(),
            channels: Vec::new(),
            _sockets: sockets,
            version: String::new(),
        };
        let paths: Vec<_> =
            (0..workers).map(|n| servers._sockets.path().join(format!("{n}.sock"))).collect();
        for path in &paths {
            let process = Command::new(python)
                .arg("grpcio_server.py")
                .arg(path)
                .current_dir(Setting::python_dir())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            servers.processes.push(process);
        }
        for (process, path) in servers.processes.iter_mut().zip(paths) {
            let mut line = String::new();
            let output = process.stdout.take().context("no stdout")?;
            BufReader::new(output).read_line(&mut line)?;
            anyhow::ensure!(line.starts_with("grpcio"), "grpcio cannot be had: its server ended");
            line.trim().clone_into(&mut servers.version);
            let connect = tower::service_fn(move |_| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            });
            let endpoint = Endpoint::from_static("http://peer");
            servers.channels.push(endpoint.connect_with_connector(connect).await?);
        }
        Ok(servers)
    }

    /// A server's process.
    pub fn pid(&self, number: usize) -> Option<u32> {
        self.processes.get(number).map(Child::id)
    }

    /// One call of a method, at the server whose turn it is.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn call(
        &self,
        number: usize,
        method: &'static str,
        argument: Bytes,
    ) -> Result<Bytes> {
        let channel = self.channels[number % self.channels.len()].clone();
        let mut client = Grpc::new(channel)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        client.ready().await?;
        let path = PathAndQuery::from_static(method);
        Ok(client.unary(Request::new(argument), path, Raw).await?.into_inner())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // They end when there is nothing more to read.
            drop(process.stdin.take());
            // Their samples have been read: how they end is of no interest.
            let _ = process.wait();
        }
    }
}

/// Messages are bytes as they are.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
