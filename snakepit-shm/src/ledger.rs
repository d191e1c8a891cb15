//! The host's record of one worker's shared memory. Owns three tables: what the worker has been sent
//! descriptors of, what it may be looking at, and which segments it fills. It sends descriptors and
//! nothing else; frames are the caller's.
//!
//! Invariant: a lease that was lent is held until the worker has released it as often as it was
//! lent, or is dead. A segment granted to the worker is either with the worker or with readers here,
//! never both, because it is moved.

use std::collections::hash_map::Entry;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustc_hash::{FxHashMap, FxHashSet};
use rustix::fd::AsFd;

use crate::arena::{Hold, Home, Lease, Quota, new_id};
use crate::channel::{DescriptorSender, Kind, Packet};
use crate::error::{Breach, LendError, ShmError};
use crate::file::FileRegion;
use crate::segment::{ALIGNMENT, Reference, Segment, SegmentId};

/// A segment that a worker may fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The segment. Its descriptor has been sent.
    pub segment: SegmentId,
    /// The use that the worker may hand over.
    pub generation: u64,
    /// The segment's size.
    pub size_bytes: u64,
}

/// What the worker has to be told, in the order in which it has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The answer to a want, or (`want_id` 0) a segment that the worker gets back.
    Grant {
        /// The want's id.
        want_id: u64,
        /// `None`: refused.
        grant: Option<Grant>,
    },
    /// A segment to unmap as soon as nothing in the worker uses it. One that the worker fills it keeps
    /// while a value in it is on its way or with the host, and gives back with a release if not;
    /// [`Regions::forget`](crate::Regions::forget) does all of that.
    Forget {
        /// The segment.
        segment: SegmentId,
    },
}

/// The host's record of one worker's shared memory. Clones are the same record.
#[derive(Clone)]
pub struct Ledger(Arc<LedgerInner>);

pub(crate) struct LedgerInner {
    quota: Quota,
    channel: DescriptorSender,
    wake: Box<dyn Fn() + Send + Sync>,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    closed: bool,
    /// Segments whose descriptor the worker has.
    known: FxHashSet<SegmentId>,
    lent: FxHashMap<(SegmentId, u64), Loan>,
    granted: FxHashMap<SegmentId, Granted>,
    notices: Vec<Notice>,
}

/// What the worker may be looking at.
struct Loan {
    /// On all that was shown of the use. `None` for a file on disk, which nothing here keeps.
    lease: Option<Lease>,
    /// How many references to it were sent.
    references: u64,
}

/// A segment that the worker fills.
struct Granted {
    generation: u64,
    size_bytes: u64,
    place: Place,
    /// The worker has been asked for it. It gives it back with a release if it lies idle, else with
    /// the value that it is filling, which may be on its way.
    revoked: bool,
}

enum Place {
    AtWorker(Segment),
    /// Readers here have it, or are just giving it back.
    Leased(Weak<Hold>),
}

impl Ledger {
    /// A record for a worker of this pool, which was given the other end of `channel`.
    ///
    /// `wake` is called whenever there are new [notices](Self::notices) to take, also from within this
    /// record's own methods and from whichever thread drops a lease. So it must only signal: no call
    /// back, no wait, and no lock that is held while any of these is called.
    pub fn new(
        quota: &Quota,
        channel: DescriptorSender,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let (quota, wake, tables) = (quota.clone(), Box::new(wake), Mutex::default());
        let inner = Arc::new(LedgerInner { quota, channel, wake, tables });
        inner.home().stock().enter(&inner);
        Self(inner)
    }

