//! Who drives the link's runtime.
//!
//! A thread that runs calls drives it while it waits for one, so a call is run by the thread that
//! read it, and its answer is written by the thread that made it: nobody is woken in between. Of
//! several such threads one drives and the others sleep; they are woken for calls that come while
//! that one has its own. While whoever drove is inside Python for longer than a moment, and no other
//! thread has taken the seat, a standby drives instead.
//!
//! Owns the runtime, the standby thread and the seat between them all; not what runs on the runtime.
//! Invariant: whoever drives is detached from Python. Invariant: the link is looked after within
//! two [`TICK`]s whatever the dispatch threads do, and a worker without calls has a standby that
//! sleeps.

use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::outbox::Outbox;
use crate::{process, turns};

/// How often the standby looks while there are calls. A call that ends sooner never meets it.
const TICK: Duration = Duration::from_millis(1);

/// Looks without a call in between after which the standby goes to sleep. Waking it costs a dispatch
/// thread some microseconds at the start of a call, each look costs about as much elsewhere.
const QUIET_TICKS: u32 = 4;

/// How long answers may wait for those of the calls behind theirs. A write and a look at the socket
/// take some 8 µs, half of what a small call takes.
const HOLD_BACK: Duration = Duration::from_micros(60);

/// How long a thread that has nothing to do stays awake while calls come briskly: about as long as
/// an answer takes to its caller and the next call back. A thread that sleeps on a processor with
/// nothing else to do takes some 25 µs to come back, as much as a small call.
const AWAKE: Duration = Duration::from_micros(30);

/// Calls come briskly if the last one came within this time: what staying awake would have caught,
/// and the time it took to wake up.
const BRISK: Duration = Duration::from_micros(100);

/// The seat's states. [`DISPATCH`] and [`STANDBY`] say who drives or is about to.
const FREE: u8 = 0;
const DISPATCH: u8 = 1;
const STANDBY: u8 = 2;

pub(crate) struct Driver {
    runtime: Runtime,
    outbox: Arc<Outbox>,
    seat: AtomicU8,
    /// How often a dispatch thread has left the seat.
    left: AtomicU64,
    /// When that was last, in microseconds since `started`.
    driven_us: AtomicU64,
    started: Instant,
    /// A dispatch thread has taken the seat from the standby.
    claimed: Notify,
    asleep: AtomicBool,
    /// A dispatch thread will be away for as long as it takes: the standby is not to wait for its
    /// next look.
    wanted: AtomicBool,
    standby: OnceLock<Thread>,
    /// The last wait for a call was a short one.
    brisk: AtomicBool,
}

