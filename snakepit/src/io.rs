//! The one thread that all links, timers and supervision live on. Owns its start and its end; what
//! runs there belongs to others.
//!
//! A second runtime in the host would cost a wake-up between threads on every call.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::join_all;
use snakepit_core::{BoxFuture, Error, ErrorKind};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use crate::linger::linger;

/// The I/O thread. Dropping it tells the thread to end and does not wait.
pub(crate) struct IoThread {
    handle: Handle,
    control: Mutex<Option<Control>>,
    last_duties: LastDuties,
    lone_call: Arc<Notify>,
}

/// What the thread waits for when it is told to end, a few seconds at most.
#[derive(Clone, Default)]
pub(crate) struct LastDuties(Arc<Mutex<Duties>>);

#[derive(Default)]
struct Duties {
    last: u64,
    open: BTreeMap<u64, BoxFuture<'static, ()>>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Duty(u64);

impl LastDuties {
    /// Adds one.
    pub(crate) fn add(&self, duty: impl Future<Output = ()> + Send + 'static) -> Duty {
        let mut duties = lock(&self.0);
        duties.last += 1;
        let number = duties.last;
        duties.open.insert(number, Box::pin(duty));
        Duty(number)
    }

    /// Strikes out one that has been done before the end.
    pub(crate) fn done(&self, Duty(number): Duty) {
        // It may own what the duty was about, which is not dropped under the lock.
        let duty = lock(&self.0).open.remove(&number);
        drop(duty);
    }
}

/// The longest the thread stays for its last duties: killed workers are reaped in milliseconds.
const LAST_DUTIES: Duration = Duration::from_secs(5);

struct Control {
    /// Dropped or used to end the thread.
    stop: oneshot::Sender<()>,
    /// Resolves when the thread has nothing left to do.
    gone: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
}

impl IoThread {
    /// Starts the thread.
    pub(crate) fn start() -> Result<Self, Error> {
        Self::named("snakepit-io")
    }

    /// Starts a thread like it for something else.
    pub(crate) fn named(name: &str) -> Result<Self, Error> {
        let failed = |error: io::Error| {
            Error::new(ErrorKind::System, format!("cannot start the thread {name}: {error}"))
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (going, gone) = oneshot::channel::<()>();
        let last_duties = LastDuties::default();
        let duties = last_duties.clone();
        let lone_call = Arc::new(Notify::new());
        drop(runtime.spawn(linger(Arc::clone(&lone_call))));
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    // An error means that the sender was dropped, which says the same.
                    let _ = stopped.await;
                    let duties = std::mem::take(&mut lock(&duties.0).open).into_values();
                    // Who is late is left to the system: the host goes on without this thread.
                    let _ = timeout(LAST_DUTIES, join_all(duties)).await;
                });
                // Tasks end here, at their next await. A blocking task, such as an interpreter
                // that is being probed, is not waited for.
                runtime.shutdown_background();
                drop(going);
            })
            .map_err(failed)?;
        let control = Mutex::new(Some(Control { stop, gone, thread }));
        Ok(Self { handle, control, last_duties, lone_call })
    }

    /// The thread's runtime.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What the thread waits for at its end.
    pub(crate) fn last_duties(&self) -> &LastDuties {
        &self.last_duties
    }

    /// To be notified of calls that are alone, for which the thread stays awake.
    pub(crate) fn lone_call(&self) -> &Arc<Notify> {
        &self.lone_call
    }

    /// Runs a future on the thread; the one returned only waits, on any executor.
    ///
    /// Dropping the returned future aborts the one on the thread.
    pub(crate) async fn run<F>(&self, future: F) -> Result<F::Output, Error>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        struct AbortOnDrop(tokio::task::AbortHandle);
        impl Drop for AbortOnDrop {
            fn drop(&mut self) {
                self.0.abort();
            }
        }
        let (sender, receiver) = oneshot::channel();
        let task = self.handle.spawn(async move {
            // Nobody listens when the caller has gone away.
            let _ = sender.send(future.await);
        });
        let _abort = AbortOnDrop(task.abort_handle());
        receiver.await.map_err(|_| ended())
    }

    /// Ends the thread and waits for it; a second time does nothing.
    pub(crate) async fn stop(&self) {
        let control = lock(&self.control).take();
        let Some(Control { stop, gone, thread }) = control else {
            return;
        };
        // The thread may have ended by a panic already.
        let _ = stop.send(());
        let _ = gone.await;
        // Nothing but the thread's own epilogue is left, so this does not block.
        let _ = thread.join();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a caller gets whose work was cut off by the end of the thread.
pub(crate) fn ended() -> Error {
    Error::new(ErrorKind::PoolClosed, "snakepit has been shut down")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_on_the_thread_and_is_awaited_without_a_runtime() {
        let io = IoThread::start().unwrap();
        let name = pollster::block_on(io.run(async {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            std::thread::current().name().map(str::to_owned)
        }));
        assert_eq!(name.unwrap().as_deref(), Some("snakepit-io"));
        pollster::block_on(io.stop());
        pollster::block_on(io.stop());
        let late = pollster::block_on(io.run(async {}));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::PoolClosed);
    }

    #[test]
    fn dropping_the_wait_drops_the_work() {
        let io = IoThread::start().unwrap();
        let (held, dropped) = oneshot::channel::<()>();
        let work = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        let mut waiting = Box::pin(io.run(work));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(waiting);
        assert!(pollster::block_on(dropped).is_err());
    }

    #[test]
    fn last_duties_are_done_though_nobody_waits() {
        let io = IoThread::start().unwrap();
        let (done, is_done) = oneshot::channel();
        let (begin, begun) = oneshot::channel::<()>();
        let struck_out = io.last_duties().add(std::future::pending());
        io.last_duties().done(struck_out);
        io.last_duties().add(async move {
            let _ = begun.await;
            let _ = done.send(());
        });
        drop(io);
        begin.send(()).unwrap();
        pollster::block_on(is_done).unwrap();
    }

    #[test]
    fn work_cut_off_by_the_end_says_so() {
        let io = IoThread::start().unwrap();
        let waiting = io.run(std::future::pending::<()>());
        let (result, ()) = pollster::block_on(futures_util::future::join(waiting, io.stop()));
        assert_eq!(result.unwrap_err().kind(), ErrorKind::PoolClosed);
    }
}