    /// Prepares to show a value to the worker: sends the descriptor if it has none yet, and keeps
    /// the lease until the worker releases what is returned. That goes into the frame, which must be
    /// sent after this; if it is not sent after all, [`withdraw`](Self::withdraw) it.
    ///
    /// # Errors
    /// See [`LendError`]; the value can travel in the frame instead.
    pub fn lend(&self, lease: &Lease) -> Result<Reference, LendError> {
        let reference = lease.reference();
        let segment = lease.hold.segment();
        let mut tables = self.0.open_tables()?;
        if !tables.known.contains(&segment.id) {
            let file = segment.reader_fd().map_err(LendError::System)?;
            let (segment, size_bytes) = (segment.id, segment.bytes());
            self.0.channel.send(Packet { segment, size_bytes, kind: Kind::Read }, file)?;
            tables.known.insert(segment);
            let stock = lease.hold.stock();
            if !Arc::ptr_eq(stock, self.0.home().stock()) {
                // A value of another arena: that one has to say when the segment leaves.
                stock.enter(&self.0);
            }
        }
        let key = (reference.segment, reference.generation);
        let loan = || Loan { lease: Some(lease.clone()), references: 0 };
        let loan = tables.lent.entry(key).or_insert_with(loan);
        loan.references += 1;
        if let Some(shown) = &mut loan.lease {
            shown.widen(lease);
        }
        Ok(reference)
    }

    /// Prepares to show a file on disk to the worker, like [`lend`](Self::lend). Each time it is
    /// mapped anew, under a name of its own. [`FileRegion`] says what the file must not do.
    ///
    /// # Errors
    /// See [`LendError`].
    pub fn lend_file(&self, file: &FileRegion) -> Result<Reference, LendError> {
        if file.is_empty() {
            return Err(LendError::Empty);
        }
        let range = file.range();
        let (segment, generation) = (new_id(), 1);
        let mut tables = self.0.open_tables()?;
        let packet = Packet { segment, size_bytes: range.end, kind: Kind::File };
        self.0.channel.send(packet, file.as_fd())?;
        tables.lent.insert((segment, generation), Loan { lease: None, references: 1 });
        Ok(Reference { segment, generation, offset: range.start, size_bytes: file.len() })
    }

    /// Takes a loan back whose frame was not sent.
    pub fn withdraw(&self, reference: &Reference) {
        // It can only be missing when the worker is dead, and then there is nothing to do.
        let loan = self.0.end_loan(reference.segment, reference.generation);
        if let Some(None) = loan {
            // A file, whose descriptor the worker would keep.
            self.0.tell(Notice::Forget { segment: reference.segment });
        }
    }

    /// The worker has let go of one reference, or has forgotten a segment of its own.
    ///
    /// # Errors
    /// A [`Breach`] if it had neither.
    pub fn release(&self, segment: SegmentId, generation: u64) -> Result<(), Breach> {
        self.0.release(segment, generation)
    }

    /// The worker wants a segment to fill. The answer, also a refusal, is among the notices.
    ///
    /// # Errors
    /// See [`ShmError`]: why it was refused, for an event.
    pub fn want(&self, want_id: u64, size_bytes: u64) -> Result<(), ShmError> {
        let granted = self.0.grant(want_id, size_bytes);
        if granted.is_err() {
            self.0.tell(Notice::Grant { want_id, grant: None });
        }
        granted
    }

    /// The worker hands over a value: in a segment that it has filled, or as it lies in what it was
    /// lent and has not released. A segment of its own goes back to it when the last lease on it is
    /// gone; of one that it was lent, this is one lease more. References of one message are all taken
    /// before any lease on them is dropped.
    ///
    /// # Errors
    /// The rule that the reference breaks.
    pub fn take(&self, reference: &Reference) -> Result<Lease, Breach> {
        self.0.take(reference)
    }

    /// What the worker has to be told since the last time. One thread takes them and sends them in
    /// this order, before frames that come later.
    pub fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.0.tables().notices)
    }

    /// Asks the worker for the segments that it was granted and that hold no value here.
    pub fn revoke_idle(&self) {
        self.0.revoke_idle();
    }

    /// The worker is dead: nothing looks at what it was lent, and what it was granted is gone once
    /// the leases on it are. May be called more than once.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Drop for LedgerInner {
    fn drop(&mut self) {
        // The segments count against the pool until they are discarded.
        self.close();
    }
}

impl LedgerInner {
    pub(crate) fn home(&self) -> &Home {
        self.quota.home()
    }

