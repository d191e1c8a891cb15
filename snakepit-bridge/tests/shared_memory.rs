//! Values in shared memory on a link: lent, handed over, given back, and what happens without.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::Arc;

use snakepit_bridge::{Link, LinkEnd, LinkServer, Memory};
use snakepit_core::{Array, Call, CallEvent, Codec, Error, ErrorKind, Payload, Store, Value};
use snakepit_proto::v1;
use snakepit_proto::v1::host_message::Frame as HostFrame;
use snakepit_proto::v1::worker_message::Frame;
use snakepit_shm::{
    Arena, ArenaOptions, DescriptorReceiver, Grant, Reference, Regions, SegmentId,
    descriptor_channel,
};
use tokio::sync::mpsc;

use support::{Events, FakeWorker, Sink, attached, call, raw, server, sink, submit};

const KIB: usize = 1024;

/// A worker that takes part, its link, and the stock they share.
struct Sharing {
    arena: Arena,
    store: Arc<dyn Store>,
    memory: Arc<Memory>,
    link: Link,
    worker: FakeWorker,
    regions: Regions,
    releases: mpsc::UnboundedReceiver<(SegmentId, u64)>,
    sink: Arc<Sink>,
    events: Events,
}

async fn sharing(server: &LinkServer) -> Sharing {
    sharing_with(server, 1024 * KIB as u64, false, true).await
}

async fn sharing_with(server: &LinkServer, quota: u64, strict: bool, takes_part: bool) -> Sharing {
    let arena = Arena::new(ArenaOptions { total_bytes: 64 * 1024 * KIB as u64, poison: true });
    let memory = Memory::new("default".into(), arena.quota("default", quota), 64 * KIB, strict);
    let memory = Arc::new(memory);
    let (sender, receiver) = descriptor_channel().unwrap();
    let (attaching, launched) = support::launch_with(server, |options| {
        options.memory = Some((Arc::clone(&memory), sender));
    });
    let mut hello = support::hello();
    if takes_part {
        hello.capabilities.push("shm".to_owned());
    }
    let (link, worker) = tokio::join!(attaching, FakeWorker::attach(launched, Frame::Hello(hello)));
    let mut worker = worker.unwrap();
    let Some(HostFrame::Welcome(welcome)) = worker.next().await else { panic!() };
    let expected = if takes_part { 64 * KIB as u64 } else { 0 };
    assert_eq!((welcome.shm_threshold_bytes, welcome.shm_strict), (expected, strict));
    let (released, releases) = mpsc::unbounded_channel();
    let regions = Regions::new(DescriptorReceiver::new(receiver), move |segment, generation| {
        let _ = released.send((segment, generation));
    });
    let (sink, events) = sink();
    let store: Arc<dyn Store> = Arc::clone(&memory) as _;
    let link = link.unwrap();
    Sharing { arena, store, memory, link, worker, regions, releases, sink, events }
}

fn matrix(rows: usize) -> Array {
    let items = (0..rows * 1024).map(|i| i as f64).collect();
    Array::from_vec::<f64>(items, [rows, 1024]).unwrap()
}

fn reference(wire: &v1::ShmRef) -> Reference {
    Reference {
        segment: SegmentId(wire.segment_id),
        generation: wire.generation,
        offset: wire.offset,
        size_bytes: wire.size_bytes,
    }
}

fn wire(reference: &Reference) -> v1::ShmRef {
    v1::ShmRef {
        segment_id: reference.segment.0,
        generation: reference.generation,
        offset: reference.offset,
        size_bytes: reference.size_bytes,
    }
}

/// A value that is the bytes of part 0: extension 3 with the body `[0, 0]`.
const PART_0: [u8; 6] = [0xc7, 3, 3, 0x92, 0, 0];

impl Sharing {
    fn call(&self, id: u64, array: &Array) -> Result<Call, Error> {
        let mut call = call(id, "work", "");
        call.request.arguments = Payload::encode_with(Codec::MsgPack, array, Some(&self.store))?;
        Ok(call)
    }

    fn in_use(&self) -> u64 {
        self.arena.stats().in_use_bytes()
    }

