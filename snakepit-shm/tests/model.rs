//! A host and its workers do what they like in any order, messages arrive late, workers die: what is
//! read never changes under its reader, and the books are those of a model that counts holders.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use proptest::collection::vec;
use proptest::prelude::*;
use snakepit_shm::{
    Arena, ArenaOptions, DescriptorReceiver, Draft, Grant, Lease, Ledger, LendError, Notice, Quota,
    Reference, RegionDraft, RegionUse, Regions, SegmentId, ShmError, descriptor_channel,
    segment_bytes,
};

const KIB: u64 = 1024;
const TOTAL_BYTES: u64 = 768 * KIB;
const QUOTA_BYTES: [u64; 2] = [448 * KIB, 512 * KIB];
/// Which pool each worker belongs to.
const POOL_OF_LINK: [usize; 3] = [0, 0, 1];
const SIZES: [usize; 4] = [1, 65_536, 65_537, 200_000];

#[derive(Clone, Debug)]
enum Step {
    Draft { pool: usize, size: usize },
    DropDraft(usize),
    Freeze(usize),
    Clone(usize),
    DropLease(usize),
    Lend { lease: usize, link: usize },
    LendAndWithdraw { lease: usize, link: usize },
    Want { link: usize, size: usize },
    WorkerDraft { link: usize, size: usize },
    WorkerDropDraft { link: usize, at: usize },
    HandOver { link: usize, at: usize },
    HandBack { link: usize, at: usize },
    WorkerDrop { link: usize, at: usize },
    ToWorker { link: usize, most: usize, swift: bool },
    ToHost { link: usize, most: usize, swift: bool },
    RevokeIdle { link: usize },
    Trim,
    Die { link: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (link, at, size) = (0..POOL_OF_LINK.len(), any::<prop::sample::Index>(), 0..SIZES.len());
    let at = at.prop_map(|index| index.index(1 << 16));
    let (pool, most) = (0..QUOTA_BYTES.len(), 1..4_usize);
    prop_oneof![
        3 => (pool, size.clone()).prop_map(|(pool, size)| Step::Draft { pool, size }),
        1 => at.clone().prop_map(Step::DropDraft),
        3 => at.clone().prop_map(Step::Freeze),
        2 => at.clone().prop_map(Step::Clone),
        4 => at.clone().prop_map(Step::DropLease),
        5 => (at.clone(), link.clone()).prop_map(|(lease, link)| Step::Lend { lease, link }),
        1 => (at.clone(), link.clone()).prop_map(|(lease, link)| Step::LendAndWithdraw { lease, link }),
        4 => (link.clone(), size.clone()).prop_map(|(link, size)| Step::Want { link, size }),
        7 => (link.clone(), size).prop_map(|(link, size)| Step::WorkerDraft { link, size }),
        1 => (link.clone(), at.clone()).prop_map(|(link, at)| Step::WorkerDropDraft { link, at }),
        7 => (link.clone(), at.clone()).prop_map(|(link, at)| Step::HandOver { link, at }),
        4 => (link.clone(), at.clone()).prop_map(|(link, at)| Step::HandBack { link, at }),
        3 => (link.clone(), at).prop_map(|(link, at)| Step::WorkerDrop { link, at }),
        8 => (link.clone(), most.clone(), any::<bool>()).prop_map(|(link, most, swift)| Step::ToWorker { link, most, swift }),
        8 => (link.clone(), most, any::<bool>()).prop_map(|(link, most, swift)| Step::ToHost { link, most, swift }),
        1 => link.clone().prop_map(|link| Step::RevokeIdle { link }),
        1 => Just(Step::Trim),
        1 => link.prop_map(|link| Step::Die { link }),
    ]
}

/// A message on its way to a worker.
enum Down {
    Call(Reference, u8),
    Granted(Grant),
    Forget(SegmentId),
}

/// A message on its way to the host.
enum Up {
    Release(SegmentId, u64),
    Result(Reference, u8),
    /// A part of what the host has sent, and what keeps it until this is taken off the queue.
    HandedBack(Reference, RegionUse, u8),
}

type Queue<T> = Arc<Mutex<VecDeque<T>>>;

struct Link {
    /// Never the same for two workers.
    uid: u64,
    pool: usize,
    ledger: Ledger,
    regions: Regions,
    down: VecDeque<Down>,
    up: Queue<Up>,
    drafts: Vec<(RegionDraft, u8)>,
    readers: Vec<(RegionUse, u8)>,
}

impl Link {
    fn new(uid: u64, pool: usize, quota: &Quota) -> Self {
        let (sender, worker) = descriptor_channel().expect("descriptors");
        let ledger = Ledger::new(quota, sender, || {});
        let up = Queue::default();
        let sink = Arc::clone(&up);
        let release = move |segment, generation| {
            sink.lock().expect("one thread").push_back(Up::Release(segment, generation));
        };
        let regions = Regions::with_poison(DescriptorReceiver::new(worker), release, true);
        let (down, drafts, readers) = Default::default();
        Self { uid, pool, ledger, regions, down, up, drafts, readers }
    }
}

/// A use of a segment that the host filled, as the model sees it.
struct Value {
    pool: usize,
    bytes: u64,
    holders: usize,
}

/// A segment that a worker fills, as the model sees it.
struct Granted {
    pool: usize,
    bytes: u64,
    owner: u64,
    holders: usize,
    /// The worker was asked for it.
    revoked: bool,
    /// Given back by the worker, or the worker is dead.
    over: bool,
}

/// Whom a lease belongs to in the model.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Value(usize),
    Granted(SegmentId),
}

