//! Mappings of files: the only place of the segments' side where memory is reached through pointers.
//! Owns [`Mapping`] and the arguments for the slices it gives. It decides nothing about who may
//! write when: that is what leases and drafts are for.
//!
//! Invariant: a mapping covers `len` bytes of a file that cannot become shorter (its size is sealed)
//! or whose bytes are never lent as a safe slice (files on disk).
//!
//! # The contract
//! Memory that two processes map can be written by either, whatever a type in one of them says. A
//! slice from here is sound as long as nobody writes what it shows. Within this process the types
//! see to that. Across processes:
//! - Segments towards a worker are sealed against new writable mappings, so the kernel sees to it.
//! - Segments that a worker fills stay writable for it. A worker that has handed a segment over must
//!   not touch it until it is granted again. The Python package keeps that rule; a program that
//!   breaks it on purpose, having every right of its user, can make the host read bytes that change.
//!   Who runs workers that must not be trusted that far copies first
//!   ([`Lease::to_vec`](crate::Lease::to_vec)) and checks the copy, or turns shared memory off.
#![expect(unsafe_code, reason = "gives slices of memory that another process maps too")]

use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fd::{AsFd, AsRawFd};

/// Whether a mapping may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Whether the pages are brought in when the mapping is made or when they are first touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Faults {
    Now,
    Later,
}

/// A shared mapping of the first bytes of a file.
#[derive(Debug)]
pub(crate) struct Mapping {
    raw: MmapRaw,
    access: Access,
}

impl Mapping {
    /// Maps the first `len` bytes of a file. The caller has checked that there are as many.
    pub(crate) fn new(
        file: impl AsFd,
        len: usize,
        access: Access,
        faults: Faults,
    ) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        options.len(len);
        if faults == Faults::Now {
            // All page faults in one system call: a quarter of what they cost one by one.
            options.populate();
        }
        let file = file.as_fd().as_raw_fd();
        let raw = match access {
            Access::Read => options.map_raw_read_only(file)?,
            Access::Write => options.map_raw(file)?,
        };
        Ok(Self { raw, access })
    }

    pub(crate) fn len(&self) -> usize {
        self.raw.len()
    }

    /// The address of the first byte, for foreign interfaces that take addresses.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.raw.as_ptr()
    }

    /// The bytes of a range. The caller keeps the contract above: nobody writes them while the slice
    /// lives.
    ///
    /// # Panics
    /// If the range is not within the mapping.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        let start = self.place(&range);
        // SAFETY: `place` checked that the range is within the mapping, which lives as long as
        // `self` and is readable; the file cannot become shorter, so no page of it is missing; u8
        // has no invalid value and no alignment. That nobody writes is this module's contract.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), range.len()) }
    }

    /// The bytes of a range, to fill them.
    ///
    /// # Panics
    /// If the range is not within the mapping, or the mapping is read-only.
    pub(crate) fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        assert_eq!(self.access, Access::Write, "the mapping is read-only");
        let start = self.place(&range);
        // SAFETY: as in `bytes`, and the mapping is writable; `&mut self` makes this the only slice
        // in this process. The other process has no writable mapping of it, or has handed it over.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), range.len()) }
    }

    /// Where a range begins.
    fn place(&self, range: &Range<usize>) -> NonNull<u8> {
        assert!(range.start <= range.end, "a range ends before it begins");
        assert!(range.end <= self.len(), "a range ends beyond its segment");
        let base = NonNull::new(self.raw.as_mut_ptr()).expect("a mapping is never at address 0");
        // SAFETY: the offset is at most the mapping's length, so the result is within or at the end
        // of one allocation, whose size fits an isize.
        unsafe { base.add(range.start) }
    }
}

/// The right to write a mapping that is shared for its lifetime only. Whoever makes one keeps the
/// contract: no slice of the mapping and no other `Exclusive` lives beside it.
#[derive(Debug)]
pub(crate) struct Exclusive(Arc<Mapping>);

impl Exclusive {
    pub(crate) fn new(mapping: Arc<Mapping>) -> Self {
        assert_eq!(mapping.access, Access::Write, "the mapping is read-only");
        Self(mapping)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn as_mut_ptr(&self) -> *mut u8 {
        self.0.raw.as_mut_ptr()
    }

    /// All bytes, to fill them.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is writable (checked in `new`), as long as it says, and lives as long as
        // `self`; u8 has no invalid value and no alignment. By the contract of this type, and because
        // of `&mut self`, this is the only slice of it in this process; the other process does not read
        // it before it is handed over.
        unsafe { std::slice::from_raw_parts_mut(self.0.raw.as_mut_ptr(), self.0.len()) }
    }
}
