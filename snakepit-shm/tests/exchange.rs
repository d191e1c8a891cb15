//! Values cross between a host's record and a worker's table, in one process with a real channel.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use snakepit_shm::{
    Arena, ArenaOptions, Breach, DescriptorReceiver, FileRegion, Ledger, LendError, Notice, POISON,
    Quota, Reference, Regions, SegmentId, ShmError, descriptor_channel,
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

    let before = link.wakes.load(Ordering::SeqCst);
    drop(lease);
    assert_eq!(link.wakes.load(Ordering::SeqCst), before + 1, "nobody was told of the way back");
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
fn what_the_worker_was_sent_comes_back_as_it_lies_and_its_use_goes_on() {
    let arena = arena(16 * MIB);
    let quota = arena.quota("pool", 16 * MIB);
    let link = Link::new(&quota);
    let mut draft = quota.draft(100 * KIB).unwrap();
    draft.as_mut_slice().fill(7);
    let lease = draft.freeze(100 * KIB);
    let sent = link.ledger.lend(&lease.slice(0..50 * KIB)).unwrap();
    let seen = link.regions.view(&sent).unwrap();
    // The same use a second time, of which the first reference is enough to hand it back.
    let other = link.ledger.lend(&lease.slice(40 * KIB..90 * KIB)).unwrap();
    let elsewhere = Link::new(&quota);

    let part = seen.as_ptr().wrapping_add(4096);
    let (reference, kept) = link.regions.hand_back(part, 8192).unwrap();
    assert_eq!((reference.segment, reference.generation), (sent.segment, sent.generation));
    assert!(link.regions.hand_back(part.wrapping_add(8), 8).is_none(), "it is not aligned");
    assert!(link.regions.hand_back(part, 50 * KIB).is_none(), "it was not sent all of it");
    drop(seen);
    let back = link.ledger.take(&reference).unwrap();
    assert!(link.releases.lock().unwrap().is_empty(), "a release is before its message");
    assert_eq!(back.as_slice().as_ptr(), lease.as_slice()[4096..].as_ptr(), "it was copied");

    let breach = |change: &dyn Fn(&mut Reference)| {
        let mut bad = reference;
        change(&mut bad);
        link.ledger.take(&bad).unwrap_err()
    };
    assert!(matches!(breach(&|it| it.generation += 1), Breach::NotGranted { .. }));
    assert!(matches!(breach(&|it| it.offset += 8), Breach::Unaligned { .. }));
    assert!(matches!(breach(&|it| it.size_bytes = 88 * KIB as u64), Breach::NotShown { .. }));
    assert!(matches!(breach(&|it| it.size_bytes = MIB), Breach::OutOfRange { .. }));
    let stranger = elsewhere.ledger.take(&reference).unwrap_err();
    assert!(matches!(stranger, Breach::NotGranted { .. }), "{stranger}");

    drop((kept, link.regions.view(&other).unwrap(), lease));
    link.settle();
    let late = link.ledger.take(&reference).unwrap_err();
    assert!(matches!(late, Breach::NotGranted { .. }), "it has been given back: {late}");
    assert!(back.as_slice().iter().all(|&byte| byte == 7), "it was used again under a reader");
    assert_eq!(arena.stats().in_use_bytes(), 128 * KIB as u64);
    link.ledger.close();
    drop(back);
    assert_eq!(arena.stats().in_use_bytes(), 0);
}

#[test]
fn a_file_that_was_lent_does_not_come_back_by_reference() {
    let link = Link::new(&arena(16 * MIB).quota("pool", 16 * MIB));
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[5; 8192]).unwrap();
    let reference = link.ledger.lend_file(&FileRegion::new(file).unwrap()).unwrap();
    let seen = link.regions.view(&reference).unwrap();
    assert!(link.regions.hand_back(seen.as_ptr(), seen.len()).is_none(), "the host maps no file");
    let breach = link.ledger.take(&reference).unwrap_err();
    assert!(matches!(breach, Breach::NotGranted { .. }), "{breach}");
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

