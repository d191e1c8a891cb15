//! The host's stock of segments. Owns who has which segment: a [`Draft`] that is being filled, a
//! [`Lease`] that is only read, or the free list. What workers know of it is in
//! [`Ledger`](crate::Ledger).
//!
//! Invariant: a segment is owned by exactly one of these at a time (it is moved, not shared), so
//! what is being read cannot be given to a writer.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

use crate::books::{ArenaStats, Books, Found, PoolIndex};
use crate::error::ShmError;
use crate::ledger::LedgerInner;
use crate::segment::{Direction, Reference, Segment, SegmentId, segment_bytes};

/// What a released segment is filled with where [`ArenaOptions::poison`] is set.
pub const POISON: u8 = 0xdb;

/// How much shared memory a host may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaOptions {
    /// All pools together, in use or kept for use, in bytes.
    pub total_bytes: u64,
    /// Fill each released segment with [`POISON`], so that a reader that still looks is found out.
    /// For tests: it costs a pass over the memory.
    pub poison: bool,
}

/// The host's stock of segments: one for a process. Clones are the same stock.
#[derive(Clone)]
pub struct Arena(Arc<Stock>);

/// One pool's share of an [`Arena`]. Clones are the same share. When the last one is gone, and the last
/// [`Ledger`](crate::Ledger) of the pool, its free segments are given back to the system, and so is each
/// that comes back later.
#[derive(Clone)]
pub struct Quota(Arc<Share>);

/// Counted by the books for as long as it lives.
struct Share(Home);

/// Where a pool's segments come from and go back to.
#[derive(Clone)]
pub(crate) struct Home {
    stock: Arc<Stock>,
    pool: PoolIndex,
}

/// A segment that is being filled: nobody else has it.
pub struct Draft {
    segment: Option<Segment>,
    home: Home,
}

/// One use of a segment, to be read. Clones share it; the segment is free again when the last one is
/// dropped.
#[derive(Clone)]
pub struct Lease {
    pub(crate) hold: Arc<Hold>,
    offset: usize,
    len: usize,
}

pub(crate) struct Stock {
    books: Mutex<Books<Segment>>,
    ledgers: Mutex<Vec<Weak<LedgerInner>>>,
    poison: bool,
}

/// What all clones of a lease share.
pub(crate) struct Hold {
    /// Taken out only when dropped.
    segment: Option<Segment>,
    owner: Owner,
}

/// Where a segment goes when its use is over.
enum Owner {
    Stock(Home),
    Ledger(Weak<LedgerInner>, Home),
}

impl Arena {
    /// An empty stock. It makes segments when they are asked for, and keeps them.
    pub fn new(options: ArenaOptions) -> Self {
        Self(Arc::new(Stock {
            books: Mutex::new(Books::new(options.total_bytes)),
            ledgers: Mutex::default(),
            poison: options.poison,
        }))
    }

    /// A pool's share. Asking again for the same name gives the same share with its new quota; one
    /// below what is in use refuses until enough has come back.
    pub fn quota(&self, pool: &str, quota_bytes: u64) -> Quota {
        let pool = self.0.books().join(pool, quota_bytes);
        Quota(Arc::new(Share(Home { stock: Arc::clone(&self.0), pool })))
    }

    /// How much there is, and who uses it.
    pub fn stats(&self) -> ArenaStats {
        self.0.books().stats()
    }

    /// Gives free segments back to the system until at most `keep_bytes` of them are left. Workers
    /// that have one mapped are told to forget it.
    pub fn trim(&self, keep_bytes: u64) {
        let out = self.0.books().trim(keep_bytes);
        self.0.retire(out);
    }
}

impl Quota {
    /// A segment of at least so many bytes, to fill. A warm one if there is one.
    ///
    /// # Errors
    /// See [`ShmError`]: the pool's quota or the total is reached, or the system has no memory.
    pub fn draft(&self, size_bytes: usize) -> Result<Draft, ShmError> {
        let (home, bytes) = (self.home(), class_of(size_bytes as u64)?);
        let segment = match home.take(bytes, true)? {
            Found::Warm(segment) => segment,
            Found::Make { evicted } => {
                home.stock.retire(evicted);
                home.make(bytes, Direction::Inbound)?
            }
        };
        Ok(Draft { segment: Some(segment), home: home.clone() })
    }