struct World {
    arena: Arena,
    quotas: Vec<Quota>,
    links: Vec<Link>,
    drafts: Vec<(Draft, usize)>,
    leases: Vec<(Lease, Owner, u8)>,
    values: Vec<Value>,
    granted: HashMap<SegmentId, Granted>,
    loans: HashMap<(u64, SegmentId, u64), Vec<Owner>>,
    patterns: u8,
    uids: u64,
}

impl World {
    fn new() -> Self {
        let arena = Arena::new(ArenaOptions { total_bytes: TOTAL_BYTES, poison: true });
        let name = |pool: usize| format!("pool {pool}");
        let quotas: Vec<_> = QUOTA_BYTES
            .iter()
            .enumerate()
            .map(|(pool, &bytes)| arena.quota(&name(pool), bytes))
            .collect();
        let mut world = Self {
            arena,
            quotas,
            links: Vec::new(),
            drafts: Vec::new(),
            leases: Vec::new(),
            values: Vec::new(),
            granted: HashMap::new(),
            loans: HashMap::new(),
            patterns: 0,
            uids: 0,
        };
        for pool in POOL_OF_LINK {
            let link = world.new_link(pool);
            world.links.push(link);
        }
        world
    }

    fn new_link(&mut self, pool: usize) -> Link {
        self.uids += 1;
        Link::new(self.uids, pool, &self.quotas[pool])
    }

    /// A byte that no value in sight consists of, and that is not the poison.
    fn pattern(&mut self) -> u8 {
        self.patterns = self.patterns % 200 + 1;
        self.patterns
    }

    fn in_use(&self, pool: usize) -> u64 {
        let values = self.values.iter().filter(|value| value.pool == pool && value.holders > 0);
        let granted = self.granted.values().filter(|granted| granted.pool == pool);
        values.map(|value| value.bytes).sum::<u64>()
            + granted.map(|granted| granted.bytes).sum::<u64>()
    }

    fn hold(&mut self, owner: Owner) {
        match owner {
            Owner::Value(at) => self.values[at].holders += 1,
            Owner::Granted(id) => self.granted.get_mut(&id).expect("held").holders += 1,
        }
    }

    fn let_go(&mut self, owner: Owner) {
        match owner {
            Owner::Value(at) => self.values[at].holders -= 1,
            Owner::Granted(id) => {
                let granted = self.granted.get_mut(&id).expect("held");
                granted.holders -= 1;
                granted.over |= granted.revoked && granted.holders == 0;
                self.bury(id);
            }
        }
    }

    fn bury(&mut self, id: SegmentId) {
        if self.granted.get(&id).is_some_and(|it| it.over && it.holders == 0) {
            self.granted.remove(&id);
        }
    }

