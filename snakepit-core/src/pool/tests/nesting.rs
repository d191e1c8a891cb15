//! Whatever calls, tools and nested calls of several pools do, none of them waits for ever, and none
//! is refused that another way would have served. The second is judged by a model that shares nothing
//! with the graph: it lets everything end that can, and looks whether the refused call has started.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;

use super::fake::*;
use crate::error::ErrorKind;
use crate::pool::{CallHandle, Nesting, Pool};
use crate::tool::ToolJob;
use crate::worker::Worker;

#[derive(Clone, Debug)]
enum Step {
    /// A call from outside.
    Submit(usize),
    /// A running call calls a tool.
    Enter(usize),
    /// A tool makes a call in a pool.
    Nest { tool: usize, pool: usize },
    /// A tool ends that waits for none.
    EndTool(usize),
    /// A call ends that is inside no tool.
    Finish(usize),
    /// A caller loses interest.
    Drop(usize),
    /// A worker joins.
    Join(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let any = any::<usize>;
    prop_oneof![
        4 => any().prop_map(Step::Submit),
        4 => any().prop_map(Step::Enter),
        6 => (any(), any()).prop_map(|(tool, pool)| Step::Nest { tool, pool }),
        2 => any().prop_map(Step::EndTool),
        2 => any().prop_map(Step::Finish),
        1 => any().prop_map(Step::Drop),
        1 => any().prop_map(Step::Join),
    ]
}

/// A call's pool and its number there.
type Key = (usize, u64);

struct Call {
    handle: Pin<Box<CallHandle>>,
    /// The tool it was made in.
    parent: Option<u64>,
}

struct World {
    pools: Vec<Pool>,
    workers: Vec<Vec<Arc<FakeWorker>>>,
    jobs: Arc<Jobs>,
    /// Calls without an outcome whose callers wait.
    calls: BTreeMap<Key, Call>,
    /// Tools that run: what they are asked, and by which call.
    tools: BTreeMap<u64, (Key, ToolJob)>,
    last_tool: u64,
    refused: usize,
}

impl World {
    fn new(sizes: &[usize]) -> Self {
        let (jobs, nesting) = (Arc::new(Jobs::default()), Nesting::default());
        let pools = sizes.iter().enumerate().map(|(n, _)| {
            pool(|options| {
                options.name = format!("p{n}").into();
                options.queue_limit = 10_000;
                options.queue_timeout = None;
                options.call_timeout = None;
                options.max_tool_depth = 64;
                options.max_tool_calls = 1000;
                options.tool_host = Some(jobs.clone());
                options.nesting = nesting.clone();
            })
        });
        let mut world = Self {
            pools: pools.collect(),
            workers: vec![Vec::new(); sizes.len()],
            jobs: jobs.clone(),
            calls: BTreeMap::new(),
            tools: BTreeMap::new(),
            last_tool: 0,
            refused: 0,
        };
        for (pool, workers) in sizes.iter().enumerate() {
            (0..*workers).for_each(|_| world.join(pool));
        }
        world
    }

    fn join(&mut self, pool: usize) {
        let number = self.workers[pool].len();
        let worker = FakeWorker::new(&format!("{pool}.{number}"), 1 + number % 2);
        self.pools[pool].join(worker.clone());
        self.workers[pool].push(worker);
    }

    /// Calls that hold a slot, with their workers.
    fn running(&self) -> Vec<(Key, Arc<FakeWorker>)> {
        let workers = self.workers.iter().enumerate();
        let held = workers.flat_map(|(pool, workers)| {
            workers.iter().flat_map(move |worker| {
                worker.holds().into_iter().map(move |call| ((pool, call), worker.clone()))
            })
        });
        held.collect()
    }

    fn is_in_tool(&self, call: Key) -> bool {
        self.tools.values().any(|(caller, _)| *caller == call)
    }