    /// Ends one reference of a loan; `None` if there is no such loan. The caller drops the lease,
    /// without the lock: its segment may come back to this very record.
    fn end_loan(&self, segment: SegmentId, generation: u64) -> Option<Option<Lease>> {
        let mut tables = self.tables();
        let Entry::Occupied(mut entry) = tables.lent.entry((segment, generation)) else {
            return None;
        };
        let loan = entry.get_mut();
        loan.references -= 1;
        Some(if loan.references == 0 { entry.remove().lease } else { loan.lease.clone() })
    }

    fn release(&self, segment: SegmentId, generation: u64) -> Result<(), Breach> {
        if self.end_loan(segment, generation).is_some() {
            return Ok(());
        }
        let mut tables = self.tables();
        if tables.closed {
            return Ok(());
        }
        let given_back = |own: &Granted| {
            own.revoked && own.generation == generation && matches!(own.place, Place::AtWorker(_))
        };
        let idle = tables.granted.get(&segment).is_some_and(given_back);
        let own = idle.then(|| tables.granted.remove(&segment)).flatten();
        let Some(Granted { place: Place::AtWorker(own), .. }) = own else {
            return Err(Breach::NotLent { segment, generation });
        };
        tables.known.remove(&segment);
        drop(tables);
        self.home().discard(own);
        Ok(())
    }

    fn grant(&self, want_id: u64, size_bytes: u64) -> Result<(), ShmError> {
        if self.tables().closed {
            return Err(ShmError::Closed);
        }
        // Made without the lock: it takes as long as filling the memory.
        let segment = self.home().outbound(size_bytes)?;
        let packet = Packet { segment: segment.id, size_bytes: segment.bytes(), kind: Kind::Write };
        if let Err(error) = self.channel.send(packet, segment.writer_fd()) {
            self.home().discard(segment);
            return Err(not_sent(error));
        }
        let mut tables = self.tables();
        if tables.closed {
            drop(tables);
            self.home().discard(segment);
            return Err(ShmError::Closed);
        }
        // In one go: between the two it could be asked back, and the worker would hear of that first
        // and keep what it was granted afterwards.
        let grant = Some(tables.enter(segment));
        tables.notices.push(Notice::Grant { want_id, grant });
        drop(tables);
        (self.wake)();
        Ok(())
    }

    fn take(self: &Arc<Self>, reference: &Reference) -> Result<Lease, Breach> {
        let Reference { segment, generation, .. } = *reference;
        let mut tables = self.tables();
        let Tables { granted, lent, .. } = &mut *tables;
        let Some(granted) = granted.get_mut(&segment) else {
            let loan = lent.get(&(segment, generation)).and_then(|loan| loan.lease.as_ref());
            return within_loan(loan.ok_or(Breach::NotGranted { segment, generation })?, reference);
        };
        if generation != granted.generation {
            let (named, granted) = (generation, granted.generation);
            return Err(Breach::WrongGeneration { segment, named, granted });
        }
        let range = checked_range(reference, granted.size_bytes)?;
        if let Place::Leased(hold) = &granted.place {
            let hold = hold.upgrade().ok_or(Breach::NotGranted { segment, generation })?;
            return Ok(Lease::over(hold, range));
        }
        let Place::AtWorker(segment) =
            std::mem::replace(&mut granted.place, Place::Leased(Weak::new()))
        else {
            unreachable!("the other place was looked at above");
        };
        let lease = Lease::of_worker(segment, Arc::downgrade(self), self.home().clone(), range);
        granted.place = Place::Leased(Arc::downgrade(&lease.hold));
        Ok(lease)
    }

    /// The last lease on a use is gone: the worker gets the segment back.
    pub(crate) fn come_back(&self, mut segment: Segment) {
        let mut tables = self.tables();
        let id = segment.id;
        let granted = tables.granted.get_mut(&id).filter(|granted| !granted.revoked);
        let Some(granted) = granted else {
            tables.granted.remove(&id);
            drop(tables);
            // The worker is dead, or was asked for the segment while it filled it; it is told with
            // all others that have it mapped.
            return self.home().discard(segment);
        };
        granted.generation += 1;
        segment.generation = granted.generation;
        let grant = granted.grant(id);
        granted.place = Place::AtWorker(segment);
        tables.notices.push(Notice::Grant { want_id: 0, grant: Some(grant) });
        drop(tables);
        (self.wake)();
    }