    fn release(&self, (segment, generation): (SegmentId, u64)) {
        let use_ = v1::ShmSegment { segment_id: segment.0, generation, ..Default::default() };
        self.worker.send(Frame::ShmRelease(v1::ShmRelease { segments: vec![use_] }));
    }

    /// What was sent before has been read when this returns.
    async fn settle(&mut self) {
        support::ping(&self.link, &mut self.worker, 0, 0).await;
    }

    async fn grant(&mut self) -> v1::ShmGrant {
        match self.worker.next().await {
            Some(HostFrame::ShmGrant(grant)) => grant,
            other => panic!("expected a grant, got {other:?}"),
        }
    }

    /// Asks for memory and enters what is granted.
    async fn want(&mut self, size_bytes: u64) -> v1::ShmGrant {
        self.worker.send(Frame::ShmWant(v1::ShmWant { size_bytes, want_id: 9 }));
        let grant = self.grant().await;
        for segment in &grant.segments {
            self.enter(segment);
        }
        grant
    }

    fn enter(&self, segment: &v1::ShmSegment) {
        let grant = Grant {
            segment: SegmentId(segment.segment_id),
            generation: segment.generation,
            size_bytes: segment.size_bytes,
        };
        self.regions.granted(&grant).unwrap();
    }

    /// Starts a call and answers it with these references.
    async fn answer(&mut self, id: u64, references: Vec<v1::ShmRef>) {
        submit(&self.link, &self.sink, &call(id, "work", ""));
        self.worker.next_call().await;
        self.finish(id, references);
    }

    /// Answers a call with these references.
    fn finish(&self, id: u64, references: Vec<v1::ShmRef>) {
        let value = v1::Payload {
            codec: v1::Codec::Msgpack.into(),
            data: PART_0.to_vec().into(),
            shm: references,
            ..Default::default()
        };
        let result = v1::Result { call_id: id, value: Some(value), run_us: 1 };
        self.worker.send(Frame::Result(result));
    }