    fn waits_for_calls(&self, tool: u64) -> bool {
        self.calls.values().any(|call| call.parent == Some(tool))
    }

    async fn submit(&mut self, pool: usize, parent: Option<u64>) {
        let request = match parent {
            Some(tool) => nested(&self.tools[&tool].1, "nested"),
            None => request("outer"),
        };
        let before = self.model(Some((pool, parent)));
        let handle = self.pools[pool].submit(request).unwrap();
        let key = (pool, handle.id().get());
        self.calls.insert(key, Call { handle: Box::pin(handle), parent });
        self.collect(&before).await;
    }

    /// Takes the outcomes that have come; a refusal must have been right by the model before it.
    async fn collect(&mut self, before: &Model) {
        // Answers may be told together, within a millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let mut context = Context::from_waker(Waker::noop());
        let mut over = Vec::new();
        for (key, call) in &mut self.calls {
            if let Poll::Ready(outcome) = call.handle.as_mut().poll(&mut context) {
                if let Err(error) = outcome {
                    assert_eq!(error.kind(), ErrorKind::NestedDeadlock, "{error:?}");
                    assert!(call.parent.is_some());
                    self.refused += 1;
                    assert!(!before.everything_ends(), "{key:?} was refused and could have run");
                }
                over.push(*key);
            }
        }
        for key in over {
            self.calls.remove(&key);
        }
    }

    async fn apply(&mut self, step: &Step) {
        let pick = |n: usize, len: usize| (len > 0).then(|| n % len);
        match *step {
            Step::Submit(pool) => self.submit(pool % self.pools.len(), None).await,
            Step::Join(pool) => {
                let pool = pool % self.pools.len();
                self.join(pool);
                self.collect(&Model::default()).await;
            }
            Step::Enter(n) => {
                let running = self.running();
                let Some(n) = pick(n, running.len()) else { return };
                let (key, worker) = &running[n];
                if !self.calls.contains_key(key) {
                    // It was cancelled, and gets no tool any more.
                    return;
                }
                self.last_tool += 1;
                worker.call_tool(key.1, self.last_tool, "lookup");
                self.tools.insert(self.last_tool, (*key, self.jobs.take()));
            }
            Step::Nest { tool, pool } => {
                let Some(n) = pick(tool, self.tools.len()) else { return };
                let tool = *self.tools.keys().nth(n).unwrap();
                self.submit(pool % self.pools.len(), Some(tool)).await;
            }
            Step::EndTool(n) => {
                let idle: Vec<u64> = self
                    .tools
                    .keys()
                    .copied()
                    .filter(|tool| !self.waits_for_calls(*tool))
                    .collect();
                let Some(n) = pick(n, idle.len()) else { return };
                let before = self.model(None);
                let (_, job) = self.tools.remove(&idle[n]).unwrap();
                end(job);
                self.collect(&before).await;
            }
            Step::Finish(n) => {
                let mut running = self.running();
                running.retain(|(key, _)| !self.is_in_tool(*key));
                let Some(n) = pick(n, running.len()) else { return };
                let before = self.model(None);
                let (key, worker) = &running[n];
                worker.finish(key.1);
                self.collect(&before).await;
            }
            Step::Drop(n) => {
                let Some(n) = pick(n, self.calls.len()) else { return };
                let key = *self.calls.keys().nth(n).unwrap();
                let before = self.model(None);
                self.forget(key);
                self.collect(&before).await;
            }
        }
    }

    /// Lets go of a call, and of the tools it is inside of with the calls that those have made.
    fn forget(&mut self, key: Key) {
        self.calls.remove(&key);
        let inside = self.tools.iter().filter(|(_, (caller, _))| *caller == key);
        for tool in inside.map(|(tool, _)| *tool).collect::<Vec<_>>() {
            let made = self.calls.iter().filter(|(_, call)| call.parent == Some(tool));
            for made in made.map(|(key, _)| *key).collect::<Vec<_>>() {
                self.forget(made);
            }
            // The future of a tool that nobody waits for is dropped.
            self.tools.remove(&tool);
        }
    }

