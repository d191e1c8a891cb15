//! The worker's side: the segments that it was sent, mapped once and kept. Owns the table of
//! mappings, which of them it may fill, and when something it looked at is let go.
//!
//! Invariant: a segment that this worker fills is given to a new [`RegionDraft`] only when the host
//! has granted it and nothing here holds its last use any more.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustc_hash::FxHashMap;

use crate::arena::POISON;
use crate::channel::{DescriptorReceiver, Kind};
use crate::ledger::Grant;
use crate::map::{Access, Exclusive, Mapping};
use crate::segment::{ALIGNMENT, Reference, SegmentId, map_file, map_received};

/// Why a reference from the host cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegionError {
    /// No descriptor has come for this segment.
    #[error("segment {segment} was named before its descriptor was sent")]
    Unknown {
        /// The segment named.
        segment: SegmentId,
    },
    /// Bytes beyond the end of the segment.
    #[error("{size_bytes} bytes from {offset} are not within segment {segment}")]
    OutOfRange {
        /// The segment named.
        segment: SegmentId,
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        size_bytes: u64,
    },
    /// A segment that this worker fills, or a use of it that is over.
    #[error("segment {segment} is not there to be read now")]
    NotReadable {
        /// The segment named.
        segment: SegmentId,
    },
    /// A grant that does not fit what was sent, or of a segment that is in use here.
    #[error("segment {segment} cannot be granted now")]
    NotGrantable {
        /// The segment named.
        segment: SegmentId,
    },
    /// A descriptor could not be received or mapped.
    #[error("a descriptor from the host cannot be used; check memory and the limit of open files")]
    System(#[from] io::Error),
}

/// How much shared memory this worker has mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionStats {
    /// Segments mapped, of both kinds.
    pub segments: u64,
    /// Their bytes.
    pub mapped_bytes: u64,
    /// Bytes of segments that this worker was granted and could fill now.
    pub idle_bytes: u64,
}

/// The segments that this worker was sent. Clones are the same table.
#[derive(Clone)]
pub struct Regions(Arc<Table>);

/// One reference that arrived (or was handed over), to be read. Clones share it; when the last one is
/// dropped the host is told, if it is waiting for that.
#[derive(Clone)]
pub struct RegionUse {
    hold: Arc<UseHold>,
    start: usize,
    end: usize,
}

/// A granted segment that is being filled: nobody else has it. Dropped, it can be filled again.
pub struct RegionDraft {
    memory: Exclusive,
    /// `None` once it was handed over.
    hold: Option<UseHold>,
}

struct Table {
    receiver: DescriptorReceiver,
    release: Box<dyn Fn(SegmentId, u64) + Send + Sync>,
    poison: bool,
    regions: Mutex<FxHashMap<SegmentId, Region>>,
}

struct Region {
    mapping: Arc<Mapping>,
    /// What is mapped, if it is a file on disk.
    file: Option<Arc<File>>,
    kind: Kind,
    generation: u64,
    turn: Turn,
    /// Uses and drafts that live here.
    holders: usize,
    /// The references that have arrived, for those that are to go back; some may be let go by now.
    shown: Vec<Shown>,
    wanted: Wanted,
}

/// A reference that has arrived.
struct Shown {
    hold: Weak<UseHold>,
    range: Range<usize>,
}

/// What the host has said of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// It may be named again.
    Here,
    /// It is wanted back if it lies idle. If a value in it is on its way, that is the answer: a
    /// release could overtake it.
    Back,
    /// Nobody will name it again.
    Gone,
}

/// Whose turn it is with a segment that this worker fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Granted, and nobody fills it.
    Idle,
    /// A draft fills it.
    Filling,
    /// The host has it, or has not granted it yet.
    Away,
}

struct UseHold {
    mapping: Arc<Mapping>,
    /// What is mapped, if it is a file on disk.
    file: Option<Arc<File>>,
    segment: SegmentId,
    generation: u64,
    table: Arc<Table>,
    /// What the end of it means.
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The host waits for a release.
    Release,
    /// The segment can be filled by another draft.
    Idle,
    /// Nothing: the host has it and sends it back itself.
    Nothing,
}

