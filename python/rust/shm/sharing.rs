//! Shared memory between this worker and its host.
//!
//! Owns the questions for segments to write into, which of those Python's objects lie over, and the
//! settings that the host has sent; which segment is whose turn is known to the table of regions.
//! Knows neither values nor payloads. Invariant: nothing here waits, and what nobody holds any more
//! goes back to the host by itself, from whatever thread.

use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};

use rustc_hash::FxHashMap;
use snakepit_proto::v1;
use snakepit_proto::v1::worker_message::Frame;
use snakepit_shm::{
    DescriptorReceiver, Grant, Reference, RegionDraft, RegionError, RegionUse, Regions, SegmentId,
};

use crate::link::Outbox;
use crate::process;

/// From what size on values go aside where the host has not said another.
pub(crate) const THRESHOLD: usize = 64 * 1024;

/// A free segment serves a value that is smaller by at most this factor. What it could hold besides
/// is lost to everybody until the host is done with it.
const MOST_WASTE: usize = 4;

/// This worker's side of it.
pub(crate) struct Sharing {
    /// None in a worker that was given no socket.
    regions: Option<Regions>,
    outbox: Arc<Outbox>,
    /// 0 while there is no shared memory.
    threshold: AtomicUsize,
    strict: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    wants: FxHashMap<u64, Arc<Want>>,
    last_want: u64,
    /// What Python's objects lie over.
    shown: Vec<Weak<Lent>>,
}

impl Sharing {
    pub(crate) fn new(socket: Option<OwnedFd>, outbox: Arc<Outbox>) -> Arc<Self> {
        let regions = socket.map(|socket| {
            let outbox = Arc::clone(&outbox);
            Regions::new(DescriptorReceiver::new(socket), move |segment, generation| {
                // A process that a tool has forked has copies of everything, and gives nothing back.
                if !process::is_forked() {
                    outbox.push_release(segment.0, generation);
                }
            })
        });
        Arc::new(Self {
            regions,
            outbox,
            threshold: AtomicUsize::new(0),
            strict: AtomicBool::new(false),
            inner: Mutex::default(),
        })
    }

    /// Whether this worker was given what shared memory needs.
    pub(crate) fn is_possible(&self) -> bool {
        self.regions.is_some()
    }

    /// Notes what the host says of it.
    pub(crate) fn configure(&self, welcome: &v1::Welcome) {
        let threshold = usize::try_from(welcome.shm_threshold_bytes).unwrap_or(usize::MAX);
        // Relaxed: figures that need not belong together.
        self.threshold.store(threshold, Ordering::Relaxed);
        self.strict.store(welcome.shm_strict, Ordering::Relaxed);
    }

    /// From what size on values should go through shared memory; none if the host has none.
    pub(super) fn threshold(&self) -> Option<usize> {
        let threshold = self.threshold.load(Ordering::Relaxed);
        (threshold > 0).then_some(threshold)
    }

    /// Whether what cannot go through shared memory does not go at all.
    pub(super) fn is_strict(&self) -> bool {
        self.strict.load(Ordering::Relaxed)
    }

    /// Follows the references of a payload that has arrived.
    ///
    /// # Errors
    /// Fails if the host broke a rule, or the system gives no memory.
    pub(crate) fn arrive(&self, references: &[v1::ShmRef]) -> Result<Arrived, RegionError> {
        if references.is_empty() {
            return Ok(Arrived::default());
        }
        let uses: Result<Vec<_>, _> = references
            .iter()
            .map(|reference| {
                let reference = Reference {
                    segment: SegmentId(reference.segment_id),
                    generation: reference.generation,
                    offset: reference.offset,
                    size_bytes: reference.size_bytes,
                };
                let unknown = RegionError::Unknown { segment: reference.segment };
                self.regions.as_ref().ok_or(unknown)?.view(&reference)
            })
            .collect();
        Ok(Arrived(uses?.into_boxed_slice()))
    }