#[test]
fn a_segment_that_is_asked_back_while_a_value_in_it_is_on_its_way_comes_with_the_value() {
    let arena = arena(16 * MIB);
    let link = Link::new(&arena.quota("pool", 16 * MIB));
    link.ledger.want(1, 100).unwrap();
    link.settle();
    let mut draft = link.regions.draft(100).unwrap();
    draft.as_mut_slice().fill(5);
    let (reference, _) = draft.hand_over(0..128);
    link.ledger.revoke_idle();
    // The worker hears of it before its result has reached the host, which releases could overtake.
    link.settle();
    let lease = link.ledger.take(&reference).unwrap();
    assert_eq!(lease.as_slice(), [5; 128]);

    // It can be shown to the worker that made it, which has it mapped still.
    let shown = link.ledger.lend(&lease).unwrap();
    let seen = link.regions.view(&shown).unwrap();
    assert_eq!(seen.as_slice().unwrap(), [5; 128]);
    drop((lease, seen));
    link.settle();
    link.settle();
    assert_eq!(link.regions.stats().segments, 0, "the mapping stays");
    assert_eq!(arena.stats().held_bytes, 0);
}

#[test]
fn a_segment_that_is_asked_back_while_it_is_filled_for_nothing_is_given_back() {
    let arena = arena(16 * MIB);
    let link = Link::new(&arena.quota("pool", 16 * MIB));
    for sent in [false, true] {
        link.ledger.want(1, 100).unwrap();
        link.settle();
        let draft = link.regions.draft(100).unwrap();
        link.ledger.revoke_idle();
        link.settle();
        assert_eq!(arena.stats().segments, 1, "it is in use at the worker");
        if sent {
            let (reference, _) = draft.hand_over(0..100);
            link.regions.withdraw(&reference);
        } else {
            drop(draft);
        }
        link.settle();
        assert_eq!((arena.stats().held_bytes, link.regions.stats().segments), (0, 0));
    }
}

#[test]
fn a_warm_segment_may_be_twice_as_large_unless_that_breaks_the_quota() {
    let arena = arena(16 * MIB);
    let quota = arena.quota("pool", 192 * KIB as u64);
    let (kept, large) = (quota.draft(1).unwrap(), quota.draft(128 * KIB).unwrap());
    drop(large);
    assert_eq!(quota.draft(1).unwrap().capacity(), 128 * KIB, "a warm one is as good");
    let lowered = arena.quota("pool", 128 * KIB as u64);
    let small = lowered.draft(1).unwrap();
    assert_eq!((kept.capacity(), small.capacity()), (64 * KIB, 64 * KIB));
    assert!(lowered.draft(1).is_err());
}

#[test]
fn what_one_worker_made_is_shown_to_another_without_a_copy_and_outlives_its_maker() {
    let arena = arena(16 * MIB);
    let quota = arena.quota("pool", 16 * MIB);
    let (maker, reader) = (Link::new(&quota), Link::new(&quota));
    maker.ledger.want(1, 100).unwrap();
    maker.settle();
    let mut draft = maker.regions.draft(100).unwrap();
    draft.as_mut_slice().fill(9);
    let (reference, _) = draft.hand_over(0..100);
    let lease = maker.ledger.take(&reference).unwrap();
    let shown = reader.ledger.lend(&lease).unwrap();
    let seen = reader.regions.view(&shown).unwrap();
    maker.ledger.close();
    drop((maker, lease));
    assert_eq!(seen.as_slice().unwrap(), [9; 100]);
    assert_eq!(arena.stats().in_use_bytes(), 64 * KIB as u64);
    drop(seen);
    reader.settle();
    reader.settle();
    assert_eq!(reader.regions.stats().segments, 0, "its mapping keeps memory that is given back");
    assert_eq!(arena.stats().held_bytes, 0);
}