    pub(crate) fn home(&self) -> &Home {
        &self.0.0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Home { stock, pool } = &self.0;
        let out = stock.books().leave(*pool);
        stock.retire(out);
    }
}

impl Home {
    /// A segment for a worker to fill. Always a new one: a worker keeps its mappings.
    pub(crate) fn outbound(&self, size_bytes: u64) -> Result<Segment, ShmError> {
        let bytes = class_of(size_bytes)?;
        if let Found::Make { evicted } = self.take(bytes, false)? {
            self.stock.retire(evicted);
        }
        self.make(bytes, Direction::Outbound)
    }

    /// A worker's segment leaves for good. Other workers may have been shown what was in it.
    pub(crate) fn discard(&self, segment: Segment) {
        let bytes = segment.bytes();
        self.stock.retire(vec![segment]);
        self.stock.books().discard(self.pool, bytes);
    }

    pub(crate) fn stock(&self) -> &Arc<Stock> {
        &self.stock
    }

    fn take(&self, bytes: u64, warm: bool) -> Result<Found<Segment>, ShmError> {
        let found = self.stock.books().take(self.pool, bytes, warm);
        if found.is_err() {
            self.stock.reclaim(self.pool);
        }
        found
    }

    /// Makes what the books have entered.
    fn make(&self, bytes: u64, direction: Direction) -> Result<Segment, ShmError> {
        let id = new_id();
        Segment::create(id, bytes, direction).map_err(|source| {
            self.stock.books().discard(self.pool, bytes);
            ShmError::System { what: "memory for a segment", source }
        })
    }

    fn put_back(&self, mut segment: Segment) {
        segment.generation += 1;
        let bytes = segment.bytes();
        if self.stock.poison {
            segment.mapping.bytes_mut(0..bytes as usize).fill(POISON);
        }
        let unwanted = self.stock.books().put_back(self.pool, bytes, segment);
        self.stock.retire(unwanted.into_iter().collect());
    }
}

impl Draft {
    /// How many bytes there are to fill: what was asked for, rounded up to a size class.
    pub fn capacity(&self) -> usize {
        self.segment().mapping.len()
    }

    /// The bytes. What an earlier use has left is still there.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let capacity = self.capacity();
        let segment = self.segment.as_mut().expect("a draft has its segment until it is frozen");
        segment.mapping.bytes_mut(0..capacity)
    }

    /// Ends the writing: the first `len` bytes are the value from now on.
    ///
    /// # Panics
    /// If the segment is shorter than `len`.
    pub fn freeze(mut self, len: usize) -> Lease {
        assert!(len <= self.capacity(), "a value is longer than its segment");
        let segment = self.segment.take();
        let owner = Owner::Stock(self.home.clone());
        Lease { hold: Arc::new(Hold { segment, owner }), offset: 0, len }
    }

    fn segment(&self) -> &Segment {
        self.segment.as_ref().expect("a draft has its segment until it is frozen")
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(segment) = self.segment.take() {
            self.home.put_back(segment);
        }
    }
}

impl Lease {
    /// The use of a segment that a worker has filled and handed over.
    pub(crate) fn of_worker(
        segment: Segment,
        ledger: Weak<LedgerInner>,
        home: Home,
        range: Range<usize>,
    ) -> Self {
        let owner = Owner::Ledger(ledger, home);
        Self::over(Arc::new(Hold { segment: Some(segment), owner }), range)
    }

    /// Another lease on the same use. The range has been checked.
    pub(crate) fn over(hold: Arc<Hold>, range: Range<usize>) -> Self {
        Self { hold, offset: range.start, len: range.len() }
    }