    /// The arena has given these segments up.
    pub(crate) fn forget(&self, segments: &[SegmentId]) {
        let mut tables = self.tables();
        let mut told = false;
        for &segment in segments {
            if tables.known.remove(&segment) {
                tables.notices.push(Notice::Forget { segment });
                told = true;
            }
        }
        drop(tables);
        if told {
            (self.wake)();
        }
    }

    /// The arena is short of memory, or the caller wants it.
    pub(crate) fn revoke_idle(&self) {
        let mut tables = self.tables();
        let Tables { granted, notices, .. } = &mut *tables;
        let before = notices.len();
        for (&segment, granted) in granted {
            if matches!(granted.place, Place::AtWorker(_)) && !granted.revoked {
                granted.revoked = true;
                notices.push(Notice::Forget { segment });
            }
        }
        let told = notices.len() > before;
        drop(tables);
        if told {
            (self.wake)();
        }
    }

    /// Leaves a notice, unless nobody is there to be told.
    fn tell(&self, notice: Notice) {
        let mut tables = self.tables();
        if tables.closed {
            return;
        }
        tables.notices.push(notice);
        drop(tables);
        (self.wake)();
    }

    fn close(&self) {
        let mut tables = self.tables();
        tables.closed = true;
        tables.known.clear();
        tables.notices.clear();
        let lent = std::mem::take(&mut tables.lent);
        let granted = std::mem::take(&mut tables.granted);
        drop(tables);
        // Without the lock: leases on this worker's own segments come back to this record.
        drop(lent);
        for granted in granted.into_values() {
            if let Place::AtWorker(segment) = granted.place {
                self.home().discard(segment);
            }
        }
    }

    fn open_tables(&self) -> Result<MutexGuard<'_, Tables>, LendError> {
        let tables = self.tables();
        if tables.closed { Err(LendError::Closed) } else { Ok(tables) }
    }

    /// Every change of the tables is complete before anything in it could panic.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn enter(&mut self, segment: Segment) -> Grant {
        let id = segment.id;
        let granted = Granted {
            generation: segment.generation,
            size_bytes: segment.bytes(),
            place: Place::AtWorker(segment),
            revoked: false,
        };
        let grant = granted.grant(id);
        self.known.insert(id);
        self.granted.insert(id, granted);
        grant
    }
}

impl Granted {
    fn grant(&self, segment: SegmentId) -> Grant {
        Grant { segment, generation: self.generation, size_bytes: self.size_bytes }
    }
}

/// Where in its segment a worker's value lies.
fn checked_range(reference: &Reference, segment_bytes: u64) -> Result<Range<usize>, Breach> {
    let Reference { segment, offset, size_bytes, .. } = *reference;
    let end = offset.checked_add(size_bytes).filter(|end| *end <= segment_bytes);
    let end = end.ok_or(Breach::OutOfRange { segment, offset, size_bytes, segment_bytes })?;
    if offset % ALIGNMENT != 0 {
        return Err(Breach::Unaligned { segment, offset });
    }
    // A segment that fits the address space has bounds that do.
    Ok(offset as usize..end as usize)
}

/// A part of what the worker was lent, on the same use. What an earlier use has left in the segment
/// beside it is nobody's to hand over.
fn within_loan(lent: &Lease, reference: &Reference) -> Result<Lease, Breach> {
    let shown = lent.range();
    let range = checked_range(reference, lent.hold.segment().bytes())?;
    if range.start < shown.start || range.end > shown.end {
        let Reference { segment, offset, size_bytes, .. } = *reference;
        return Err(Breach::NotShown { segment, offset, size_bytes });
    }
    Ok(Lease::over(Arc::clone(&lent.hold), range))
}

/// Why a grant's descriptor did not go.
fn not_sent(error: LendError) -> ShmError {
    let source = match error {
        LendError::Closed => return ShmError::Closed,
        LendError::System(source) => source,
        full => io::Error::new(io::ErrorKind::WouldBlock, full),
    };
    ShmError::System { what: "to send a descriptor", source }
}
