//! Values cross between a host's record and a worker's table, in one process with a real channel.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use snakepit_shm::{
    Arena, ArenaOptions, Breach, DescriptorReceiver, Ledger, Notice, POISON, Quota, Reference,
    Regions, SegmentId, ShmError, descriptor_channel,
};

const KIB: usize = 1024;
const MIB: u64 = 1024 * 1024;

type Releases = Arc<Mutex<Vec<(SegmentId, u64)>>>;

/// A host's record and the table of its worker, joined by a real channel.
struct Link {
    ledger: Ledger,
    regions: Regions,
    releases: Releases,
    wakes: Arc<AtomicUsize>,
}

impl Link {
    fn new(quota: &Quota) -> Self {
        let (sender, worker) = descriptor_channel().expect("descriptors");
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&wakes);
        let ledger = Ledger::new(quota, sender, move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        let releases = Releases::default();
        let sink = Arc::clone(&releases);
        let release = move |segment, generation| {
            sink.lock().expect("no test panics with it").push((segment, generation))
        };
        let regions = Regions::with_poison(DescriptorReceiver::new(worker), release, true);
        Self { ledger, regions, releases, wakes }
    }

    /// Carries what each side has to tell the other, as frames would.
    fn settle(&self) {
        for notice in self.ledger.notices() {
            match notice {
                Notice::Grant { grant: Some(grant), .. } => {
                    self.regions.granted(&grant).expect("a grant")
                }
                Notice::Grant { grant: None, .. } => {}
                Notice::Forget { segment } => self.regions.forget([segment]),
                other => panic!("unknown notice {other:?}"),
            }
        }
        for (segment, generation) in
            std::mem::take(&mut *self.releases.lock().expect("no test panics with it"))
        {
            self.ledger.release(segment, generation).expect("a loan");
        }
    }
}

fn arena(total_bytes: u64) -> Arena {
    Arena::new(ArenaOptions { total_bytes, poison: true })
}

#[test]
fn a_value_is_read_where_the_host_wrote_it_and_its_segment_serves_again() {
    let arena = arena(16 * MIB);
    let quota = arena.quota("pool", 16 * MIB);
    let link = Link::new(&quota);
    let mut draft = quota.draft(100 * KIB).unwrap();
    draft.as_mut_slice()[..100 * KIB].fill(7);
    let lease = draft.freeze(100 * KIB);

    let reference = link.ledger.lend(&lease).unwrap();
    let seen = link.regions.view(&reference).unwrap();
    assert_eq!(seen.as_slice().unwrap(), lease.as_slice());

    drop(lease);
    assert_eq!(arena.stats().in_use_bytes(), 128 * KIB as u64, "the worker still looks");
    assert!(seen.as_slice().unwrap().iter().all(|&byte| byte == 7));
    drop(seen);
    link.settle();
    assert_eq!(arena.stats().in_use_bytes(), 0);

    let again = quota.draft(100 * KIB).unwrap().freeze(100 * KIB);
    assert!(
        again.as_slice().iter().all(|&byte| byte == POISON),
        "released memory was not poisoned"
    );
    let second = link.ledger.lend(&again).unwrap();
    assert_eq!(second.segment, reference.segment, "a warm segment was not used again");
    assert!(second.generation > reference.generation);
}

#[test]
fn a_value_is_read_where_the_worker_wrote_it_and_its_segment_is_granted_again() {
    let arena = arena(16 * MIB);
    let link = Link::new(&arena.quota("pool", 16 * MIB));
    assert!(link.regions.draft(KIB).is_none(), "nothing was granted");
    link.ledger.want(9, 100).unwrap();
    link.settle();

    let mut draft = link.regions.draft(100).unwrap();
    draft.as_mut_slice()[64..164].fill(3);
    let (reference, kept) = draft.hand_over(64..164);
    let lease = link.ledger.take(&reference).unwrap();
    assert_eq!(lease.as_slice(), [3; 100]);
    assert!(link.regions.draft(100).is_none(), "the host reads it");

    drop(lease);
    assert_eq!(link.wakes.load(Ordering::SeqCst), 1, "nobody was told of the way back");
    link.settle();
    assert!(link.regions.draft(100).is_none(), "a reader on the worker's side still has it");
    assert_eq!(kept.as_slice().unwrap(), [3; 100]);
    drop(kept);
    let again = link.regions.draft(100).unwrap();
    drop(again);
    assert_eq!(
        link.ledger.take(&reference).unwrap_err(),
        Breach::WrongGeneration { segment: reference.segment, named: 1, granted: 2 }
    );
}

#[test]
fn references_that_break_a_rule_are_refused_by_name() {
    let arena = arena(16 * MIB);
    let link = Link::new(&arena.quota("pool", 16 * MIB));
    link.ledger.want(1, 100).unwrap();
    link.settle();
    let (good, _) = link.regions.draft(100).unwrap().hand_over(0..100);
    let breach = |change: &dyn Fn(&mut Reference)| {
        let mut bad = good;
        change(&mut bad);
        link.ledger.take(&bad).unwrap_err()
    };
    assert!(matches!(breach(&|it| it.segment.0 += 1), Breach::NotGranted { .. }));
    assert!(matches!(breach(&|it| it.generation += 1), Breach::WrongGeneration { .. }));
    assert!(matches!(breach(&|it| it.size_bytes = MIB), Breach::OutOfRange { .. }));
    assert!(matches!(breach(&|it| it.offset = u64::MAX - 63), Breach::OutOfRange { .. }));
    assert!(matches!(breach(&|it| it.offset = 8), Breach::Unaligned { .. }));
    let lost = link.ledger.release(good.segment, good.generation).unwrap_err();
    assert!(matches!(lost, Breach::NotLent { .. }));
    assert!(link.ledger.take(&good).is_ok(), "what was right is no longer");
}

#[test]
fn quota_and_total_refuse_by_name_and_idle_grants_come_back() {
    let arena = arena(MIB);
    let quota = arena.quota("pool", 256 * KIB as u64);
    let link = Link::new(&quota);
    link.ledger.want(1, 256 * KIB as u64).unwrap();
    link.settle();
    let refused = quota.draft(64 * KIB).err().unwrap();
    assert!(matches!(refused, ShmError::QuotaReached { .. }), "{refused}");
    link.settle();
    assert_eq!(arena.stats().held_bytes, 0, "an idle grant did not come back");
    let wide = arena.quota("wide", 4 * MIB);
    let refused = wide.draft(2 * MIB as usize).err().unwrap();
    assert!(matches!(refused, ShmError::TotalReached { .. }), "{refused}");
    assert_eq!(arena.stats().held_bytes, 0);
}