impl Regions {
    /// An empty table, fed from the worker's end of the way of descriptors.
    ///
    /// `release` is told of each reference let go, and of each idle segment of its own that this worker
    /// gives back because the host asked for it; both go to the host as releases. It is called
    /// from whichever thread drops the last holder, without a lock of this table.
    pub fn new(
        receiver: DescriptorReceiver,
        release: impl Fn(SegmentId, u64) + Send + Sync + 'static,
    ) -> Self {
        Self::with_poison(receiver, release, false)
    }

    /// Like [`new`](Self::new); with `poison` a segment that is granted again is filled with
    /// [`POISON`] first, so that a reader that still looks is found out. For tests.
    pub fn with_poison(
        receiver: DescriptorReceiver,
        release: impl Fn(SegmentId, u64) + Send + Sync + 'static,
        poison: bool,
    ) -> Self {
        let regions = Mutex::default();
        Self(Arc::new(Table { receiver, release: Box::new(release), poison, regions }))
    }

    /// Follows a reference that has arrived.
    ///
    /// # Errors
    /// See [`RegionError`]. Nothing is to be released then.
    pub fn view(&self, reference: &Reference) -> Result<RegionUse, RegionError> {
        let Reference { segment, generation, offset, size_bytes } = *reference;
        let mut regions = self.0.regions();
        self.0.learn(&mut regions, segment)?;
        let region = regions.get_mut(&segment).ok_or(RegionError::Unknown { segment })?;
        let own = region.kind == Kind::Write;
        if own && (region.turn != Turn::Away || region.generation != generation) {
            return Err(RegionError::NotReadable { segment });
        }
        let len = region.mapping.len() as u64;
        let end = offset.checked_add(size_bytes).filter(|end| *end <= len);
        let end = end.ok_or(RegionError::OutOfRange { segment, offset, size_bytes })?;
        region.holders += 1;
        let mapping = Arc::clone(&region.mapping);
        let file = region.file.clone();
        let table = Arc::clone(&self.0);
        let hold = UseHold { mapping, file, segment, generation, table, end: End::Release };
        let (hold, start, end) = (Arc::new(hold), offset as usize, end as usize);
        region.shown.retain(|shown| shown.hold.strong_count() > 0);
        region.shown.push(Shown { hold: Arc::downgrade(&hold), range: start..end });
        Ok(RegionUse { hold, start, end })
    }

    /// Hands back a part of what has arrived and is still looked at here, as it lies: the reference for
    /// the host, whose use of the memory goes on. `None` if these bytes are in no such memory, are a
    /// file's, or begin at no multiple of [`ALIGNMENT`]; they are to be copied then.
    ///
    /// What comes with the reference is kept until the message with it has left, so that no release of
    /// that use is before it.
    pub fn hand_back(&self, start: *const u8, len: usize) -> Option<(Reference, RegionUse)> {
        let regions = self.0.regions();
        let (region, start) = regions.values().find_map(|region| {
            let offset = start.addr().checked_sub(region.mapping.as_ptr().addr())?;
            (offset < region.mapping.len()).then_some((region, offset))
        })?;
        let end = start.checked_add(len)?;
        if region.file.is_some() || !(start as u64).is_multiple_of(ALIGNMENT) {
            return None;
        }
        // Nothing is dropped under the lock: what is upgraded leaves with the result.
        let covers = |shown: &&Shown| shown.range.start <= start && end <= shown.range.end;
        let hold = region.shown.iter().filter(covers).find_map(|shown| shown.hold.upgrade())?;
        let (segment, generation) = (hold.segment, hold.generation);
        let (offset, size_bytes) = (start as u64, len as u64);
        let reference = Reference { segment, generation, offset, size_bytes };
        Some((reference, RegionUse { hold, start, end }))
    }

    /// The host has granted a segment, for the first time or again.
    ///
    /// # Errors
    /// See [`RegionError`].
    pub fn granted(&self, grant: &Grant) -> Result<(), RegionError> {
        let segment = grant.segment;
        let mut regions = self.0.regions();
        self.0.learn(&mut regions, segment)?;
        let region = regions.get_mut(&segment).ok_or(RegionError::Unknown { segment })?;
        let fits = region.mapping.len() as u64 == grant.size_bytes;
        if region.kind != Kind::Write || region.turn != Turn::Away || !fits {
            return Err(RegionError::NotGrantable { segment });
        }
        region.generation = grant.generation;
        region.turn = Turn::Idle;
        Ok(())
    }

