//! Any order of events keeps the books right: each call has exactly one outcome, every slot comes
//! back. Each turn checks the state's invariants by itself.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;

use super::fake::*;

use crate::pool::{CallHandle, Pool};
use crate::worker::Worker;

#[derive(Clone, Debug)]
enum Step {
    Submit { session: Option<u8>, timeout_ms: Option<u16> },
    Drop(usize),
    Finish { worker: usize, call: usize },
    Fail { worker: usize, call: usize },
    GiveBackRevoked(usize),
    Join,
    Lose(usize),
    Retire(usize),
    LeaveRetired(usize),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop::option::of(0_u8..3), prop::option::weighted(0.2, 1_u16..200))
            .prop_map(|(session, timeout_ms)| Step::Submit { session, timeout_ms }),
        1 => any::<usize>().prop_map(Step::Drop),
        5 => (any::<usize>(), 0_usize..2).prop_map(|(worker, call)| Step::Finish { worker, call }),
        1 => (any::<usize>(), 0_usize..4).prop_map(|(worker, call)| Step::Fail { worker, call }),
        2 => any::<usize>().prop_map(Step::GiveBackRevoked),
        1 => Just(Step::Join),
        1 => any::<usize>().prop_map(Step::Lose),
        1 => any::<usize>().prop_map(Step::Retire),
        1 => any::<usize>().prop_map(Step::LeaveRetired),
        2 => (0_u16..50).prop_map(Step::Wait),
    ]
}

struct World {
    pool: Pool,
    workers: Vec<Arc<FakeWorker>>,
    handles: Vec<Pin<Box<CallHandle>>>,
    joined: usize,
    retiring: Vec<Retiring>,
}

/// A worker that was asked to go, what it held then, and the wait for it.
struct Retiring {
    worker: Arc<FakeWorker>,
    held: Vec<u64>,
    idle: Pin<Box<dyn Future<Output = ()>>>,
}

impl World {
    fn join(&mut self) {
        self.joined += 1;
        let worker = FakeWorker::new(&format!("w{}", self.joined), 1 + self.joined % 2);
        self.pool.join(worker.clone());
        self.workers.push(worker);
    }

    fn lose(&mut self, index: usize) {
        let worker = self.workers.remove(index % self.workers.len());
        worker.refuse_from_now_on();
        for (n, call) in worker.holds().into_iter().enumerate() {
            if n < 2 { drop(worker.take(call)) } else { worker.give_back(call) }
        }
        self.pool.leave(&worker.info().id);
        assert_eq!(worker.load(), 0, "a lost worker's slots were all returned");
    }

    fn retire(&mut self, index: usize) {
        let worker = self.workers[index % self.workers.len()].clone();
        let idle = Box::pin(self.pool.retire(&worker.info().id));
        let held = worker.holds();
        self.retiring.push(Retiring { worker, held, idle });
    }

    /// A retiring worker gets nothing new, and its wait is over exactly when it holds no call.
    fn check_retiring(&mut self) {
        for Retiring { worker, held, idle } in &mut self.retiring {
            let holds = worker.holds();
            assert!(holds.iter().all(|call| held.contains(call)), "a new call came");
            let mut cx = Context::from_waker(Waker::noop());
            // Asking anew gives the same answer.
            let again = pin!(self.pool.retire(&worker.info().id)).poll(&mut cx).is_ready();
            assert_eq!(again, holds.is_empty());
            if idle.as_mut().poll(&mut cx).is_ready() {
                assert!(holds.is_empty());
                *idle = Box::pin(std::future::ready(()));
            } else {
                assert!(!holds.is_empty(), "nobody was told");
            }
        }
    }

    async fn step(&mut self, step: Step) {
        let count = self.workers.len();
        match step {
            Step::Submit { session, timeout_ms } => {
                let mut request = match session {
                    Some(n) => session_request("x", &n.to_string()),
                    None => request("x"),
                };
                request.timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
                if let Ok(handle) = self.pool.submit(request) {
                    self.handles.push(Box::pin(handle));
                }
            }
            Step::Drop(n) if !self.handles.is_empty() => {
                let n = n % self.handles.len();
                drop(self.handles.swap_remove(n));
            }
            Step::Finish { worker, call } if count > 0 => {
                let worker = &self.workers[worker % count];
                if let Some(id) = worker.holds().get(call) {
                    worker.finish(*id);
                }
            }
            Step::Fail { worker, call } if count > 0 => {
                let worker = &self.workers[worker % count];
                if let Some(id) = worker.holds().get(call) {
                    worker.fail(*id);
                }
            }
            Step::GiveBackRevoked(worker) if count > 0 => {
                let worker = &self.workers[worker % count];
                let held = worker.holds();
                for call in worker.take_revoked() {
                    if held.contains(&call) {
                        worker.give_back(call);
                    }
                }
            }
            Step::Join => self.join(),
            Step::Lose(n) if count > 0 => self.lose(n),
            Step::Retire(n) if count > 0 => self.retire(n),
            Step::LeaveRetired(n) if !self.retiring.is_empty() => {
                let n = n % self.retiring.len();
                let worker = self.retiring[n].worker.clone();
                if worker.holds().is_empty() {
                    self.pool.leave(&worker.info().id);
                    self.retiring.retain(|other| !Arc::ptr_eq(&other.worker, &worker));
                    self.workers.retain(|other| !Arc::ptr_eq(other, &worker));
                }
            }
            Step::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms.into())).await,
            _ => {}
        }
    }

    fn finish_everything(&mut self) {
        self.join();
        while let Some((worker, call)) =
            self.workers.iter().find_map(|w| Some((w.clone(), *w.holds().first()?)))
        {
            worker.finish(call);
        }
    }
}

proptest! {
    #[test]
    fn every_call_has_one_outcome_and_every_slot_comes_back(steps in prop::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let pool = pool(|o| {
                o.prefetch = 3;
                o.queue_limit = 8;
            });
            let mut world = World { pool, workers: Vec::new(), handles: Vec::new(), joined: 0, retiring: Vec::new() };
            world.join();
            for step in steps {
                world.step(step).await;
                world.check_retiring();
                for worker in &world.workers {
                    assert!(worker.is_flushed(), "something noted was not sent");
                }
            }
            world.finish_everything();
            // Answers are told after the links have had their turn.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let mut cx = Context::from_waker(Waker::noop());
            for mut handle in world.handles.drain(..) {
                assert!(matches!(handle.as_mut().poll(&mut cx), Poll::Ready(_)), "a call was lost");
            }
            let stats = world.pool.stats();
            assert_eq!((stats.queued, stats.in_flight, stats.busy), (0, 0, 0));
            let c = stats.counters;
            assert_eq!(
                c.submitted,
                c.completed + c.failed + c.cancelled + c.queue_timeouts + c.call_timeouts,
                "the sums add up: {c:?}"
            );
        });
    }
}