    /// A refusal has to be true.
    fn check_refusal(&self, pool: usize, size: usize, error: &ShmError) {
        let asked = segment_bytes(size as u64).expect("small sizes");
        let all: u64 = (0..QUOTA_BYTES.len()).map(|pool| self.in_use(pool)).sum();
        match error {
            ShmError::QuotaReached { .. } => {
                assert!(self.in_use(pool) + asked > QUOTA_BYTES[pool], "{error}");
            }
            ShmError::TotalReached { .. } => assert!(all + asked > TOTAL_BYTES, "{error}"),
            other => panic!("refused for another reason: {other}"),
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Draft { pool, size } => self.draft(pool, SIZES[size]),
            Step::DropDraft(at) => {
                if let Some((draft, value)) = pick(&mut self.drafts, at) {
                    drop(draft);
                    self.let_go(Owner::Value(value));
                }
            }
            Step::Freeze(at) => {
                if let Some((mut draft, value)) = pick(&mut self.drafts, at) {
                    let pattern = self.pattern();
                    draft.as_mut_slice().fill(pattern);
                    let len = draft.capacity();
                    self.leases.push((draft.freeze(len), Owner::Value(value), pattern));
                }
            }
            Step::Clone(at) => {
                if let Some(at) = at.checked_rem(self.leases.len()) {
                    let (lease, owner, pattern) = &self.leases[at];
                    let copy = (lease.clone(), *owner, *pattern);
                    self.hold(copy.1);
                    self.leases.push(copy);
                }
            }
            Step::DropLease(at) => {
                if let Some((lease, owner, _)) = pick(&mut self.leases, at) {
                    drop(lease);
                    self.let_go(owner);
                }
            }
            Step::Lend { lease, link } => self.lend(lease, link, true),
            Step::LendAndWithdraw { lease, link } => self.lend(lease, link, false),
            Step::Want { link, size } => self.want(link, SIZES[size]),
            Step::WorkerDraft { link, size } => {
                let pattern = self.pattern();
                let link = &mut self.links[link];
                if let Some(mut draft) = link.regions.draft(SIZES[size]) {
                    draft.as_mut_slice().fill(pattern);
                    link.drafts.push((draft, pattern));
                }
            }
            Step::WorkerDropDraft { link, at } => {
                pick(&mut self.links[link].drafts, at);
            }
            Step::HandOver { link, at } => {
                let link = &mut self.links[link];
                if let Some((draft, pattern)) = pick(&mut link.drafts, at) {
                    let all = 0..draft.capacity();
                    let (reference, kept) = draft.hand_over(all);
                    link.readers.push((kept, pattern));
                    let mut up = link.up.lock().expect("one thread");
                    up.push_back(Up::Result(reference, pattern));
                }
            }
            Step::HandBack { link, at } => {
                let link = &mut self.links[link];
                let Some(at) = at.checked_rem(link.readers.len()) else { return };
                let (reader, pattern) = &link.readers[at];
                // From the second page on, where there is one.
                let start = if reader.len() > 4096 { 4096 } else { 0 };
                let from = reader.as_ptr().wrapping_add(start);
                // None for what it has written itself and handed over.
                if let Some((part, kept)) = link.regions.hand_back(from, reader.len() - start) {
                    let mut up = link.up.lock().expect("one thread");
                    up.push_back(Up::HandedBack(part, kept, *pattern));
                }
            }
            Step::WorkerDrop { link, at } => {
                pick(&mut self.links[link].readers, at);
            }
            Step::ToWorker { link, most, swift } => self.carry_down(link, most, swift),
            Step::ToHost { link, most, swift } => self.carry_up(link, most, swift),
            Step::RevokeIdle { link } => self.links[link].ledger.revoke_idle(),
            Step::Trim => self.arena.trim(0),
            Step::Die { link } => self.die(link),
        }
        self.collect_notices();
    }

    fn draft(&mut self, pool: usize, size: usize) {
        match self.quotas[pool].draft(size) {
            Ok(draft) => {
                let bytes = draft.capacity() as u64;
                self.values.push(Value { pool, bytes, holders: 1 });
                self.drafts.push((draft, self.values.len() - 1));
            }
            Err(error) => self.check_refusal(pool, size, &error),
        }
    }

