//! One call in the making: a command, its arguments and what deviates from the pool's settings.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use snakepit_core::resilience::RetryPolicy;
use snakepit_core::session::Affinity;
use snakepit_core::{
    Codec, Completed, Error, ErrorKind, Payload, Progress, Request, SessionId, ToolCaller, Value,
    WorkerId,
};

use crate::host::{PoolEntry, Snakepit};
use crate::layers::Errand;
use crate::stream::ResultStream;

/// One call in the making; each method sets one thing.
///
/// # Examples
/// ```no_run
/// # async fn example(snakepit: snakepit::Snakepit) -> snakepit::Result<()> {
/// use std::time::Duration;
///
/// let mean: f64 = snakepit
///     .call("mean")
///     .args(serde_json::json!({"numbers": [1, 2, 4]}))
///     .timeout(Duration::from_secs(5))
///     .on_progress(|progress| println!("{} done", progress.done))
///     .execute()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a call does nothing until it is executed or streamed"]
pub struct Call {
    snakepit: Snakepit,
    target: Target,
    codec: Codec,
    /// What went wrong while the call was made comes out of its result.
    arguments: Result<Payload, Error>,
    request: Request,
    policy: Option<Arc<RetryPolicy>>,
}

/// Where a call goes.
#[derive(Clone)]
pub(crate) enum Target {
    Default,
    Named(Arc<str>),
    Pool(Arc<PoolEntry>),
}

impl Target {
    /// The pool that it is now.
    pub(crate) fn entry(&self, snakepit: &Snakepit) -> Result<Arc<PoolEntry>, Error> {
        match self {
            Self::Default => snakepit.entry(None),
            Self::Named(name) => snakepit.entry(Some(name)),
            Self::Pool(entry) => Ok(Arc::clone(entry)),
        }
    }
}

impl Call {
    pub(crate) fn new(snakepit: Snakepit, command: Arc<str>) -> Self {
        let none = Payload::from_bytes(Codec::MsgPack, Bytes::from_static(&[NIL]));
        Self {
            snakepit,
            target: Target::Default,
            codec: Codec::default(),
            arguments: Ok(none.clone()),
            request: Request::new(command, none),
            policy: None,
        }
    }

    /// A call made by a tool on behalf of the one that called it, in the same pool.
    pub(crate) fn nested(snakepit: Snakepit, caller: &Arc<ToolCaller>, command: Arc<str>) -> Self {
        let target = Target::Named(Arc::from(caller.pool().as_str()));
        let call = Self::new(snakepit, command);
        let request = caller.nest(call.request.command, call.request.arguments);
        Self { target, request, ..call }
    }

    /// The tool's arguments: a map or struct gives keyword arguments, a sequence or tuple positional
    /// ones, `()` none, and any other value is the only positional argument.
    ///
    /// Arrays and byte buffers from the pool's threshold on are placed in shared memory here, so
    /// [`pool`](Self::pool) comes before this.
    pub fn args(mut self, arguments: impl Serialize) -> Self {
        let entry = match self.codec {
            Codec::MsgPack => self.target.entry(&self.snakepit).ok(),
            // They have no place for parts.
            _ => None,
        };
        let store = entry.and_then(|entry| entry.store());
        self.arguments = Payload::encode_with(self.codec, &arguments, store.as_ref());
        self
    }

    /// One `bytes` argument, handed over as it is; a `bytes` result comes back the same way.
    pub fn bytes(mut self, argument: impl Into<Bytes>) -> Self {
        self.codec = Codec::Raw;
        self.arguments = Ok(Payload::from_bytes(Codec::Raw, argument));
        self
    }

    /// How arguments and results travel; MessagePack unless set. Arguments given before are
    /// converted.
    pub fn codec(mut self, codec: Codec) -> Self {
        if let Ok(payload) = &self.arguments
            && payload.codec() != codec
        {
            self.arguments = convert(payload, codec);
        }
        self.codec = codec;
        self
    }

    /// The pool that runs the call, instead of `default`.
    pub fn pool(mut self, name: impl Into<Arc<str>>) -> Self {
        self.target = Target::Named(name.into());
        self
    }

    /// The pool that runs the call, however it is known.
    pub(crate) fn to(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// The one worker that may run the call: `WorkerNotFound` when it is gone, `WorkerBusy` when it
    /// has no free slot.
    pub fn worker(mut self, id: impl Into<WorkerId>) -> Self {
        self.request.worker = Some(id.into());
        self
    }

    /// Time until the call's deadline.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.request.timeout = Some(limit);
        self
    }

    /// Time the call may wait for a slot.
    pub fn queue_timeout(mut self, limit: Duration) -> Self {
        self.request.queue_timeout = Some(limit);
        self
    }

    /// The session the call belongs to; `context.session_id` in Python.
    pub fn session(mut self, id: impl Into<SessionId>) -> Self {
        self.request.session = Some(id.into());
        self
    }

