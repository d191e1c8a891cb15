//! A handle of one session: its calls, what is kept for it, its end. Where its calls run, and how long
//! it lasts, is the engine's decision.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use snakepit_core::session::{Affinity, SessionInfo};
use snakepit_core::{Codec, Error, Payload, SessionId};

use crate::call::{Call, Target};
use crate::host::{PoolEntry, Snakepit};
use crate::named::PoolHandle;
use crate::stream::ResultStream;

/// A caller's thread of calls in one pool. Clones are handles to the same session, and so is every
/// other handle of its id.
///
/// Calls of a session prefer the worker that served it last, or are held to it, as the pool's setting
/// `session.affinity` says; there, tools keep what they like in `context.session`. The session begins
/// with its first call or value. It ends by [`end`](Self::end), or when nobody has used it for the
/// pool's `session.ttl`; dropping handles does not end it.
///
/// With a strict affinity the loss of the session's worker is told once: its calls in line, or else
/// its next call, get `SessionWorkerUnavailable`. What was kept in that worker is gone; the call after
/// that binds the session to another one.
///
/// # Examples
/// ```no_run
/// # async fn example(snakepit: snakepit::Snakepit) -> snakepit::Result<()> {
/// use serde_json::json;
/// use snakepit::Affinity;
///
/// let ada = snakepit.session("ada").affinity(Affinity::StrictQueue);
/// for word in ["you", "are", "heard"] {
///     ada.execute::<()>("listen", json!({"word": word})).await?;
/// }
/// let text: String = ada.execute("recall", ()).await?;
/// ada.put("text", &text)?;
/// assert!(ada.end()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session {
    snakepit: Snakepit,
    target: Target,
    id: SessionId,
    affinity: Option<Affinity>,
}

impl Snakepit {
    /// A handle of a session in the pool `default`, whether or not it has begun.
    pub fn session(&self, id: impl Into<SessionId>) -> Session {
        Session { snakepit: self.clone(), target: Target::Default, id: id.into(), affinity: None }
    }

    /// A handle of a session that nobody else has: its id is made up.
    pub fn new_session(&self) -> Session {
        // The hasher's keys are random; each of them is another.
        let (one, two) = (RandomState::new(), RandomState::new());
        self.session(format!("session-{:016x}{:016x}", one.hash_one(0), two.hash_one(1)))
    }

    /// What is known of every session of a pool, in the order of their ids.
    ///
    /// # Errors
    /// `PoolNotFound`, or the error the pool failed to start with.
    pub fn sessions(&self, pool: &str) -> Result<Vec<SessionInfo>, Error> {
        Ok(self.entry(Some(pool))?.pool.sessions())
    }
}

impl PoolHandle {
    /// A handle of a session in this pool, whether or not it has begun.
    pub fn session(&self, id: impl Into<SessionId>) -> Session {
        let (snakepit, entry) = self.parts();
        Session { target: Target::Pool(entry), ..snakepit.session(id) }
    }
}

impl Session {
    /// Its id; `context.session_id` in Python.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The session of this id in another pool, which has nothing in common with it.
    #[must_use]
    pub fn pool(mut self, name: impl Into<Arc<str>>) -> Self {
        self.target = Target::Named(name.into());
        self
    }

    /// How closely the calls made through this handle hold to the session's worker, in place of the
    /// pool's setting.
    #[must_use]
    pub fn affinity(mut self, affinity: Affinity) -> Self {
        self.affinity = Some(affinity);
        self
    }

    /// Calls a tool. See [`Call::args`] for the form of arguments.
    ///
    /// # Errors
    /// As [`Call::execute`]; `SessionWorkerUnavailable`, `WorkerBusy` and `SessionQuotaExceeded` are
    /// about the session.
    ///
    /// # Cancel safety
    /// As [`Call::execute`].
    pub async fn execute<T: DeserializeOwned>(
        &self,
        command: impl Into<Arc<str>>,
        arguments: impl Serialize,
    ) -> Result<T, Error> {
        self.call(command).args(arguments).execute().await
    }

    /// Calls a tool that yields results.
    ///
    /// # Errors
    /// As [`Call::stream`].
    ///
    /// # Cancel safety
    /// As [`Call::stream`].
    pub async fn execute_stream<T: DeserializeOwned>(
        &self,
        command: impl Into<Arc<str>>,
        arguments: impl Serialize,
    ) -> Result<ResultStream<T>, Error> {
        self.call(command).args(arguments).stream().await
    }

    /// Starts a call of the session that says more than command and arguments.
    pub fn call(&self, command: impl Into<Arc<str>>) -> Call {
        let call = self.snakepit.call(command).to(self.target.clone()).session(self.id.clone());
        match self.affinity {
            Some(affinity) => call.affinity(affinity),
            None => call,
        }
    }

    /// Keeps a value for the session in this process, until it ends; in place of the one that has the
    /// name. It is there whichever worker serves the session, and no worker sees it.
    ///
    /// # Errors
    /// `SessionQuotaExceeded` for one session too many, or when the values of all sessions of the
    /// pool would take more than `session.max_data`; `EncodeFailed` for a value without an encoded
    /// form; `PoolNotFound`, or the error the pool failed to start with.
    pub fn put(&self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let value = Payload::encode(Codec::MsgPack, value)?;
        self.entry()?.pool.put_session_value(&self.id, name, value)
    }

    /// The value under a name.
    ///
    /// # Errors
    /// `DecodeFailed` if it is no `T`; `PoolNotFound`, or the error the pool failed to start with.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let value = self.entry()?.pool.session_value(&self.id, name);
        value.map(|value| value.decode()).transpose()
    }

    /// Takes the value under a name away; `false` if there was none.
    ///
    /// # Errors
    /// `PoolNotFound`, or the error the pool failed to start with.
    pub fn remove(&self, name: &str) -> Result<bool, Error> {
        Ok(self.entry()?.pool.take_session_value(&self.id, name).is_some())
    }

    /// What is known of it; `None` before it has begun and after its end. Looking does not count as
    /// use.
    ///
    /// # Errors
    /// `PoolNotFound`, or the error the pool failed to start with.
    pub fn info(&self) -> Result<Option<SessionInfo>, Error> {
        Ok(self.entry()?.pool.session(&self.id))
    }

    /// Ends the session: its values are gone, workers drop what tools keep for it, its calls in line
    /// end with `Cancelled`. Calls that run go on, with what they keep. A later call under this id
    /// begins another session. `false` if there was none.
    ///
    /// # Errors
    /// `PoolNotFound`, or the error the pool failed to start with.
    pub fn end(&self) -> Result<bool, Error> {
        Ok(self.entry()?.pool.end_session(&self.id))
    }

    fn entry(&self) -> Result<Arc<PoolEntry>, Error> {
        self.target.entry(&self.snakepit)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id.as_str()).finish_non_exhaustive()
    }
}