    /// Takes segments from the host, and answers what they answer.
    ///
    /// # Errors
    /// Fails if the host broke a rule, or the system gives no memory.
    pub(crate) fn grant(&self, granted: &v1::ShmGrant) -> Result<(), RegionError> {
        for segment in &granted.segments {
            let grant = Grant {
                segment: SegmentId(segment.segment_id),
                generation: segment.generation,
                size_bytes: segment.size_bytes,
            };
            let unknown = RegionError::Unknown { segment: grant.segment };
            self.regions.as_ref().ok_or(unknown)?.granted(&grant)?;
        }
        let asked = self.lock().wants.remove(&granted.want_id);
        if let Some(asked) = asked {
            let refused = granted.segments.is_empty();
            asked.answer(if refused { Answer::Refused } else { self.take_for(asked.bytes) });
        }
        Ok(())
    }

    /// The host wants segments back.
    pub(crate) fn revoke(&self, ids: Vec<u64>) {
        if let Some(regions) = &self.regions {
            regions.forget(ids.into_iter().map(SegmentId));
        }
    }

    /// What answers a question. Another thread may have taken it by now, and then asks no more itself.
    fn take_for(&self, bytes: usize) -> Answer {
        self.take(bytes, true).map_or(Answer::Taken, Answer::Granted)
    }

    /// Takes a free segment of at least this size; of a much larger one only if `any` will do.
    pub(super) fn take(&self, bytes: usize, any: bool) -> Option<Arc<Lent>> {
        let draft = self.regions.as_ref()?.draft(bytes)?;
        if !any && draft.capacity() > bytes.max(THRESHOLD).saturating_mul(MOST_WASTE) {
            return None;
        }
        Some(Arc::new(Lent::new(draft)))
    }

    /// Notes that Python's objects may lie over a segment.
    pub(super) fn show(&self, lent: &Arc<Lent>) {
        let mut inner = self.lock();
        inner.shown.retain(|shown| shown.strong_count() > 0);
        inner.shown.push(Arc::downgrade(lent));
    }

    /// The segment these bytes are in, and where; none if they are in none that was shown.
    pub(super) fn find(&self, address: usize, bytes: usize) -> Option<(Arc<Lent>, usize)> {
        // What is dropped here takes no lock of ours.
        let shown: Vec<_> = self.lock().shown.iter().filter_map(Weak::upgrade).collect();
        shown.into_iter().find_map(|lent| {
            let offset = address.checked_sub(lent.start() as usize)?;
            (offset.checked_add(bytes)? <= lent.len()).then_some((lent, offset))
        })
    }

    /// What sends these bytes back as they lie, if they are in memory that the host has sent.
    pub(super) fn hand_back(&self, address: usize, bytes: usize) -> Option<HandedBack> {
        let start = std::ptr::without_provenance(address);
        let (reference, kept) = self.regions.as_ref()?.hand_back(start, bytes)?;
        let Reference { segment, generation, offset, size_bytes } = reference;
        let segment_id = segment.0;
        let reference = v1::ShmRef { segment_id, generation, offset, size_bytes };
        Some(HandedBack { reference, kept })
    }

    /// Asks the host for a segment.
    pub(super) fn ask(&self, bytes: usize) -> Asked<'_> {
        let mut inner = self.lock();
        inner.last_want += 1;
        let want = Want { bytes, answered: AtomicBool::new(false), state: Mutex::default() };
        let (id, want) = (inner.last_want, Arc::new(want));
        inner.wants.insert(id, Arc::clone(&want));
        drop(inner);
        let frame = v1::ShmWant { size_bytes: bytes as u64, want_id: id };
        self.outbox.push(Frame::ShmWant(frame));
        Asked { sharing: self, id, want }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The references that came with a payload. Dropped, they are given back, but for those that
/// something else has taken by then.
#[derive(Debug, Default)]
pub(crate) struct Arrived(Box<[RegionUse]>);

impl Arrived {
    pub(crate) fn uses(&self) -> &[RegionUse] {
        &self.0
    }
}

/// A part of what the host has sent, on its way back.
pub(super) struct HandedBack {
    pub(super) reference: v1::ShmRef,
    /// Keeps the use from being given back.
    pub(super) kept: RegionUse,
}

/// One use of a granted segment, for whoever writes or looks at it here.
pub(crate) struct Lent {
    start: usize,
    len: usize,
    state: Mutex<State>,
}

enum State {
    /// It is this side's to write.
    Unsent(RegionDraft),
    /// A payload that has not left names it.
    Claimed(RegionDraft),
    /// It is the host's; the memory stays as it is for as long as something here looks at it.
    Sent { segment_id: u64, generation: u64, _kept: RegionUse },
    /// Between two of these.
    Moving,
}

impl Lent {
    fn new(draft: RegionDraft) -> Self {
        let (start, len) = (draft.as_mut_ptr().expose_provenance(), draft.capacity());
        Self { start, len, state: Mutex::new(State::Unsent(draft)) }
    }

