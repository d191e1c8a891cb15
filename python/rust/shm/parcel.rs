//! What goes aside of one payload's bytes.
//!
//! Owns the choice between shared memory and the payload itself for each large value, the wait for
//! memory, and the copy. Invariant: memory that a payload names belongs to that payload until it
//! leaves; if it never does, everything is as before. What the host has sent goes back as it lies, and
//! is let go after the payload and not before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::intern;
use pyo3::prelude::*;
use snakepit_proto::v1;
use snakepit_shm::{ALIGNMENT, RegionUse};

use super::sharing::{Answer, HandedBack, Lent, Sharing, THRESHOLD};
use super::source::Piece;
use crate::call::CallState;
use crate::link::{Driver, SLICE};
use crate::process;

/// How long a value waits for memory before it goes without. The host answers in microseconds, but
/// for a new segment of gigabytes, whose pages take a second to come.
const PATIENCE: Duration = Duration::from_secs(2);

/// Small values of one payload share segments. Each is as large as all before it together, up to
/// this size, so that a list of many has few.
const LARGEST_SHARED: usize = 64 * 1024 * 1024;

/// Whoever writes values for the host.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) sharing: &'a Arc<Sharing>,
    pub(crate) driver: &'a Arc<Driver>,
    pub(crate) call: &'a CallState,
}

/// The large values of one payload.
pub(crate) struct Parcel<'a> {
    /// None where the host has no shared memory.
    sender: Option<Sender<'a>>,
    threshold: usize,
    sealed: Sealed,
    /// Where the next small value may lie.
    room: Option<(Arc<Lent>, usize)>,
    /// Bytes that lie in segments of this parcel's own.
    stowed: usize,
}

/// Why a value cannot go.
pub(crate) enum Refused {
    /// There is no shared memory for so many bytes, and the pool wants nothing else.
    Unavailable(usize),
    Raised(PyErr),
}

impl From<PyErr> for Refused {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl<'a> Parcel<'a> {
    /// For a payload that goes to the host.
    pub(crate) fn new(sender: Sender<'a>) -> Self {
        let threshold = sender.sharing.threshold();
        let sender = threshold.is_some().then_some(sender);
        Self { sender, threshold: threshold.unwrap_or(THRESHOLD), ..Self::inline() }
    }

    /// For a payload that is all of itself.
    pub(crate) fn inline() -> Self {
        Self {
            sender: None,
            threshold: THRESHOLD,
            sealed: Sealed::default(),
            room: None,
            stowed: 0,
        }
    }

    /// From what size on values come here.
    pub(crate) fn threshold(&self) -> usize {
        self.threshold
    }

    /// How much was put aside.
    pub(crate) fn bytes(&self) -> usize {
        self.sealed.bytes
    }

    /// Puts a value aside; gives the index of the reference to it, none if it goes with the payload.
    pub(crate) fn put(
        &mut self,
        value: &Bound<'_, PyAny>,
        source: &dyn Piece,
    ) -> Result<Option<usize>, Refused> {
        let Some(sender) = self.sender else {
            return Ok(None);
        };
        if let Some((lent, offset)) = self.adopt(source, sender.sharing) {
            freeze(value)?;
            return Ok(Some(self.sealed.add(Part::lent(lent, offset, source.len()))));
        }
        if let Some(part) = source.place().and_then(|at| sender.sharing.hand_back(at, source.len()))
        {
            return Ok(Some(self.sealed.add(Part::Shown(part))));
        }
        let py = value.py();
        let Some((lent, offset)) = self.make_room(py, sender, source.len()) else {
            if sender.sharing.is_strict() {
                return Err(Refused::Unavailable(source.len()));
            }
            return Ok(None);
        };
        source.copy_to(py, &lent, offset)?;
        Ok(Some(self.sealed.add(Part::lent(lent, offset, source.len()))))
    }

    /// What the payload names.
    pub(crate) fn seal(mut self) -> Sealed {
        std::mem::take(&mut self.sealed)
    }

    /// The segment that a value lies in already, if it can go as it lies.
    fn adopt(&self, source: &dyn Piece, sharing: &Sharing) -> Option<(Arc<Lent>, usize)> {
        let (lent, offset) = sharing.find(source.place()?, source.len())?;
        let is_aligned = (offset as u64).is_multiple_of(ALIGNMENT);
        (is_aligned && (self.sealed.has(&lent) || lent.claim())).then_some((lent, offset))
    }

