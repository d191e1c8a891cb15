//! What can go wrong, in three families: no memory to be had ([`ShmError`]), a reference from the
//! other side that breaks the rules ([`Breach`]), and a segment that cannot be lent ([`LendError`]).

use std::io;

use crate::segment::SegmentId;

/// Why there is no segment for a value. The value can always travel in the message instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShmError {
    /// The pool uses all that it may.
    #[error(
        "shared memory for pool {pool} is used up: {in_use_bytes} of {quota_bytes} bytes are in use \
         and {asked_bytes} more were asked for; drop results that hold it, or raise the pool's quota"
    )]
    QuotaReached {
        /// The pool.
        pool: String,
        /// What it may use.
        quota_bytes: u64,
        /// What it uses.
        in_use_bytes: u64,
        /// The size of the segment that was wanted.
        asked_bytes: u64,
    },
    /// All pools together use all that they may.
    #[error(
        "shared memory is used up: {in_use_bytes} of {total_bytes} bytes are in use by all pools and \
         {asked_bytes} more were asked for; drop results that hold it, or raise the total"
    )]
    TotalReached {
        /// What all pools may use together.
        total_bytes: u64,
        /// What they use.
        in_use_bytes: u64,
        /// The size of the segment that was wanted.
        asked_bytes: u64,
    },
    /// No segment is that large.
    #[error("{asked_bytes} bytes are more than any segment holds; split the value")]
    TooLarge {
        /// What was asked for.
        asked_bytes: u64,
    },
    /// The worker's memory is gone because the worker is.
    #[error("the worker has ended")]
    Closed,
    /// The system gave no memory, no descriptor or no way to send one.
    #[error("the system refused {what}; check its memory and its limit of open files")]
    System {
        /// What was attempted.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a lease cannot be shown to a worker now. The value can always travel in the message instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LendError {
    /// The worker has not read the descriptors that it was sent.
    #[error("the worker's queue of descriptors is full; it reads them when it reads its calls")]
    Full,
    /// A file without bytes.
    #[error("an empty file cannot be mapped; send an empty value")]
    Empty,
    /// The worker has ended.
    #[error("the worker has ended")]
    Closed,
    /// The system refused to send the descriptor.
    #[error("the system refused to send a descriptor; check the limit of open files")]
    System(#[source] io::Error),
}

/// The rule that a worker's message broke. It ends that worker's link and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// A use of a segment that this worker was neither granted nor lent.
    #[error(
        "generation {generation} of segment {segment} is neither granted nor lent to this worker"
    )]
    NotGranted {
        /// The segment named.
        segment: SegmentId,
        /// The generation named.
        generation: u64,
    },
    /// A use that is over, or has not begun.
    #[error("generation {named} of segment {segment} is not the one granted, {granted}")]
    WrongGeneration {
        /// The segment named.
        segment: SegmentId,
        /// The generation named.
        named: u64,
        /// The generation that the worker has.
        granted: u64,
    },
    /// Bytes beyond the end of the segment.
    #[error("{size_bytes} bytes from {offset} are not within segment {segment} of {segment_bytes}")]
    OutOfRange {
        /// The segment named.
        segment: SegmentId,
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        size_bytes: u64,
        /// How long the segment is.
        segment_bytes: u64,
    },
    /// Bytes beside the ones that the worker was shown of this use.
    #[error("{size_bytes} bytes from {offset} of segment {segment} were not lent to this worker")]
    NotShown {
        /// The segment named.
        segment: SegmentId,
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        size_bytes: u64,
    },
    /// A value that does not begin at a multiple of [`ALIGNMENT`](crate::ALIGNMENT).
    #[error("offset {offset} in segment {segment} is no multiple of 64")]
    Unaligned {
        /// The segment named.
        segment: SegmentId,
        /// Where the range begins.
        offset: u64,
    },
    /// A release of something that the worker was not lent, or more releases than loans.
    #[error("generation {generation} of segment {segment} was released but is not lent")]
    NotLent {
        /// The segment named.
        segment: SegmentId,
        /// The generation named.
        generation: u64,
    },
}
