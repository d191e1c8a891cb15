//! Supervises workers that are not Python: each is a thread that counts words. They are recycled after
//! some calls and by hand, their number follows the load, one dies, and handlers listen to the events
//! that tell of it. No call notices but the one that ran in the worker that died.
//!
//! `cargo run -p snakepit-lifecycle --example recycle`

use std::error::Error as StdError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use snakepit_core::testkit::CountedSlots;
use snakepit_core::{
    BoxFuture, Call, CallEvent, CallId, CancelReason, Clock, Codec, Error, Payload, Pool,
    PoolOptions, Profile, Reply, Request, Seat, Slots, Worker, WorkerExit, WorkerId, WorkerInfo,
};
use snakepit_lifecycle::{Elastic, Supervisor, SupervisorOptions};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// A thread that counts words; the command `stumble` is too much for it.
struct Counter {
    info: WorkerInfo,
    slots: Arc<dyn Slots>,
    calls: mpsc::Sender<Option<(Request, Reply)>>,
    exit: watch::Receiver<Option<WorkerExit>>,
}

struct Counters;

impl Profile for Counters {
    fn name(&self) -> &'static str {
        "thread"
    }

    fn start(&self, seat: Seat) -> BoxFuture<'static, Result<Arc<dyn Worker>, Error>> {
        Box::pin(async move {
            let (calls, inbox) = mpsc::channel();
            let (exited, exit) = watch::channel(None);
            std::thread::spawn(move || exited.send_replace(Some(count_words(inbox))));
            let info = WorkerInfo::new(seat.worker_id(), "thread");
            let slots: Arc<dyn Slots> = Arc::new(CountedSlots::new(1));
            Ok(Arc::new(Counter { info, slots, calls, exit }) as Arc<dyn Worker>)
        })
    }
}

fn count_words(inbox: mpsc::Receiver<Option<(Request, Reply)>>) -> WorkerExit {
    // `None`, or nobody left who could send, is the end.
    while let Ok(Some((request, reply))) = inbox.recv() {
        if &*request.command == "stumble" {
            // Dropping the reply tells its caller that the worker was lost. Before that the worker
            // takes no more: its slot is free from then on, and the next call would be lost too.
            drop(inbox);
            drop(reply);
            return WorkerExit::Died("it stumbled".to_owned());
        }
        std::thread::sleep(Duration::from_millis(2));
        let text: Result<String, _> = request.arguments.decode();
        let count = text.map(|text| text.split_whitespace().count());
        reply.finish(match count.and_then(|count| Payload::encode(Codec::Json, &count)) {
            Ok(value) => CallEvent::Finished { value, run_time: Duration::from_millis(2) },
            Err(error) => CallEvent::Failed { error, run_time: None },
        });
    }
    WorkerExit::Stopped
}

impl Worker for Counter {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn slots(&self) -> &Arc<dyn Slots> {
        &self.slots
    }

    fn submit(&self, call: &Call, _: Option<Duration>, reply: Reply) -> Result<(), Reply> {
        let sent = self.calls.send(Some((call.request.clone(), reply)));
        sent.map_err(|refused| match refused.0 {
            Some((_, reply)) => reply,
            None => unreachable!("a call was sent"),
        })
    }

    // Its calls are short: nothing is cancelled, handed over ahead of time or streamed.
    fn cancel(&self, _: CallId, _: CancelReason) {}
    fn revoke(&self, _: &[CallId]) {}
    fn grant(&self, _: CallId, _: u32) {}
    fn flush(&self) {}
    fn stuck(&self, _: CallId) {}

    fn exited(&self) -> BoxFuture<'static, WorkerExit> {
        let mut exit = self.exit.clone();
        Box::pin(async move {
            let exit = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
            exit.unwrap_or_else(|| WorkerExit::Died("it panicked".to_owned()))
        })
    }

    fn stop(&self, _: Duration) -> BoxFuture<'static, WorkerExit> {
        // One that has gone already needs no telling.
        let _ = self.calls.send(None);
        self.exited()
    }
}

/// A handler: counts the recycles it is told of. A layer hears all events and picks by name.
#[derive(Clone, Default)]
struct Recycled(Arc<AtomicUsize>);

impl<S: Subscriber> Layer<S> for Recycled {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().name() == "worker.recycled" {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let told = Recycled::default();
    let lines = tracing_subscriber::fmt::layer().without_time();
    tracing_subscriber::registry().with(lines).with(told.clone()).init();

    let runtime = Handle::current();
    let mut options = PoolOptions::new("words");
    options.prefetch = 0;
    let pool = Pool::new(options, Clock::system(), &runtime);
    let mut options = SupervisorOptions::new(1);
    options.limits.max_requests = Some(50);
    let idle_timeout = Duration::from_millis(200);
    options.elastic = Some(Elastic { min_workers: 1, max_workers: 4, idle_timeout });
    let supervisor = Supervisor::start(pool.clone(), Arc::new(Counters), options, &runtime).await?;

    let call = |command: &str| {
        let text = Payload::encode(Codec::Json, "the quick brown fox")?;
        pool.submit(Request::new(command, text))
    };
    // Half a second's work for one worker: the pool grows.
    let calls: Vec<_> = (0..500).map(|_| call("count")).collect::<Result<_, _>>()?;
    let mut most = 0;
    for call in calls {
        assert_eq!(call.await?.payload.decode::<usize>()?, 4);
        most = most.max(pool.stats().workers);
    }
    assert!(most > 1, "calls waited, and no worker came");

    let stumbled = call("stumble")?.await;
    println!("one call is lost: {}", stumbled.err().ok_or("a worker stumbled unnoticed")?);
    assert_eq!(call("count")?.await?.payload.decode::<usize>()?, 4);

    supervisor.recycle_all().await;
    let status = supervisor.status();
    println!("{} recycles and {} exits by death", status.recycles.total(), status.exits.died);
    assert_eq!(told.0.load(Ordering::Relaxed) as u64, status.recycles.total());
    assert!(status.recycles.max_requests > 0 && status.recycles.manual > 0);
    let gone: WorkerId = "words.0.0".into();
    assert!(supervisor.recycle(&gone).is_err(), "it was replaced long ago");

    pool.close();
    supervisor.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}