    fn lend(&mut self, lease: usize, link: usize, send: bool) {
        let Some(at) = lease.checked_rem(self.leases.len()) else { return };
        let (lease, owner, pattern) = &self.leases[at];
        let (owner, pattern, link) = (*owner, *pattern, &mut self.links[link]);
        match link.ledger.lend(lease) {
            Ok(reference) if send => {
                let key = (link.uid, reference.segment, reference.generation);
                link.down.push_back(Down::Call(reference, pattern));
                self.loans.entry(key).or_default().push(owner);
                self.hold(owner);
            }
            Ok(reference) => link.ledger.withdraw(&reference),
            Err(LendError::Full) => {}
            Err(other) => panic!("cannot lend: {other}"),
        }
    }

    fn want(&mut self, link: usize, size: usize) {
        let (pool, uid) = (self.links[link].pool, self.links[link].uid);
        if let Err(error) = self.links[link].ledger.want(7, size as u64) {
            self.check_refusal(pool, size, &error);
            return;
        }
        self.collect_notices();
        let Some(Down::Granted(grant)) = self.links[link].down.back() else {
            panic!("no grant came of a want that was granted");
        };
        let (id, bytes) = (grant.segment, grant.size_bytes);
        self.granted.insert(
            id,
            Granted { pool, bytes, owner: uid, holders: 0, revoked: false, over: false },
        );
    }

    fn carry_down(&mut self, link: usize, most: usize, swift: bool) {
        let link = &mut self.links[link];
        for _ in 0..most {
            let control = |message: &Down| !matches!(message, Down::Call(..));
            let Some(message) = next(&mut link.down, swift, control) else { return };
            match message {
                Down::Call(reference, pattern) => {
                    let reader = link.regions.view(&reference).expect("what was lent can be seen");
                    link.readers.push((reader, pattern));
                }
                Down::Granted(grant) => link.regions.granted(&grant).expect("a grant fits"),
                Down::Forget(segment) => link.regions.forget([segment]),
            }
        }
    }

    fn carry_up(&mut self, link: usize, most: usize, swift: bool) {
        for _ in 0..most {
            let control = |message: &Up| matches!(message, Up::Release(..));
            let up = Arc::clone(&self.links[link].up);
            let message = next(&mut up.lock().expect("one thread"), swift, control);
            let ledger = self.links[link].ledger.clone();
            match message {
                None => return,
                Some(Up::Release(segment, generation)) => {
                    ledger.release(segment, generation).expect("what was lent can be released");
                    let key = (self.links[link].uid, segment, generation);
                    let loan = self.loans.get_mut(&key).and_then(Vec::pop);
                    if let Some(owner) = loan {
                        self.let_go(owner);
                    } else {
                        self.granted.get_mut(&segment).expect("its own").over = true;
                        self.bury(segment);
                    }
                }
                Some(Up::Result(reference, pattern)) => {
                    let lease = ledger.take(&reference).expect("what was granted can be taken");
                    let owner = Owner::Granted(reference.segment);
                    self.hold(owner);
                    self.leases.push((lease, owner, pattern));
                }
                Some(Up::HandedBack(reference, kept, pattern)) => {
                    let lease = ledger.take(&reference).expect("what is lent can be taken");
                    let key = (self.links[link].uid, reference.segment, reference.generation);
                    let owner = *self.loans[&key].last().expect("it is not released yet");
                    self.hold(owner);
                    self.leases.push((lease, owner, pattern));
                    drop(kept);
                }
            }
        }
    }

    fn die(&mut self, at: usize) {
        let new = self.new_link(self.links[at].pool);
        let dead = std::mem::replace(&mut self.links[at], new);
        dead.ledger.close();
        let loans: Vec<_> = self.loans.extract_if(|key, _| key.0 == dead.uid).collect();
        for owner in loans.into_iter().flat_map(|(_, owners)| owners) {
            self.let_go(owner);
        }
        let own = self.granted.iter_mut().filter(|(_, granted)| granted.owner == dead.uid);
        let own: Vec<_> = own.map(|(id, granted)| (granted.over = true, *id).1).collect();
        own.into_iter().for_each(|id| self.bury(id));
        // Its readers are gone with its process, which had the mappings; nothing of it is looked at.
        let up = std::mem::take(&mut *dead.up.lock().expect("one thread"));
        drop((up, dead));
    }