impl Driver {
    /// Makes the runtime and the standby.
    pub(super) fn start(outbox: Arc<Outbox>) -> io::Result<Arc<Self>> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let driver = Arc::new(Self {
            runtime,
            outbox,
            seat: AtomicU8::new(FREE),
            left: AtomicU64::new(0),
            driven_us: AtomicU64::new(0),
            started: Instant::now(),
            claimed: Notify::new(),
            asleep: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            standby: OnceLock::new(),
            brisk: AtomicBool::new(false),
        });
        process::note_forks()?;
        let own = driver.clone();
        let thread = thread::Builder::new().name("snakepit-link".to_owned()).spawn(move || {
            let _guard = process::DieOnPanic("the standby panicked");
            process::leave_signals_to_main_thread();
            turns::keep_short();
            own.stand_by();
        })?;
        // It was empty: this is the only place that sets it.
        let _ = driver.standby.set(thread.thread().clone());
        Ok(driver)
    }

    /// Has the runtime watch a socket that does not block.
    pub(super) fn register(&self, socket: UnixStream) -> io::Result<tokio::net::UnixStream> {
        let _entered = self.runtime.enter();
        tokio::net::UnixStream::from_std(socket)
    }

    pub(super) fn spawn<F>(&self, task: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.spawn(task)
    }

    /// Waits until the future is ready, or `limit` has passed, and says whether it was in time;
    /// drives meanwhile unless another dispatch thread does, which is what the future is told. For a
    /// dispatch thread, detached.
    pub(crate) fn wait<F>(&self, future: impl FnOnce(bool) -> F, limit: Duration) -> bool
    where
        F: Future<Output = ()>,
    {
        process::leave_if_forked();
        if self.take_seat() {
            let in_time = self.block_on(self.await_call(future(true), limit));
            self.leave_seat();
            in_time
        } else {
            park_until(future(false), limit)
        }
    }

    async fn await_call(&self, call: impl Future<Output = ()>, limit: Duration) -> bool {
        let mut call = pin!(call);
        let idle = Instant::now();
        if self.brisk.load(Ordering::Relaxed) && stay_awake(call.as_mut(), idle).await {
            return true;
        }
        let in_time = tokio::time::timeout(limit, call).await.is_ok();
        self.brisk.store(idle.elapsed() < BRISK, Ordering::Relaxed);
        in_time
    }

    /// Runs what is ready and looks at the sockets once, without waiting, unless another dispatch
    /// thread is at it.
    pub(crate) fn turn(&self) {
        process::leave_if_forked();
        if self.take_seat() {
            self.block_on(tokio::task::yield_now());
            self.leave_seat();
            // A look that took long, on a busy machine, has let the standby go to sleep.
            self.entrust();
        }
    }

    /// Whether answers should not wait any longer.
    pub(crate) fn is_turn_due(&self) -> bool {
        // Relaxed: figures that need not belong together.
        let driven = Duration::from_micros(self.driven_us.load(Ordering::Relaxed));
        self.seat.load(Ordering::Relaxed) == FREE
            && self.started.elapsed().saturating_sub(driven) >= HOLD_BACK
    }

    /// Makes sure that the standby is awake: a dispatch thread is about to enter Python.
    pub(crate) fn entrust(&self) {
        // SeqCst here, at the seat and in `doze`: of a standby that goes to sleep and a thread that
        // leaves the seat, one sees the other.
        if self.asleep.load(Ordering::SeqCst)
            && self.asleep.swap(false, Ordering::SeqCst)
            && let Some(standby) = self.standby.get()
        {
            standby.unpark();
        }
    }

    /// Has the standby drive at once if nobody does: a thread waits inside Python for what comes over
    /// the link.
    pub(crate) fn take_over(&self) {
        if self.seat.load(Ordering::SeqCst) != FREE {
            return;
        }
        self.wanted.store(true, Ordering::SeqCst);
        self.entrust();
        if let Some(standby) = self.standby.get() {
            standby.unpark();
        }
    }

    /// Drives until the future is ready, whoever else does. For the end of the link.
    pub(super) fn drive(&self, future: impl Future<Output = ()>) {
        process::leave_if_forked();
        let seated = self.take_seat();
        self.block_on(future);
        if seated {
            self.leave_seat();
        }
    }

    /// Takes the seat for a dispatch thread, from the standby if need be; false if another has it.
    fn take_seat(&self) -> bool {
        let taken = |seat| (seat != DISPATCH).then_some(DISPATCH);
        match self.seat.fetch_update(Ordering::SeqCst, Ordering::SeqCst, taken) {
            Ok(STANDBY) => {
                // One permit for one stay of the standby. Until it is gone, `block_on` polls the
                // future alone and takes over the rest as soon as it can.
                self.claimed.notify_one();
                true
            }
            Ok(_) => true,
            Err(_) => false,
        }
    }

    fn leave_seat(&self) {
        self.driven_us.store(self.started.elapsed().as_micros() as u64, Ordering::Relaxed);
        self.left.fetch_add(1, Ordering::Relaxed);
        self.seat.store(FREE, Ordering::SeqCst);
    }

    /// Drives on any thread; tokio lets one at a time do so, and the others wait in turn.
    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async {
            // Inside, where waking the task that sends costs no system call.
            let _attended = self.outbox.attend();
            future.await
        })
    }

    /// The standby thread.
    fn stand_by(&self) {
        let (mut seen, mut quiet) = (0, 0);
        loop {
            if !self.wanted.load(Ordering::SeqCst) {
                thread::park_timeout(TICK);
            }
            let wanted = self.wanted.swap(false, Ordering::SeqCst);
            let left = self.left.load(Ordering::Relaxed);
            if left != seen && !wanted {
                (seen, quiet) = (left, 0);
            } else if self.stand_in() {
                self.block_on(self.claimed.notified());
                quiet = 0;
            } else {
                quiet += 1;
            }
            if quiet >= QUIET_TICKS {
                self.doze();
                quiet = 0;
            }
        }
    }

    /// Takes the seat for the standby if nobody has it.
    fn stand_in(&self) -> bool {
        self.seat.compare_exchange(FREE, STANDBY, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Sleeps until a dispatch thread enters Python, unless nobody has the seat.
    fn doze(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        if self.seat.load(Ordering::SeqCst) == FREE {
            self.asleep.store(false, Ordering::SeqCst);
        }
        while self.asleep.load(Ordering::SeqCst) {
            thread::park();
        }
    }
}

/// Looks for what comes without sleeping, giving way to whoever wants the processor. Returns
/// whether the future became ready.
async fn stay_awake(mut future: Pin<&mut impl Future<Output = ()>>, since: Instant) -> bool {
    while since.elapsed() < AWAKE {
        if poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await {
            return true;
        }
        // The runtime looks at the sockets.
        tokio::task::yield_now().await;
        thread::yield_now();
    }
    false
}

/// Waits without driving: somebody else does and wakes the future. Says whether it was in time.
fn park_until(future: impl Future<Output = ()>, limit: Duration) -> bool {
    thread_local! {
        static UNPARK: Waker = Waker::from(Arc::new(Unpark(thread::current())));
    }
    let end = Instant::now() + limit;
    let mut future = pin!(future);
    UNPARK.with(|waker| {
        let mut context = Context::from_waker(waker);
        while future.as_mut().poll(&mut context) == Poll::Pending {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::park_timeout(left);
        }
        true
    })
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