    /// The value's bytes.
    ///
    /// In a segment that a worker filled they are memory which that worker still maps; see the crate's
    /// documentation for what that asks of it.
    pub fn as_slice(&self) -> &[u8] {
        self.hold.segment().mapping.bytes(self.range())
    }

    /// The length of the value in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the value has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A part of the value, on the same use of the segment.
    ///
    /// # Panics
    /// If the range is not within the value.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len, "a part is beyond its value");
        Self { hold: Arc::clone(&self.hold), offset: self.offset + range.start, len: range.len() }
    }

    /// Has it cover what another lease on the same use covers besides.
    pub(crate) fn widen(&mut self, other: &Self) {
        debug_assert!(Arc::ptr_eq(&self.hold, &other.hold), "the other is on another use");
        let end = (self.offset + self.len).max(other.offset + other.len);
        self.offset = self.offset.min(other.offset);
        self.len = end - self.offset;
    }

    /// The bytes as [`Bytes`], which keep the lease; nothing is copied.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }

    /// A copy in ordinary memory, which holds no lease.
    pub fn to_vec(&self) -> Vec<u8> {
        self.as_slice().to_vec()
    }

    /// Where in the segment the value lies.
    pub(crate) fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len
    }

    /// What a frame says of this value.
    pub(crate) fn reference(&self) -> Reference {
        let segment = self.hold.segment();
        Reference {
            segment: segment.id,
            generation: segment.generation,
            offset: self.offset as u64,
            size_bytes: self.len as u64,
        }
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.reference()).finish()
    }
}

impl Hold {
    /// The stock that the segment counts against.
    pub(crate) fn stock(&self) -> &Arc<Stock> {
        match &self.owner {
            Owner::Stock(home) | Owner::Ledger(_, home) => &home.stock,
        }
    }

    pub(crate) fn segment(&self) -> &Segment {
        self.segment.as_ref().expect("a lease has its segment until it is dropped")
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(segment) = self.segment.take() else { return };
        match &self.owner {
            Owner::Stock(home) => home.put_back(segment),
            Owner::Ledger(ledger, home) => match ledger.upgrade() {
                Some(ledger) => ledger.come_back(segment),
                None => home.discard(segment),
            },
        }
    }
}

impl Stock {
    /// Enters a ledger, which will hear of segments that leave.
    pub(crate) fn enter(&self, ledger: &Arc<LedgerInner>) {
        let ledger = Arc::downgrade(ledger);
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        ledgers.retain(|known| known.strong_count() > 0 && !known.ptr_eq(&ledger));
        ledgers.push(ledger);
    }

    /// Unmaps segments and tells everybody who may have them mapped.
    fn retire(&self, segments: Vec<Segment>) {
        if segments.is_empty() {
            return;
        }
        let ids: Vec<SegmentId> = segments.iter().map(|segment| segment.id).collect();
        drop(segments);
        for ledger in self.ledgers() {
            ledger.forget(&ids);
        }
    }

    /// Asks the pool's workers for the segments that they have and do not use. It helps the next
    /// request, not the one that was refused.
    fn reclaim(&self, pool: PoolIndex) {
        for ledger in self.ledgers() {
            if ledger.home().pool == pool {
                ledger.revoke_idle();
            }
        }
    }

    /// The ledgers that live. No lock is held while they are used.
    fn ledgers(&self) -> Vec<Arc<LedgerInner>> {
        let ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        ledgers.iter().filter_map(Weak::upgrade).collect()
    }

    /// Every change of the books is complete before anything in it could panic.
    fn books(&self) -> MutexGuard<'_, Books<Segment>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that no segment or file of this process has had: a value of one arena may be shown to a
/// worker of another.
pub(crate) fn new_id() -> SegmentId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only that no value comes twice matters.
    SegmentId(NEXT.fetch_add(1, Ordering::Relaxed))
}

fn class_of(size_bytes: u64) -> Result<u64, ShmError> {
    segment_bytes(size_bytes).ok_or(ShmError::TooLarge { asked_bytes: size_bytes })
}