    async fn finished(&mut self) -> Payload {
        match self.events.recv().await {
            Some((_, CallEvent::Finished { value, .. })) => value,
            other => panic!("expected a result, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_array_reaches_the_worker_where_it_lies_and_is_kept_until_it_is_let_go() {
    let server = server();
    let mut it = sharing(&server).await;
    let request = it.call(1, &matrix(32)).unwrap();
    submit(&it.link, &it.sink, &request);
    let arguments = it.worker.next_call().await.arguments.unwrap();
    assert!(arguments.data.len() < 64, "only the reference is in the frame");
    let seen = it.regions.view(&reference(&arguments.shm[0])).unwrap();
    let there: Array = request.request.arguments.decode().unwrap();
    assert_eq!(seen.as_slice().unwrap(), &there.data()[..]);
    it.worker.result(1, b"done");
    drop((request, there));
    it.settle().await;
    assert!(it.in_use() > 0, "the worker still looks at it");
    drop(seen);
    let released = it.releases.recv().await.unwrap();
    it.release(released);
    it.settle().await;
    assert_eq!(it.in_use(), 0);
    let counts = it.memory.counts();
    assert_eq!((counts.placed, counts.lent, counts.fallbacks), (1, 1, 0));
}

#[tokio::test]
async fn what_is_there_already_is_lent_again_and_to_others_without_a_copy() {
    let server = server();
    let (mut one, mut other) = (sharing(&server).await, sharing(&server).await);
    let first = one.call(1, &matrix(32)).unwrap();
    let array: Array = first.request.arguments.decode().unwrap();
    for id in 2..4 {
        submit(&one.link, &one.sink, &one.call(id, &array).unwrap());
        let shm = one.worker.next_call().await.arguments.unwrap().shm;
        one.regions.view(&reference(&shm[0])).unwrap();
    }
    submit(&other.link, &other.sink, &other.call(9, &array).unwrap());
    let shm = other.worker.next_call().await.arguments.unwrap().shm;
    let seen = other.regions.view(&reference(&shm[0])).unwrap();
    assert_eq!(seen.as_slice().unwrap(), &array.data()[..]);
    assert_eq!((one.memory.counts().placed, other.memory.counts().placed), (1, 0));
}

#[tokio::test]
async fn a_result_is_a_view_of_what_the_worker_wrote_and_its_memory_is_granted_again() {
    let server = server();
    let mut it = sharing(&server).await;
    let granted = it.want(100 * KIB as u64).await;
    assert_eq!((granted.want_id, granted.segments.len()), (9, 1));
    let mut draft = it.regions.draft(100 * KIB).unwrap();
    draft.as_mut_slice()[..4].copy_from_slice(b"data");
    let (handed, held) = draft.hand_over(0..100 * KIB);
    it.answer(1, vec![wire(&handed)]).await;
    let result = it.finished().await;
    let blob: snakepit_core::Blob = result.decode().unwrap();
    assert!(blob.is_shared() && blob.len() == 100 * KIB && blob.starts_with(b"data"));
    assert_eq!(result.decode::<Value>().unwrap().as_bytes().unwrap().len(), 100 * KIB);
    drop((result, held));
    it.settle().await;
    drop(blob);
    let again = it.grant().await;
    assert_eq!(again.want_id, 0);
    let (before, after) = (&granted.segments[0], &again.segments[0]);
    assert_eq!(after.segment_id, before.segment_id);
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(it.memory.counts().received, 1);
}

#[tokio::test]
async fn what_the_worker_was_lent_comes_back_where_it_lies_and_is_used_again_after_all_readers() {
    let server = server();
    let mut it = sharing(&server).await;
    let request = it.call(1, &matrix(32)).unwrap();
    let there: Array = request.request.arguments.decode().unwrap();
    submit(&it.link, &it.sink, &request);
    let lent = it.worker.next_call().await.arguments.unwrap().shm;
    let seen = it.regions.view(&reference(&lent[0])).unwrap();
    let (part, kept) = it.regions.hand_back(seen.as_ptr().wrapping_add(4096), 8192).unwrap();
    drop(seen);
    it.finish(1, vec![wire(&part)]);
    let result = it.finished().await;
    let blob: snakepit_core::Blob = result.decode().unwrap();
    assert_eq!(blob.as_ptr(), there.data()[4096..].as_ptr(), "it was copied");
    drop(kept);
    let released = it.releases.recv().await.unwrap();
    it.release(released);
    it.settle().await;
    drop((request, result));
    // Whatever is placed meanwhile lies elsewhere; what is released is poisoned.
    let other = it.call(2, &matrix(32)).unwrap();
    drop(it.call(3, &matrix(16)).unwrap());
    let expected: Vec<u8> = (512..1536_u32).flat_map(|i| f64::from(i).to_le_bytes()).collect();
    assert_eq!(&blob[..], expected, "it was used again under its reader");
    drop(there);
    assert_eq!(&blob[..], expected, "the result is a reader of its own");
    drop((other, blob));
    assert_eq!(it.in_use(), 0);
    assert_eq!((it.memory.counts().lent, it.memory.counts().received), (1, 1));
    // It has been given back: there is nothing to hand over any more.
    it.answer(4, vec![wire(&part)]).await;
    let LinkEnd::Broken(found) = it.link.closed().await else { panic!() };
    assert!(found.contains("neither granted nor lent"), "{found}");
}

#[tokio::test]
async fn only_what_this_very_worker_was_shown_can_be_handed_back() {
    let server = server();
    type Change = fn(&mut v1::ShmRef);
    let wrong: [(&str, Change); 4] = [
        ("neither granted nor lent", |it| it.generation += 1),
        ("were not lent", |it| it.size_bytes += 64),
        ("not within", |it| it.size_bytes += 1 << 20),
        ("no multiple", |it| (it.offset, it.size_bytes) = (8, 8)),
    ];
    for (rule, change) in wrong {
        let mut it = sharing(&server).await;
        let array = Array::from_vec::<f64>(vec![1.0; 10_000], [10_000]).unwrap();
        submit(&it.link, &it.sink, &it.call(1, &array).unwrap());
        let mut lent = it.worker.next_call().await.arguments.unwrap().shm[0];
        change(&mut lent);
        it.finish(1, vec![lent]);
        let LinkEnd::Broken(found) = it.link.closed().await else { panic!("{rule}") };
        assert!(found.contains(rule), "{found}");
    }
    let (mut one, mut other) = (sharing(&server).await, sharing(&server).await);
    let request = one.call(1, &matrix(32)).unwrap();
    submit(&one.link, &one.sink, &request);
    let lent = one.worker.next_call().await.arguments.unwrap().shm;
    other.answer(1, lent.clone()).await;
    let LinkEnd::Broken(found) = other.link.closed().await else { panic!() };
    assert!(found.contains("neither granted nor lent"), "{found}");
    // The one that it was lent to may.
    one.finish(1, lent);
    let result = one.finished().await;
    drop((request, one.worker));
    one.link.closed().await;
    one.link.settle(&Error::worker_lost(true, "it died"));
    assert!(one.arena.stats().in_use_bytes() > 0, "a result outlives the worker that gave it back");
    drop(result);
    assert_eq!(one.arena.stats().in_use_bytes(), 0);
}

#[tokio::test]
async fn a_want_beyond_the_quota_is_refused_and_the_link_goes_on() {
    let server = server();
    let mut it = sharing_with(&server, 64 * KIB as u64, false, true).await;
    assert!(it.want(128 * KIB as u64).await.segments.is_empty());
    assert_eq!(it.want(8 * KIB as u64).await.segments.len(), 1);
    assert_eq!(it.memory.counts().fallbacks, 1);
}

#[test]
fn large_memory_is_made_elsewhere_and_all_links_are_served_meanwhile() {
    // One thread for what blocks, which the test holds: what needs it cannot have happened.
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().max_blocking_threads(1).build().unwrap();
    let (finish, held) = std::sync::mpsc::channel::<()>();
    drop(runtime.spawn_blocking(move || held.recv()));
    runtime.block_on(async {
        let server = server();
        let mut it = sharing_with(&server, 8 * 1024 * KIB as u64, false, true).await;
        let (bystander, mut beside) = attached(&server).await;
        let size_bytes = 4 * 1024 * KIB as u64;
        it.worker.send(Frame::ShmWant(v1::ShmWant { size_bytes, want_id: 7 }));
        support::ping(&bystander, &mut beside, 0, 0).await;
        // A grant that was made would come before the ping.
        it.settle().await;
        assert_eq!(it.in_use(), 0);
        finish.send(()).unwrap();
        assert_eq!(it.grant().await.want_id, 7);
        assert_eq!(it.in_use(), size_bytes);
    });
}

#[tokio::test]
async fn arguments_beyond_the_quota_travel_inline() {
    let server = server();
    let mut it = sharing(&server).await;
    let array = matrix(256);
    submit(&it.link, &it.sink, &it.call(1, &array).unwrap());
    let arguments = it.worker.next_call().await.arguments.unwrap();
    assert!(arguments.shm.is_empty() && arguments.total_bytes > array.data().len() as u64);
    assert_eq!(it.memory.counts().fallbacks, 1);
}

#[tokio::test]
async fn a_worker_that_takes_no_part_is_sent_everything_inline() {
    let server = server();
    let mut it = sharing_with(&server, 1024 * KIB as u64, false, false).await;
    let array = matrix(9);
    let request = it.call(1, &array).unwrap();
    assert_eq!(request.request.arguments.parts().len(), 1);
    submit(&it.link, &it.sink, &request);
    let head = it.worker.next_call().await.arguments.unwrap();
    assert!(head.shm.is_empty());
    let payload = Payload::from_bytes(Codec::MsgPack, head.data);
    assert_eq!(payload.decode::<Array>().unwrap(), array);
    drop(request);
    assert_eq!(it.in_use(), 0);
}

#[tokio::test]
async fn a_strict_pool_refuses_what_cannot_go_through_shared_memory() {
    let server = server();
    let mut it = sharing_with(&server, 1024 * KIB as u64, true, false).await;
    let request = it.call(1, &matrix(9)).unwrap();
    submit(&it.link, &it.sink, &request);
    let Some((1, CallEvent::Failed { error, .. })) = it.events.recv().await else { panic!() };
    assert_eq!(error.kind(), ErrorKind::ShmUnavailable);
    let Err(refused) = it.call(2, &matrix(256)) else { panic!() };
    assert_eq!(refused.kind(), ErrorKind::ShmUnavailable, "{refused:?}");
    submit(&it.link, &it.sink, &call(3, "work", "small"));
    assert_eq!(it.worker.next_call().await.call_id, 3);
}

#[tokio::test]
async fn what_a_dead_worker_looked_at_and_was_granted_is_free() {
    let server = server();
    let mut it = sharing(&server).await;
    it.want(100 * KIB as u64).await;
    let (handed, _held) = it.regions.draft(KIB).unwrap().hand_over(0..KIB);
    it.answer(1, vec![wire(&handed)]).await;
    let result = it.finished().await;
    it.want(100 * KIB as u64).await;
    let request = it.call(2, &matrix(32)).unwrap();
    submit(&it.link, &it.sink, &request);
    it.worker.next_call().await;
    drop(request);
    drop(it.worker);
    it.link.closed().await;
    it.link.settle(&Error::worker_lost(true, "it died"));
    let blob: snakepit_core::Blob = result.decode().unwrap();
    assert_eq!(blob.len(), KIB, "a result outlives its worker");
    assert!(it.arena.stats().in_use_bytes() > 0);
    drop((result, blob));
    // The event of the lost call holds nothing of it.
    assert_eq!(it.arena.stats().in_use_bytes(), 0);
}

#[tokio::test]
async fn every_reference_that_breaks_a_rule_ends_its_own_link() {
    let server = server();
    let (mut bystander, mut beside) = attached(&server).await;
    let granted = |granted: &v1::ShmSegment| v1::ShmRef {
        segment_id: granted.segment_id,
        generation: granted.generation,
        offset: 0,
        size_bytes: granted.size_bytes,
    };
    type Change = fn(&mut v1::ShmRef);
    let wrong: [(&str, Change); 6] = [
        ("neither granted nor lent", |it| it.segment_id += 1_000_000),
        ("is not the one granted", |it| it.generation += 1),
        ("not within", |it| it.size_bytes += 1),
        ("not within", |it| it.offset = u64::MAX - 63),
        ("not within", |it| (it.offset, it.size_bytes) = (64, u64::MAX)),
        ("no multiple", |it| (it.offset, it.size_bytes) = (8, 8)),
    ];
    for (rule, change) in wrong {
        let mut it = sharing(&server).await;
        let grant = it.want(100 * KIB as u64).await;
        let mut reference = granted(&grant.segments[0]);
        change(&mut reference);
        it.answer(1, vec![reference]).await;
        let LinkEnd::Broken(found) = it.link.closed().await else { panic!("{rule}") };
        assert!(found.contains(rule), "{found}");
        support::ping(&bystander, &mut beside, 0, 0).await;
    }
    // What only the host may do, and what nobody was given.
    let release = v1::ShmSegment { segment_id: 77, generation: 1, size_bytes: 0 };
    let release = Frame::ShmRelease(v1::ShmRelease { segments: vec![release] });
    let it = sharing(&server).await;
    it.worker.send(release.clone());
    let LinkEnd::Broken(found) = it.link.closed().await else { panic!() };
    assert!(found.contains("not lent"), "{found}");
    beside.send(release);
    let LinkEnd::Broken(found) = bystander.closed().await else { panic!() };
    assert!(found.contains("has none"), "{found}");
    (bystander, beside) = attached(&server).await;
    let value = v1::Payload { shm: vec![v1::ShmRef::default()], ..raw("") };
    beside.send(Frame::Result(v1::Result { call_id: 1, value: Some(value), run_us: 1 }));
    let LinkEnd::Broken(found) = bystander.closed().await else { panic!() };
    assert!(found.contains("only MessagePack"), "{found}");
}

#[tokio::test]
async fn a_result_whose_bytes_refer_to_no_part_fails_its_call_and_nothing_else() {
    let server = server();
    let mut it = sharing(&server).await;
    it.answer(1, Vec::new()).await;
    let error = it.finished().await.decode::<Value>().unwrap_err();
    assert!(error.to_string().contains("no part 0"), "{error}");
    it.settle().await;
}