    fn make_room(
        &mut self,
        py: Python<'_>,
        sender: Sender<'_>,
        bytes: usize,
    ) -> Option<(Arc<Lent>, usize)> {
        if let Some((lent, used)) = &mut self.room
            && let Some(end) = used.checked_add(bytes).filter(|end| *end <= lent.len())
        {
            let offset = std::mem::replace(used, end.next_multiple_of(ALIGNMENT as usize));
            self.stowed += bytes;
            return Some((lent.clone(), offset));
        }
        let more = bytes.max(self.stowed.min(LARGEST_SHARED));
        let lent = obtain(py, sender, more).or_else(|| {
            // What is for those to come is not worth doing without.
            if more > bytes { obtain(py, sender, bytes) } else { None }
        })?;
        // It is new: nobody else has it.
        lent.claim();
        self.stowed += bytes;
        self.room = Some((lent.clone(), bytes.next_multiple_of(ALIGNMENT as usize)));
        Some((lent, 0))
    }
}

/// A segment of this size: a free one, or one that the host grants.
pub(super) fn obtain(py: Python<'_>, sender: Sender<'_>, bytes: usize) -> Option<Arc<Lent>> {
    if process::is_forked() || !sender.sharing.is_possible() {
        return None;
    }
    if let Some(lent) = sender.sharing.take(bytes, false) {
        return Some(lent);
    }
    let end = Instant::now() + PATIENCE;
    loop {
        match ask(py, sender, bytes, end) {
            Some(Answer::Granted(lent)) => return Some(lent),
            Some(Answer::Taken) => {}
            // A larger one than the value is worth is better than none.
            Some(Answer::Refused) | None => return sender.sharing.take(bytes, true),
        }
    }
}

/// Asks the host and waits; none if it does not answer in time, or nobody waits for the value.
fn ask(py: Python<'_>, sender: Sender<'_>, bytes: usize, end: Instant) -> Option<Answer> {
    let Sender { sharing, driver, call } = sender;
    let asked = sharing.ask(bytes);
    while !asked.is_answered() && call.stop_reason().is_none() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        py.detach(|| driver.wait(|_| asked.ready(), left.min(SLICE)));
        // The standby may have gone to sleep meanwhile.
        driver.entrust();
    }
    asked.take()
}

/// Has Python write no more to an array that is the host's from here on, nor to the one that it is a
/// part of. Other parts, made before, are the tool's own affair.
fn freeze(value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = value.py();
    let mut next = Some(value.clone());
    while let Some(array) = next
        && array.hasattr(intern!(py, "setflags"))?
    {
        array.call_method1(intern!(py, "setflags"), (false,))?;
        next = array.getattr_opt(intern!(py, "base"))?;
    }
    Ok(())
}

/// What one encoded payload names, until it leaves.
#[derive(Default)]
pub(crate) struct Sealed {
    parts: Vec<Part>,
    bytes: usize,
}

enum Part {
    /// In a segment that this side has written.
    Lent { lent: Arc<Lent>, offset: usize, bytes: usize },
    /// In memory that the host has sent.
    Shown(HandedBack),
}

impl Part {
    fn lent(lent: Arc<Lent>, offset: usize, bytes: usize) -> Self {
        Self::Lent { lent, offset, bytes }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Lent { bytes, .. } => *bytes,
            Self::Shown(part) => part.kept.len(),
        }
    }
}

/// What a payload has sent back as it lies. It is dropped when the payload has left: the host takes
/// that as the use which it has lent and which is not given back yet.
pub(crate) type Kept = Vec<RegionUse>;

impl Sealed {
    fn has(&self, lent: &Arc<Lent>) -> bool {
        let same =
            |part: &Part| matches!(part, Part::Lent { lent: it, .. } if Arc::ptr_eq(it, lent));
        self.parts.iter().any(same)
    }

    fn add(&mut self, part: Part) -> usize {
        self.bytes += part.bytes();
        self.parts.push(part);
        self.parts.len() - 1
    }

    /// The payload is about to leave, and what comes with the references is kept until it has.
    pub(crate) fn send(mut self) -> (Vec<v1::ShmRef>, Kept) {
        let mut kept = Kept::new();
        let mut references = Vec::with_capacity(self.parts.len());
        for part in std::mem::take(&mut self.parts) {
            references.extend(match part {
                Part::Lent { lent, offset, bytes } => {
                    lent.send().map(|(segment_id, generation)| {
                        let (offset, size_bytes) = (offset as u64, bytes as u64);
                        v1::ShmRef { segment_id, generation, offset, size_bytes }
                    })
                }
                Part::Shown(HandedBack { reference, kept: used }) => {
                    kept.push(used);
                    Some(reference)
                }
            });
        }
        (references, kept)
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        for part in &self.parts {
            if let Part::Lent { lent, .. } = part {
                lent.unclaim();
            }
        }
    }
}