    pub(super) fn start(&self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.start)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether it is still to be written here.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(*self.lock(), State::Unsent(_))
    }

    /// Whether a payload names it that has not left.
    pub(super) fn is_claimed(&self) -> bool {
        matches!(*self.lock(), State::Claimed(_))
    }

    /// Has it go with one payload; false if it goes or went with another.
    pub(super) fn claim(&self) -> bool {
        self.change(|state| match state {
            State::Unsent(draft) => (State::Claimed(draft), true),
            other => (other, false),
        })
    }

    /// The payload that has claimed it will not leave.
    pub(super) fn unclaim(&self) {
        self.change(|state| match state {
            State::Claimed(draft) => (State::Unsent(draft), ()),
            other => (other, ()),
        });
    }

    /// The payload is about to leave: the memory is the host's until it is granted anew. Gives segment
    /// and generation; none if the payload had not claimed it.
    pub(super) fn send(&self) -> Option<(u64, u64)> {
        self.change(|state| match state {
            State::Claimed(draft) => {
                let len = draft.capacity();
                let (reference, kept) = draft.hand_over(0..len);
                let (segment_id, generation) = (reference.segment.0, reference.generation);
                let sent = State::Sent { segment_id, generation, _kept: kept };
                (sent, Some((segment_id, generation)))
            }
            State::Sent { segment_id, generation, .. } => (state, Some((segment_id, generation))),
            other => (other, None),
        })
    }

    fn change<T>(&self, step: impl FnOnce(State) -> (State, T)) -> T {
        let mut state = self.lock();
        let (after, result) = step(std::mem::replace(&mut *state, State::Moving));
        *state = after;
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that was sent. Dropped, it is answered to nobody, and what is granted is free.
pub(super) struct Asked<'a> {
    sharing: &'a Sharing,
    id: u64,
    want: Arc<Want>,
}

impl Asked<'_> {
    pub(super) fn is_answered(&self) -> bool {
        self.want.answered.load(Ordering::Acquire)
    }

    /// The answer, if it is there; once.
    pub(super) fn take(&self) -> Option<Answer> {
        self.want.lock().answer.take()
    }

    /// Ready when there is an answer.
    pub(super) async fn ready(&self) {
        poll_fn(|context| {
            let mut state = self.want.lock();
            if self.is_answered() {
                return Poll::Ready(());
            }
            state.waiter = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.sharing.lock().wants.remove(&self.id);
    }
}

struct Want {
    bytes: usize,
    answered: AtomicBool,
    state: Mutex<Waiting>,
}

/// What becomes of a question.
pub(super) enum Answer {
    Granted(Arc<Lent>),
    /// It was granted, and something else here has it.
    Taken,
    Refused,
}

#[derive(Default)]
struct Waiting {
    answer: Option<Answer>,
    waiter: Option<Waker>,
}

impl Want {
    fn answer(&self, answer: Answer) {
        let mut state = self.lock();
        state.answer = Some(answer);
        // Under the lock, so that a thread cannot miss it between its look and its sleep.
        self.answered.store(true, Ordering::Release);
        let waiter = state.waiter.take();
        drop(state);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