    /// The host wants segments forgotten: at once where nothing uses them, else when that ends.
    pub fn forget(&self, segments: impl IntoIterator<Item = SegmentId>) {
        for segment in segments {
            let mut regions = self.0.regions();
            // Its descriptor may have come without ever being needed. If it cannot be had there is
            // nothing to forget; who needs another one hears of the reason.
            let _ = self.0.learn(&mut regions, segment);
            if let Some(region) = regions.get_mut(&segment) {
                let first = region.wanted == Wanted::Here && region.kind == Kind::Write;
                region.wanted = if first { Wanted::Back } else { Wanted::Gone };
            }
            let done = settle(&mut regions, segment);
            drop(regions);
            self.0.say(done);
        }
    }

    /// The smallest granted segment that holds so many bytes and is free; `None` if there is none, and
    /// then one can be asked for.
    pub fn draft(&self, size_bytes: usize) -> Option<RegionDraft> {
        let mut regions = self.0.regions();
        let fits = |region: &Region| region.is_idle() && region.mapping.len() >= size_bytes;
        let (&segment, region) = regions
            .iter_mut()
            .filter(|(_, region)| fits(region))
            .min_by_key(|(segment, region)| (region.mapping.len(), segment.0))?;
        region.turn = Turn::Filling;
        region.holders += 1;
        let mapping = Arc::clone(&region.mapping);
        let generation = region.generation;
        drop(regions);
        let mut memory = Exclusive::new(Arc::clone(&mapping));
        if self.0.poison {
            memory.bytes_mut().fill(POISON);
        }
        let table = Arc::clone(&self.0);
        let hold = UseHold { mapping, file: None, segment, generation, table, end: End::Idle };
        Some(RegionDraft { memory, hold: Some(hold) })
    }

    /// A reference that was handed over will not be sent after all: the segment can be filled again.
    pub fn withdraw(&self, reference: &Reference) {
        let mut regions = self.0.regions();
        let region = regions.get_mut(&reference.segment);
        let same = |region: &&mut Region| {
            region.kind == Kind::Write && region.generation == reference.generation
        };
        if let Some(region) = region.filter(same).filter(|region| region.turn == Turn::Away) {
            region.turn = Turn::Idle;
        }
        let given_back = settle(&mut regions, reference.segment);
        drop(regions);
        self.0.say(given_back);
    }

    /// How much is mapped.
    pub fn stats(&self) -> RegionStats {
        let regions = self.0.regions();
        let mut stats = RegionStats::default();
        for region in regions.values() {
            let bytes = region.mapping.len() as u64;
            stats.segments += 1;
            stats.mapped_bytes += bytes;
            stats.idle_bytes += if region.is_idle() { bytes } else { 0 };
        }
        stats
    }
}

impl RegionUse {
    /// The value's bytes. `None` for a file on which others may change or cut off: its bytes
    /// are reached by address only.
    pub fn as_slice(&self) -> Option<&[u8]> {
        let memory = self.hold.file.is_none();
        memory.then(|| self.hold.mapping.bytes(self.start..self.end))
    }

    /// A copy of the bytes, also of a file on disk.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file has become shorter; else what the system said.
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        if let Some(bytes) = self.as_slice() {
            return Ok(bytes.to_vec());
        }
        let mut bytes = vec![0; self.len()];
        if let Some(file) = &self.hold.file {
            file.read_exact_at(&mut bytes, self.start as u64)?;
        }
        Ok(bytes)
    }

    /// The address of the first byte, valid while this or a clone of it lives.
    pub fn as_ptr(&self) -> *const u8 {
        self.hold.mapping.as_ptr().wrapping_add(self.start)
    }

    /// The length of the value in bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether the value has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for RegionUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegionUse")
            .field("segment", &self.hold.segment)
            .field("generation", &self.hold.generation)
            .field("range", &(self.start..self.end))
            .finish_non_exhaustive()
    }
}