    /// Ends what can end until nothing is left.
    async fn drain(&mut self) {
        loop {
            let idle = self.tools.keys().copied().find(|tool| !self.waits_for_calls(*tool));
            let before = self.model(None);
            if let Some(tool) = idle {
                let (_, job) = self.tools.remove(&tool).unwrap();
                end(job);
            } else if let Some((key, worker)) =
                self.running().into_iter().find(|(key, _)| !self.is_in_tool(*key))
            {
                worker.finish(key.1);
            } else {
                break;
            }
            self.collect(&before).await;
        }
        assert!(self.calls.is_empty() && self.tools.is_empty(), "somebody waits for ever");
    }

    /// What the model knows; `more` is a call that is about to come.
    fn model(&self, more: Option<(usize, Option<u64>)>) -> Model {
        let running: Vec<Key> = self.running().into_iter().map(|(key, _)| key).collect();
        let capacity = |workers: &Vec<Arc<FakeWorker>>| {
            workers.iter().map(|worker| worker.slots().capacity()).sum::<usize>()
        };
        let mut model = Model::default();
        for (pool, workers) in self.workers.iter().enumerate() {
            model.free.push(capacity(workers) - running.iter().filter(|key| key.0 == pool).count());
            model.line.push(VecDeque::new());
        }
        model.running.clone_from(&running);
        for (key, call) in &self.calls {
            model.parents.insert(*key, call.parent);
            if !running.contains(key) {
                model.line[key.0].push_back(*key);
            }
        }
        if let Some((pool, parent)) = more {
            let key = (pool, u64::MAX);
            model.parents.insert(key, parent);
            model.line[pool].push_back(key);
        }
        model.tools = self.tools.iter().map(|(tool, (caller, _))| (*tool, *caller)).collect();
        model
    }
}

/// The same world as plain data, without an engine.
#[derive(Default)]
struct Model {
    free: Vec<usize>,
    line: Vec<VecDeque<Key>>,
    running: Vec<Key>,
    /// The calls that have not ended, and the tools they were made in.
    parents: BTreeMap<Key, Option<u64>>,
    /// The tools that run, and the calls inside them.
    tools: BTreeMap<u64, Key>,
}

impl Model {
    /// Lets everything end that can, slots going to whoever is in line; whether nothing is left.
    fn everything_ends(&self) -> bool {
        let (mut free, mut line) = (self.free.clone(), self.line.clone());
        let (mut running, mut parents) = (self.running.clone(), self.parents.clone());
        let mut tools = self.tools.clone();
        loop {
            let ended = running.iter().position(|key| !tools.values().any(|caller| caller == key));
            let idle =
                tools.keys().copied().find(|tool| !parents.values().any(|p| *p == Some(*tool)));
            let starts = (0..free.len()).find(|pool| free[*pool] > 0 && !line[*pool].is_empty());
            if let Some(tool) = idle {
                tools.remove(&tool);
            } else if let Some(ended) = ended {
                let key = running.remove(ended);
                parents.remove(&key);
                free[key.0] += 1;
            } else if let Some(pool) = starts {
                // Which one does not matter: none of those that start asks for anything.
                running.extend(line[pool].pop_front());
                free[pool] -= 1;
            } else {
                return running.is_empty() && line.iter().all(VecDeque::is_empty);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn nobody_waits_for_ever_and_nobody_is_refused_in_vain(
        sizes in prop::collection::vec(1_usize..3, 1..4),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = World::new(&sizes);
            for step in &steps {
                world.apply(step).await;
            }
            world.drain().await;
            for pool in &world.pools {
                let stats = pool.stats();
                assert_eq!((stats.queued, stats.in_flight, stats.in_tools), (0, 0, 0));
            }
        });
    }
}
