//! One link's side of shared memory: what its worker is shown, granted and has handed over.
//!
//! Owns the turn from values into references and back, and the signal that the worker has to be told
//! something. Who may look at what is the ledger's business. Invariant: no reference is sent before its
//! descriptor.

use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use snakepit_core::{Blob, Error, ErrorKind, Payload};
use snakepit_proto::v1;
use snakepit_proto::v1::host_message::Frame;
use snakepit_shm::{Breach, DescriptorSender, Ledger, Notice, Reference, SegmentId};

use crate::memory::{self, Memory};

pub(crate) struct Loans {
    pub(crate) memory: Arc<Memory>,
    ledger: Ledger,
    signal: Arc<Signal>,
    /// Its worker has said that it takes part.
    served: AtomicBool,
}

/// Says that there is something to tell, from any thread and under any lock.
#[derive(Default)]
struct Signal {
    raised: AtomicBool,
    /// Set while the outgoing stream waits. Nothing else is done under this lock.
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    fn raise(&self) {
        // Release pairs with the Acquire of whoever looks for notices, which were there before.
        self.raised.store(true, Ordering::Release);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A payload on its way out, and the references that go with it.
pub(crate) struct Sending<'a> {
    pub(crate) payload: Cow<'a, Payload>,
    pub(crate) references: Vec<v1::ShmRef>,
}

impl Loans {
    pub(crate) fn new(memory: Arc<Memory>, channel: DescriptorSender) -> Self {
        let signal = Arc::new(Signal::default());
        let raised = Arc::clone(&signal);
        let ledger = Ledger::new(memory.quota(), channel, move || raised.raise());
        Self { memory, ledger, signal, served: AtomicBool::new(false) }
    }

    /// The worker takes part.
    pub(crate) fn serve(&self) {
        // Relaxed: it is set before anything can be sent.
        self.served.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    /// Shows the worker the parts of a payload.
    fn lend(&self, parts: &[Blob]) -> Result<Vec<v1::ShmRef>, String> {
        if !self.is_served() {
            return Err("the worker has no shared memory".to_owned());
        }
        let mut references = Vec::with_capacity(parts.len());
        for part in parts {
            let lent = match (memory::file(part), memory::lease(part)) {
                (Some(file), _) => self.ledger.lend_file(file).map_err(|e| e.to_string()),
                (None, Some(lease)) => self.ledger.lend(&lease).map_err(|e| e.to_string()),
                (None, None) => Err("a part lies in memory of another kind".to_owned()),
            };
            match lent {
                Ok(reference) => references.push(to_wire(&reference)),
                Err(reason) => {
                    self.withdraw(&references);
                    return Err(reason);
                }
            }
        }
        for reference in &references {
            self.memory.lent(reference.size_bytes);
        }
        Ok(references)
    }

    /// Takes back what was lent for a frame that is not sent.
    pub(crate) fn withdraw(&self, references: &[v1::ShmRef]) {
        for reference in references {
            self.ledger.withdraw(&from_wire(reference));
        }
    }

    /// Takes the parts of a payload that the worker hands over.
    pub(crate) fn take(&self, references: &[v1::ShmRef]) -> Result<Vec<Blob>, Breach> {
        let leases: Result<Vec<_>, _> =
            references.iter().map(|reference| self.ledger.take(&from_wire(reference))).collect();
        let leases = leases?;
        for lease in &leases {
            self.memory.received(lease.len() as u64);
        }
        Ok(leases.into_iter().map(memory::blob).collect())
    }

    pub(crate) fn release(&self, release: &v1::ShmRelease) -> Result<(), Breach> {
        let mut segments = release.segments.iter();
        segments.try_for_each(|s| self.ledger.release(SegmentId(s.segment_id), s.generation))
    }

    /// Answers a want, through [`notices`](Self::notices). Takes as long as filling the memory.
    pub(crate) fn want(&self, want: &v1::ShmWant) {
        if let Err(error) = self.ledger.want(want.want_id, want.size_bytes) {
            // What the worker does without it is its own business: it knows whether it is strict.
            let _ = self.memory.fall_back(want.size_bytes, &error.to_string());
        }
    }

    /// What the worker has to be told, in order; nothing nearly always.
    pub(crate) fn notices(&self) -> Vec<Frame> {
        if !self.signal.raised.load(Ordering::Relaxed)
            || !self.signal.raised.swap(false, Ordering::Acquire)
        {
            return Vec::new();
        }
        self.ledger.notices().into_iter().map(frame).collect()
    }

    /// Has the outgoing stream woken when there is something to tell.
    pub(crate) fn wait(&self, waker: &Waker) {
        {
            let mut waiting = self.signal.waker.lock().unwrap_or_else(PoisonError::into_inner);
            if !waiting.as_ref().is_some_and(|waiting| waiting.will_wake(waker)) {
                *waiting = Some(waker.clone());
            }
        }
        // Raised before the waker was there: nobody else will wake it.
        if self.signal.raised.load(Ordering::Acquire) {
            waker.wake_by_ref();
        }
    }

    /// The worker is dead: nobody looks at what it was shown.
    pub(crate) fn close(&self) {
        self.ledger.close();
    }
}

/// What a payload is on a link: with references where its worker can be shown the parts, else inline.
///
/// # Errors
/// `ShmUnavailable` in a strict pool.
pub(crate) fn sending<'a>(
    loans: Option<&Loans>,
    payload: &'a Payload,
) -> Result<Sending<'a>, Error> {
    if payload.parts().is_empty() {
        return Ok(Sending { payload: Cow::Borrowed(payload), references: Vec::new() });
    }
    let size: usize = payload.parts().iter().map(|part| part.len()).sum();
    if let Some(loans) = loans {
        match loans.lend(payload.parts()) {
            Ok(references) => return Ok(Sending { payload: Cow::Borrowed(payload), references }),
            Err(reason) => loans.memory.fall_back(size as u64, &reason)?,
        }
    }
    // What this process does not hold is read now.
    let parts = payload.parts().iter().map(|part| match memory::file(part) {
        None => Ok(part.clone()),
        Some(file) => file.read().map(Blob::from).map_err(|e| unreadable(&e)),
    });
    let payload = payload.inlined_with(parts.collect::<Result<_, _>>()?)?;
    Ok(Sending { payload: Cow::Owned(payload), references: Vec::new() })
}

fn unreadable(error: &io::Error) -> Error {
    Error::new(ErrorKind::System, format!("cannot read the file that is an argument: {error}"))
}

fn frame(notice: Notice) -> Frame {
    match notice {
        Notice::Grant { want_id, grant } => {
            let segments = grant.into_iter().map(|grant| v1::ShmSegment {
                segment_id: grant.segment.0,
                generation: grant.generation,
                size_bytes: grant.size_bytes,
            });
            Frame::ShmGrant(v1::ShmGrant { segments: segments.collect(), want_id })
        }
        Notice::Forget { segment } => {
            Frame::ShmRevoke(v1::ShmRevoke { segment_ids: vec![segment.0] })
        }
        // `Notice` may grow; what is added must get its frame here first.
        _ => Frame::ShmRevoke(v1::ShmRevoke::default()),
    }
}

fn to_wire(reference: &Reference) -> v1::ShmRef {
    v1::ShmRef {
        segment_id: reference.segment.0,
        generation: reference.generation,
        offset: reference.offset,
        size_bytes: reference.size_bytes,
    }
}

fn from_wire(reference: &v1::ShmRef) -> Reference {
    Reference {
        segment: SegmentId(reference.segment_id),
        generation: reference.generation,
        offset: reference.offset,
        size_bytes: reference.size_bytes,
    }
}