impl RegionDraft {
    /// How many bytes there are to fill: what was asked for, or more.
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// The bytes. What an earlier use has left is still there.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.memory.bytes_mut()
    }

    /// The address of the first byte, for who fills it through a foreign interface. Valid while this
    /// lives, and after it was handed over while what [`hand_over`](Self::hand_over) gave lives; then
    /// only to read.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.memory.as_mut_ptr()
    }

    /// Ends the writing. The reference goes into a message to the host, which reads that range from
    /// then on. What comes with it keeps the memory as it is for readers on this side; drop it if there
    /// are none.
    ///
    /// # Panics
    /// If the range is not within the segment, or does not begin at a multiple of [`ALIGNMENT`].
    pub fn hand_over(mut self, range: Range<usize>) -> (Reference, RegionUse) {
        assert!(range.start <= range.end && range.end <= self.capacity(), "a value is too long");
        assert_eq!(range.start as u64 % ALIGNMENT, 0, "a value is not aligned");
        let mut hold = self.hold.take().expect("a draft is handed over once");
        hold.end = End::Nothing;
        if let Some(region) = hold.table.regions().get_mut(&hold.segment) {
            region.turn = Turn::Away;
        }
        let (segment, generation) = (hold.segment, hold.generation);
        let (offset, size_bytes) = (range.start as u64, range.len() as u64);
        let reference = Reference { segment, generation, offset, size_bytes };
        let hold = Arc::new(hold);
        (reference, RegionUse { hold, start: range.start, end: range.end })
    }
}

impl Drop for UseHold {
    fn drop(&mut self) {
        let mut regions = self.table.regions();
        if let Some(region) = regions.get_mut(&self.segment) {
            region.holders -= 1;
            if self.end == End::Idle {
                region.turn = Turn::Idle;
            }
        }
        let forgotten = settle(&mut regions, self.segment);
        drop(regions);
        if self.end == End::Release {
            (self.table.release)(self.segment, self.generation);
        }
        self.table.say(forgotten);
    }
}

impl Table {
    /// Reads descriptors until that of `segment` has come or there are no more.
    fn learn(
        &self,
        regions: &mut FxHashMap<SegmentId, Region>,
        segment: SegmentId,
    ) -> Result<(), RegionError> {
        while !regions.contains_key(&segment) {
            let Some((packet, file)) = self.receiver.receive()? else {
                return Err(RegionError::Unknown { segment });
            };
            let access = if packet.kind == Kind::Write { Access::Write } else { Access::Read };
            let mapping = match packet.kind {
                Kind::Read | Kind::Write => map_received(&file, packet.size_bytes, access)?,
                Kind::File => map_file(&file, packet.size_bytes)?,
            };
            let file = (packet.kind == Kind::File).then(|| Arc::new(File::from(file)));
            let region = Region {
                mapping: Arc::new(mapping),
                file,
                kind: packet.kind,
                generation: 0,
                turn: Turn::Away,
                holders: 0,
                shown: Vec::new(),
                wanted: Wanted::Here,
            };
            // A name that is known already is no new segment: what uses the old one keeps it.
            regions.entry(packet.segment).or_insert(region);
        }
        Ok(())
    }

    /// Tells the host that a segment of this worker's own is forgotten.
    fn say(&self, forgotten: Option<(SegmentId, u64)>) {
        if let Some((segment, generation)) = forgotten {
            (self.release)(segment, generation);
        }
    }

    /// Every change of the table is complete before anything in it could panic.
    fn regions(&self) -> MutexGuard<'_, FxHashMap<SegmentId, Region>> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Region {
    fn is_idle(&self) -> bool {
        self.kind == Kind::Write
            && self.turn == Turn::Idle
            && self.holders == 0
            && self.wanted == Wanted::Here
    }
}

/// Forgets a segment that nothing uses and nobody will name again. `Some` if the host hears of it by a
/// release.
fn settle(
    regions: &mut FxHashMap<SegmentId, Region>,
    segment: SegmentId,
) -> Option<(SegmentId, u64)> {
    let region = regions.get(&segment)?;
    let given_back = region.wanted == Wanted::Back && region.turn == Turn::Idle;
    let over = given_back || region.wanted == Wanted::Gone || region.kind == Kind::File;
    if region.holders > 0 || !over {
        return None;
    }
    let region = regions.remove(&segment)?;
    given_back.then_some((segment, region.generation))
}
