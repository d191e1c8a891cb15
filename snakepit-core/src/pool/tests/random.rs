//! Any order of events keeps the books right: each call has exactly one outcome, every slot comes
//! back; calls of a session run where its affinity allows and nowhere else. Each turn checks the
//! state's invariants by itself.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;

use super::fake::*;

use crate::error::ErrorKind;
use crate::ids::{SessionId, WorkerId};
use crate::pool::{CallHandle, Pool};
use crate::session::Affinity;
use crate::worker::Worker;

#[derive(Clone, Debug)]
enum Step {
    Submit { session: Option<(u8, Affinity)>, timeout_ms: Option<u16> },
    EndSession(u8),
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
        6 => (prop::option::of((0_u8..3, affinity())), prop::option::weighted(0.2, 1_u16..200))
            .prop_map(|(session, timeout_ms)| Step::Submit { session, timeout_ms }),
        1 => (0_u8..3).prop_map(Step::EndSession),
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

fn affinity() -> impl Strategy<Value = Affinity> {
    prop_oneof![
        2 => Just(Affinity::Hint),
        2 => Just(Affinity::StrictQueue),
        1 => Just(Affinity::StrictFailFast),
    ]
}

struct World {
    pool: Pool,
    workers: Vec<Arc<FakeWorker>>,
    handles: Vec<Pin<Box<CallHandle>>>,
    joined: usize,
    retiring: Vec<Retiring>,
    sessions: BTreeMap<u8, Model>,
    /// Calls of sessions by their numbers.
    calls: BTreeMap<u64, (u8, Affinity)>,
}

/// What must be true of a session.
#[derive(Default)]
struct Model {
    /// Where its strict calls run.
    bound: Option<Arc<FakeWorker>>,
    /// Its home before the present step.
    home: Option<WorkerId>,
    /// Strict calls up to this one came before the session lost its worker.
    lost_at: u64,
}

impl World {
    fn new(pool: Pool) -> Self {
        let (workers, handles, retiring) = Default::default();
        let (sessions, calls) = Default::default();
        Self { pool, workers, handles, joined: 0, retiring, sessions, calls }
    }

    /// Workers that take calls.
    fn open(&self) -> Vec<Arc<FakeWorker>> {
        let retires = |w: &Arc<FakeWorker>| self.retiring.iter().any(|r| Arc::ptr_eq(&r.worker, w));
        self.workers.iter().filter(|worker| !retires(worker)).cloned().collect()
    }

    fn held(&self) -> BTreeMap<u64, Arc<FakeWorker>> {
        let of =
            |w: &Arc<FakeWorker>| w.holds().into_iter().map(|c| (c, w.clone())).collect::<Vec<_>>();
        self.workers.iter().flat_map(of).collect()
    }

    fn note_homes(&mut self) {
        for (n, session) in &mut self.sessions {
            let info = self.pool.session(&SessionId::from(n.to_string()));
            session.home = info.as_ref().and_then(|info| info.worker.clone());
            if info.is_none() {
                // It ended, by itself or not: the next one is another.
                session.bound = None;
            }
        }
    }

    /// Judges where the calls went that were handed out since `before`.
    fn check_places(&mut self, before: &BTreeMap<u64, Arc<FakeWorker>>) {
        let open = self.open();
        let now = self.held();
        for (call, worker) in now.iter().filter(|(call, _)| !before.contains_key(call)) {
            let Some((n, affinity)) = self.calls.get(call) else { continue };
            let session = self.sessions.get_mut(n).unwrap();
            if affinity.is_strict() {
                let moved = session.bound.as_ref().is_some_and(|bound| !Arc::ptr_eq(bound, worker));
                if moved {
                    assert!(*call > session.lost_at, "a strict call ran on another worker");
                    assert!(session.lost_at > 0, "its worker is there");
                    session.lost_at = 0;
                }
                session.bound = Some(worker.clone());
            } else if let Some(home) = &session.home
                && *home != worker.info().id
                && let Some(home) = open.iter().find(|w| w.info().id == *home)
            {
                let room = home.slots().capacity() - home.load();
                assert_eq!(room, 0, "a hint call ran elsewhere beside a free slot of its worker");
            }
        }
        // Whatever was in line for a worker that went was told, so only later calls may move.
        let last = self.calls.last_key_value().map_or(0, |(call, _)| *call);
        for session in self.sessions.values_mut() {
            let there = |bound: &Arc<FakeWorker>| open.iter().any(|w| Arc::ptr_eq(w, bound));
            if session.bound.as_ref().is_some_and(|bound| !there(bound)) && session.lost_at == 0 {
                session.lost_at = last.max(1);
            }
        }
    }
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
                    Some((n, affinity)) => bound_request(&n.to_string(), affinity),
                    None => request("x"),
                };
                request.timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
                match (self.pool.submit(request), session) {
                    (Ok(handle), session) => {
                        if let Some((n, affinity)) = session {
                            self.calls.insert(handle.id().get(), (n, affinity));
                            self.sessions.entry(n).or_default();
                        }
                        self.handles.push(Box::pin(handle));
                    }
                    (Err(error), Some((n, affinity))) => self.check_refusal(n, affinity, &error),
                    (Err(error), None) => assert_eq!(error.kind(), ErrorKind::PoolSaturated),
                }
            }
            Step::EndSession(n) => {
                let id = SessionId::from(n.to_string());
                let known = self.pool.session(&id).is_some();
                assert_eq!(self.pool.end_session(&id), known);
                if let Some(session) = self.sessions.get_mut(&n) {
                    session.bound = None;
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

    /// Judges why a call of a session was not taken in.
    fn check_refusal(&self, n: u8, affinity: Affinity, error: &crate::Error) {
        let session = self.sessions.get(&n);
        let open = self.open();
        let there = |bound: &&Arc<FakeWorker>| open.iter().any(|w| Arc::ptr_eq(w, bound));
        let bound = session.and_then(|session| session.bound.as_ref()).filter(there);
        let home = session.and_then(|session| session.home.clone());
        let home = bound.or_else(|| open.iter().find(|w| Some(&w.info().id) == home.as_ref()));
        match error.kind() {
            ErrorKind::PoolSaturated => {}
            ErrorKind::WorkerBusy => {
                assert_eq!(affinity, Affinity::StrictFailFast);
                let home = home.expect("only a session with a worker can find it busy");
                assert_eq!(home.load(), home.slots().capacity(), "it had a free slot");
            }
            ErrorKind::SessionWorkerUnavailable => {
                assert!(affinity.is_strict());
                assert!(home.is_none(), "its worker is there");
            }
            other => panic!("refused with {other:?}"),
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
    fn every_call_has_one_outcome_and_every_slot_comes_back(fill in any::<bool>(), steps in prop::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let pool = pool(|o| {
                o.prefetch = 3;
                if fill {
                    o.strategy = crate::pool::Strategy::Fill;
                }
                o.queue_limit = 8;
                o.sessions.ttl = Some(Duration::from_millis(80));
            });
            let mut world = World::new(pool);
            world.join();
            for step in steps {
                let held = world.held();
                world.note_homes();
                world.step(step).await;
                world.check_retiring();
                world.check_places(&held);
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
            tokio::time::sleep(Duration::from_millis(100)).await;
            let stats = world.pool.stats();
            assert_eq!(stats.sessions.active, 0, "sessions that nobody uses end");
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