    fn collect_notices(&mut self) {
        for link in &mut self.links {
            for notice in link.ledger.notices() {
                link.down.extend(match notice {
                    Notice::Grant { grant, .. } => grant.map(Down::Granted),
                    Notice::Forget { segment } => {
                        let own = self.granted.get_mut(&segment);
                        if let Some(own) = own.filter(|own| own.owner == link.uid) {
                            own.revoked = true;
                        }
                        Some(Down::Forget(segment))
                    }
                    other => panic!("unknown notice {other:?}"),
                });
            }
        }
    }

    fn check(&self) {
        for (lease, _, pattern) in &self.leases {
            assert!(consists_of(lease.as_slice(), *pattern), "a lease's bytes changed");
        }
        self.links.iter().for_each(|link| check(&link.readers));
        let stats = self.arena.stats();
        for (pool, found) in stats.pools.iter().enumerate() {
            assert_eq!(found.in_use_bytes, self.in_use(pool), "bytes in use by pool {pool}");
            assert!(found.in_use_bytes <= found.quota_bytes);
            assert!(found.high_water_bytes <= found.quota_bytes);
        }
        let free: u64 = stats.pools.iter().map(|pool| pool.free_bytes).sum();
        assert_eq!(stats.held_bytes, stats.in_use_bytes() + free, "bytes got lost");
        assert!(stats.high_water_bytes <= TOTAL_BYTES);
    }

    /// Everybody lets go, all messages arrive: nothing is left anywhere.
    fn end(mut self) {
        self.drafts.clear();
        self.leases.clear();
        for _ in 0..2 {
            for at in 0..self.links.len() {
                self.links[at].drafts.clear();
                self.links[at].readers.clear();
                self.collect_notices();
                self.carry_down(at, usize::MAX, false);
                self.links[at].readers.clear();
                self.links[at].ledger.revoke_idle();
                self.collect_notices();
                self.carry_down(at, usize::MAX, false);
                let up = Arc::clone(&self.links[at].up);
                loop {
                    let message = next(&mut up.lock().expect("one thread"), false, |_| true);
                    let Some(message) = message else { break };
                    let ledger = &self.links[at].ledger;
                    match message {
                        Up::Release(segment, generation) => {
                            ledger.release(segment, generation).expect("a loan");
                        }
                        Up::Result(reference, _) => drop(ledger.take(&reference).expect("taken")),
                        Up::HandedBack(reference, _kept, _) => {
                            drop(ledger.take(&reference).expect("lent"));
                        }
                    }
                }
            }
            self.arena.trim(0);
            self.collect_notices();
        }
        for at in 0..self.links.len() {
            self.carry_down(at, usize::MAX, false);
            assert_eq!(self.links[at].regions.stats().segments, 0, "a worker keeps a mapping");
        }
        let stats = self.arena.stats();
        assert_eq!((stats.in_use_bytes(), stats.held_bytes, stats.segments), (0, 0, 0));
    }
}

/// The next message of a queue, or the first that overtakes the others, as control frames do.
fn next<T>(queue: &mut VecDeque<T>, swift: bool, control: impl FnMut(&T) -> bool) -> Option<T> {
    let at = if swift { queue.iter().position(control)? } else { 0 };
    queue.remove(at)
}

fn pick<T>(from: &mut Vec<T>, at: usize) -> Option<T> {
    at.checked_rem(from.len()).map(|at| from.swap_remove(at))
}

fn check(readers: &[(RegionUse, u8)]) {
    for (reader, pattern) in readers {
        let bytes = reader.as_slice().expect("memory");
        assert!(consists_of(bytes, *pattern), "a worker's bytes changed under it");
    }
}

/// Looks at each page, which is where reuse would show.
fn consists_of(bytes: &[u8], pattern: u8) -> bool {
    bytes.iter().step_by(4096).chain(bytes.last()).all(|&byte| byte == pattern)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_reused_under_a_reader_and_nothing_is_lost(steps in vec(step(), 1..200)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
            world.check();
        }
        world.end();
    }
}