#[test]
fn a_file_is_shown_where_it_lies_and_let_go_of_when_it_was_read() {
    let arena = arena(16 * MIB);
    let quota = arena.quota("pool", 16 * MIB);
    let link = Link::new(&quota);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[1; 100]).unwrap();
    file.write_all(&[2; 100]).unwrap();
    let region = FileRegion::open(file.path()).unwrap();
    let part = region.slice(100..200).unwrap();
    let shown = link.ledger.lend_file(&part).unwrap();
    let seen = link.regions.view(&shown).unwrap();
    assert_eq!(seen.len(), 100);
    assert!(seen.as_slice().is_none(), "bytes that can go away must not be a slice");
    assert_eq!(seen.to_vec().unwrap(), [2; 100]);
    assert_eq!(part.read().unwrap(), [2; 100]);
    drop(seen);
    link.settle();
    assert_eq!(link.regions.stats().segments, 0);

    let unsent = link.ledger.lend_file(&region).unwrap();
    link.ledger.withdraw(&unsent);
    link.settle();
    assert_eq!(link.regions.stats().segments, 0, "a file that was never looked at stays mapped");
    assert_eq!(arena.stats().held_bytes, 0, "a file costs no shared memory");

    file.as_file().set_len(50).unwrap();
    let cut = part.read().unwrap_err();
    assert_eq!(cut.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(matches!(part.copy_to(&quota), Err(ShmError::System { .. })));
    let kept = FileRegion::open(file.path()).unwrap().copy_to(&quota).unwrap();
    file.as_file().set_len(0).unwrap();
    assert_eq!(kept.as_slice(), [1; 50]);
    assert!(FileRegion::open("/dev/null").is_err(), "no regular file");
}

#[test]
fn what_is_free_goes_with_its_pool_and_what_is_held_when_it_comes_back() {
    let arena = arena(16 * MIB);
    let quota = arena.quota("pool", 8 * MIB);
    let link = Link::new(&quota);
    let held = quota.draft(100 * KIB).unwrap().freeze(100 * KIB);
    drop(quota.draft(MIB as usize).unwrap());
    // Another handle, as settings that are read again make one, takes nothing away.
    drop(arena.quota("pool", 4 * MIB));
    drop(quota);
    assert_eq!(arena.stats().pools[0].free_bytes, MIB, "a worker is left");
    drop(link);
    assert_eq!(arena.stats().held_bytes, 128 * KIB as u64, "it was kept for nobody");
    assert_eq!(held.len(), 100 * KIB, "a value outlives its pool");
    drop(held);
    assert_eq!((arena.stats().held_bytes, arena.stats().segments), (0, 0));
    // One of the same name begins anew.
    let again = arena.quota("pool", MIB);
    drop(again.draft(1).unwrap());
    assert_eq!(arena.stats().pools[0].free_bytes, 64 * KIB as u64);
}

#[test]
fn bytes_keep_their_lease() {
    let arena = arena(16 * MIB);
    let quota = arena.quota("pool", 16 * MIB);
    let mut draft = quota.draft(10).unwrap();
    draft.as_mut_slice()[..10].copy_from_slice(b"0123456789");
    let bytes = draft.freeze(10).slice(2..8).into_bytes();
    let part = bytes.slice(1..3);
    drop(bytes);
    assert_eq!(&part[..], b"34");
    assert_eq!(arena.stats().in_use_bytes(), 64 * KIB as u64);
    drop(part);
    assert_eq!(arena.stats().in_use_bytes(), 0);
}

#[test]
fn a_worker_that_reads_no_descriptors_is_full_and_one_that_ended_is_closed() {
    let arena = arena(64 * MIB);
    let quota = arena.quota("pool", 64 * MIB);
    let link = Link::new(&quota);
    let leases: Vec<_> = (0..900).map(|_| quota.draft(1).unwrap().freeze(1)).collect();
    let first = leases.iter().map(|lease| link.ledger.lend(lease)).find(Result::is_err);
    let error = first.expect("the way of descriptors has no limit").unwrap_err();
    assert!(matches!(error, LendError::Full), "{error}");
    let Link { ledger, regions, .. } = link;
    drop(regions);
    let error = ledger.lend(leases.last().unwrap()).unwrap_err();
    assert!(matches!(error, LendError::Closed), "{error}");
}

#[test]
fn a_value_of_one_arena_is_shown_to_a_worker_of_another() {
    let (ours, theirs) = (arena(16 * MIB), arena(16 * MIB));
    let (quota, other) = (ours.quota("pool", 16 * MIB), theirs.quota("pool", 16 * MIB));
    let link = Link::new(&quota);
    let leases = [quota.draft(1).unwrap().freeze(1), other.draft(1).unwrap().freeze(1)];
    let shown = leases.each_ref().map(|lease| link.ledger.lend(lease).unwrap());
    assert_ne!(shown[0].segment, shown[1].segment, "two segments of one name");
    drop(shown.map(|reference| link.regions.view(&reference).unwrap()));
    drop(leases);
    link.settle();
    theirs.trim(0);
    link.settle();
    assert_eq!(link.regions.stats().segments, 1, "memory of the other arena stays mapped");
}
