//! Large data beside the payloads: memory that this worker shares with its host.
//!
//! Owns what Python sees of it, what leaves through it, and whose turn it is with what. The segments
//! themselves, and the rules both sides keep, are `snakepit-shm`'s; what the bytes mean is the
//! codec's. Invariant: without shared memory everything crosses as well, only slower.

mod arrays;
pub(crate) mod arrow;
mod buffer;
mod dlpack;
mod element;
mod memory;
mod parcel;
mod sharing;
mod source;

pub(crate) use arrays::{empty, empty_for};
pub(crate) use buffer::Buffer;
pub(crate) use memory::Memory;
pub(crate) use parcel::{Kept, Parcel, Refused, Sealed, Sender};
pub(crate) use sharing::{Arrived, Sharing};
pub(crate) use source::{Piece, Source, loaded_numpy, through_dlpack};