    /// Says that it does no harm to run the call twice. Only such calls are tried again after a failure,
    /// moved away from a worker that crashed, given a second attempt when they are slow, or made in the
    /// fallback pool although they may have run, as the pool's settings have it.
    pub fn idempotent(mut self) -> Self {
        self.request.idempotent = true;
        self
    }

    /// How often this call is tried, when, and after which failures, whatever the pool's settings say;
    /// [`RetryPolicy::never`] has one attempt. The pool's budget for further attempts still counts.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// How closely the call holds to its session's worker, in place of the pool's setting. Without a
    /// session it means nothing.
    pub fn affinity(mut self, affinity: Affinity) -> Self {
        self.request.affinity = Some(affinity);
        self
    }

    /// Adds an entry to `context.metadata` in Python.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.metadata.push((key.into(), value.into()));
        self
    }

    /// W3C trace context handed to Python.
    pub fn traceparent(mut self, context: impl Into<Arc<str>>) -> Self {
        self.request.traceparent = Some(context.into());
        self
    }

    /// Told of each progress report, on Snakepit's I/O thread: it must be quick.
    pub fn on_progress(mut self, handler: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.request.on_progress = Some(Arc::new(handler));
        self
    }

    /// Runs the call and decodes its result.
    ///
    /// # Errors
    /// Whatever ended the call, `EncodeFailed` for arguments that have no encoded form, and
    /// `DecodeFailed` for a result that is no `T`.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call: a queued one leaves the queue, a running one sees
    /// `context.cancelled`.
    pub async fn execute<T: DeserializeOwned>(self) -> Result<T, Error> {
        self.complete().await?.payload.decode()
    }

    /// Runs the call and gives its result undecoded, with its times and its worker.
    ///
    /// # Errors
    /// As [`execute`](Self::execute), but nothing is decoded.
    ///
    /// # Cancel safety
    /// As [`execute`](Self::execute).
    pub async fn complete(self) -> Result<Completed, Error> {
        let prepared = self.prepare()?;
        if prepared.has_layers() {
            return prepared.errand().complete().await;
        }
        let Prepared { entry, request, alive, .. } = prepared;
        let completed = entry.pool.submit(request)?.await;
        // Whoever waits for a call needs the pools as much as one who holds a handle.
        drop((entry, alive));
        completed
    }

    /// Runs the call and gives its results as they come.
    ///
    /// # Errors
    /// What can be known at once; everything else comes out of the stream.
    ///
    /// # Cancel safety
    /// Dropping the stream cancels the call.
    pub async fn stream<T: DeserializeOwned>(self) -> Result<ResultStream<T>, Error> {
        let prepared = self.prepare()?;
        if prepared.has_layers() {
            let alive = prepared.alive.clone();
            return ResultStream::open(prepared.errand().open(), alive).await;
        }
        let Prepared { entry, request, alive, .. } = prepared;
        Ok(ResultStream::new(entry.pool.submit_stream(request)?, alive))
    }

    /// Finds the pool and finishes the request.
    pub(crate) fn prepare(self) -> Result<Prepared, Error> {
        let mut request = self.request;
        let entry = match self.target {
            Target::Default => self.snakepit.serving(None, &request, &[])?,
            Target::Named(name) => self.snakepit.serving(Some(&name), &request, &[])?,
            Target::Pool(entry) => entry,
        };
        request.arguments = self.arguments?;
        Ok(Prepared { entry, request, policy: self.policy, alive: self.snakepit })
    }
}

/// A call that is ready to be submitted.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) entry: Arc<PoolEntry>,
    pub(crate) request: Request,
    pub(crate) policy: Option<Arc<RetryPolicy>>,
    /// Keeps the pools running.
    pub(crate) alive: Snakepit,
}

impl Prepared {
    /// Whether more is done with it than to submit it.
    pub(crate) fn has_layers(&self) -> bool {
        self.entry.layers.load().are_on() || self.policy.is_some()
    }

    pub(crate) fn errand(self) -> Errand {
        let Self { entry, request, policy, alive: host } = self;
        Errand { host, entry, request, policy, been: Vec::new() }
    }
}

/// `None` in MessagePack.
const NIL: u8 = 0xc0;

fn convert(payload: &Payload, codec: Codec) -> Result<Payload, Error> {
    let value = match payload.codec() {
        Codec::Raw => Value::Bytes(payload.clone().into_bytes().to_vec()),
        _ => payload.decode()?,
    };
    match (codec, value) {
        (Codec::Raw, Value::Bytes(bytes)) => Ok(Payload::from_bytes(Codec::Raw, bytes)),
        (Codec::Raw, _) => {
            Err(Error::new(ErrorKind::EncodeFailed, "raw arguments are one byte string")
                .with_help("give them with `bytes`"))
        }
        (codec, value) => Payload::encode(codec, &value),
    }
}
