//! Segments: anonymous files of a fixed size. Owns how one is made, sealed and checked. Who uses it
//! when is decided elsewhere.
//!
//! Invariant: all pages of a segment exist before anybody maps it, so a machine without memory is an
//! error here and never a signal later; its size is sealed.

use std::fmt;
use std::io;
use std::sync::OnceLock;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, fallocate, fcntl_add_seals,
    fcntl_get_seals, fstat, ftruncate, memfd_create,
};
use rustix::io::Errno;

use crate::map::{Access, Faults, Mapping};
use crate::system::available_bytes;

/// The name of a segment, never used twice by one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId(pub u64);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a frame says of a value in shared memory: a range of one use of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The segment.
    pub segment: SegmentId,
    /// Which of its uses.
    pub generation: u64,
    /// Where the value begins, in bytes: a multiple of [`ALIGNMENT`], but for files and for
    /// [parts](crate::Lease::slice) of values.
    pub offset: u64,
    /// How long it is, in bytes.
    pub size_bytes: u64,
}

/// Values in segments begin at multiples of this many bytes: a cache line, and what every element
/// type and vector unit is content with.
pub const ALIGNMENT: u64 = 64;

/// The smallest segment, in bytes.
pub const SMALLEST_SEGMENT: u64 = 64 * 1024;

/// Above this many bytes there are four size classes to a doubling: a 65 MiB array must not cost
/// 128 MiB, and below it segments are too small for that to matter.
const FINE_CLASSES: u64 = 1024 * 1024;

/// The largest segment. It keeps sums of sizes far from the end of their type.
pub(crate) const LARGEST_SEGMENT: u64 = 1 << 40;

/// The size of the segment that a value of so many bytes gets; `None` if there is none so large.
pub fn segment_bytes(size_bytes: u64) -> Option<u64> {
    if size_bytes > LARGEST_SEGMENT {
        return None;
    }
    let doubled = size_bytes.max(SMALLEST_SEGMENT).next_power_of_two();
    if doubled <= FINE_CLASSES {
        return Some(doubled);
    }
    // `doubled / 2 < size_bytes <= doubled`, so the step divides that range in four.
    Some(size_bytes.next_multiple_of(doubled / 8))
}

/// Which way a segment is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The host writes, workers read.
    Inbound,
    /// One worker writes, the host reads.
    Outbound,
}

/// One segment and the host's mapping of it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    /// Counts the uses. It changes only while nobody has the segment.
    pub(crate) generation: u64,
    pub(crate) mapping: Mapping,
    direction: Direction,
    file: OwnedFd,
    /// Opened again without the right to write, for who must only read; made when first needed.
    read_only: OnceLock<OwnedFd>,
}

impl Segment {
    /// Makes a segment of exactly `bytes`, with all its pages in place.
    pub(crate) fn create(id: SegmentId, bytes: u64, direction: Direction) -> io::Result<Self> {
        let len = usize::try_from(bytes).map_err(|_| Errno::NOMEM)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create(c"snakepit-segment", flags)?;
        ftruncate(&file, bytes)?;
        reserve(&file, bytes)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
        let access = match direction {
            Direction::Inbound => Access::Write,
            Direction::Outbound => Access::Read,
        };
        let mapping = Mapping::new(&file, len, access, faults(access))?;
        let read_only = OnceLock::new();
        if direction == Direction::Inbound && !seal_against_writers(&file)? {
            // A kernel before 5.1. Workers get a descriptor that gives no right to write; one that
            // opens it again through /proc gets that right back, which takes intent.
            let _ = read_only.set(open_read_only(&file)?);
        }
        fcntl_add_seals(&file, SealFlags::SEAL)?;
        Ok(Self { id, generation: 1, mapping, direction, file, read_only })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.mapping.len() as u64
    }

    /// The descriptor for a worker that only reads.
    pub(crate) fn reader_fd(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(file) = self.read_only.get() {
            return Ok(file.as_fd());
        }
        if self.direction == Direction::Inbound {
            return Ok(self.file.as_fd());
        }
        let opened = open_read_only(&self.file)?;
        Ok(self.read_only.get_or_init(|| opened).as_fd())
    }

    /// The descriptor for the worker whose segment it is.
    pub(crate) fn writer_fd(&self) -> BorrowedFd<'_> {
        debug_assert_eq!(self.direction, Direction::Outbound, "only the host writes this one");
        self.file.as_fd()
    }
}

/// Who writes a segment has its pages mapped at once: it pays for each fault otherwise. Who reads it
/// gets many with one fault, and only those that it looks at: 64 MiB take 50 µs to map instead of
/// 17 ms, and reading them all is no slower (`cargo bench -p snakepit-shm`).
fn faults(access: Access) -> Faults {
    match access {
        Access::Read => Faults::Later,
        Access::Write => Faults::Now,
    }
}

/// Allocates every page, where a lack of memory can still be said.
fn reserve(file: &OwnedFd, bytes: u64) -> io::Result<()> {
    // The kernel gives page after page until none is left and then ends some process, so what is
    // clearly too much is refused before. Small segments are not worth the question.
    if bytes >= FINE_CLASSES && available_bytes().is_some_and(|available| bytes > available) {
        return Err(Errno::NOMEM.into());
    }
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// From here on the file can be mapped for reading only; mappings that exist stay as they are.
/// `false` if the kernel is too old to know this.
fn seal_against_writers(file: &OwnedFd) -> io::Result<bool> {
    match fcntl_add_seals(file, SealFlags::FUTURE_WRITE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn open_read_only(file: &OwnedFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Maps a segment that another process made, after checking that it is one: of the size that was
/// said, and unable to become shorter.
pub(crate) fn map_received(file: &OwnedFd, bytes: u64, access: Access) -> io::Result<Mapping> {
    let refuse = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let len = match usize::try_from(bytes) {
        Ok(len) if len > 0 && bytes <= LARGEST_SEGMENT => len,
        _ => return refuse("a segment's size is out of bounds"),
    };
    if fstat(file)?.st_size.cast_unsigned() != bytes {
        return refuse("a segment is not of the size that was announced");
    }
    if !fcntl_get_seals(file)?.contains(SealFlags::SHRINK | SealFlags::GROW) {
        return refuse("a segment's size is not sealed");
    }
    Mapping::new(file, len, access, faults(access))
}

/// Maps a file on disk that another process has opened. Its pages come when they are touched.
pub(crate) fn map_file(file: &OwnedFd, bytes: u64) -> io::Result<Mapping> {
    let refuse = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let Some(len) =
        usize::try_from(bytes).ok().filter(|len| (1..=isize::MAX as usize).contains(len))
    else {
        return refuse("a file's size is out of bounds");
    };
    if fstat(file)?.st_size.cast_unsigned() < bytes {
        return refuse("a file is shorter than was announced");
    }
    Mapping::new(file, len, Access::Read, Faults::Later)
}

#[cfg(test)]
mod tests {
    use rustix::io::{FdFlags, fcntl_getfd};

    use super::*;

    const BYTES: u64 = SMALLEST_SEGMENT;

    fn may_be_written(file: impl AsFd) -> bool {
        Mapping::new(file, BYTES as usize, Access::Write, Faults::Later).is_ok()
    }

    #[test]
    fn size_classes_are_whole_pages_and_waste_at_most_a_quarter_above_a_mebibyte() {
        let mut last = 0;
        for size in (0..24).flat_map(|shift| [(1 << shift) * 1000, (1 << shift) * 1025]) {
            let bytes = segment_bytes(size).unwrap();
            assert!(bytes >= size.max(SMALLEST_SEGMENT) && bytes.is_multiple_of(4096), "{size}");
            let most = if size > FINE_CLASSES { size + size / 4 } else { 2 * size };
            assert!(bytes <= most.max(SMALLEST_SEGMENT), "{bytes} bytes for {size}");
            assert!(bytes >= last, "a larger value gets a smaller segment");
            last = bytes;
        }
        assert_eq!(segment_bytes(64 << 20), Some(64 << 20));
        assert_eq!(segment_bytes(LARGEST_SEGMENT + 1), None);
        assert_eq!(segment_bytes(u64::MAX), None);
    }

    #[test]
    fn a_reader_of_a_segment_cannot_map_it_to_write_nor_change_its_size() {
        let segment = Segment::create(SegmentId(1), BYTES, Direction::Inbound).unwrap();
        let file = segment.reader_fd().unwrap();
        assert!(!may_be_written(file), "a worker could write what others read");
        assert!(rustix::io::write(file, b"x").is_err());
        assert!(ftruncate(file, 0).is_err(), "a reader could be ended by SIGBUS");
        assert!(ftruncate(file, 2 * BYTES).is_err());
        assert!(fcntl_add_seals(file, SealFlags::WRITE).is_err(), "a worker could stop its host");
        assert!(fcntl_getfd(file).unwrap().contains(FdFlags::CLOEXEC));
        let file = file.try_clone_to_owned().unwrap();
        assert!(map_received(&file, BYTES, Access::Read).is_ok());
        assert!(map_received(&file, BYTES + 1, Access::Read).is_err());
        assert!(map_received(&file, 0, Access::Read).is_err());
    }

    #[test]
    fn a_worker_writes_its_own_segment_and_others_get_it_to_read() {
        let segment = Segment::create(SegmentId(1), BYTES, Direction::Outbound).unwrap();
        assert!(may_be_written(segment.writer_fd()));
        assert!(ftruncate(segment.writer_fd(), 0).is_err(), "the host could be ended by SIGBUS");
        let file = segment.reader_fd().unwrap();
        // The same way serves segments of the host's own on kernels before 5.1.
        assert!(!may_be_written(file));
        assert!(fcntl_getfd(file).unwrap().contains(FdFlags::CLOEXEC));
        assert!(map_received(&file.try_clone_to_owned().unwrap(), BYTES, Access::Read).is_ok());
    }

    #[test]
    fn more_memory_than_there_is_is_an_error() {
        let bytes = available_bytes().unwrap().checked_mul(2).and_then(segment_bytes).unwrap();
        let error = Segment::create(SegmentId(1), bytes, Direction::Inbound).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}");
    }

    #[test]
    fn a_file_whose_size_is_not_sealed_is_no_segment() {
        let file = memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, BYTES).unwrap();
        assert!(map_received(&file, BYTES, Access::Read).is_err());
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        assert!(map_received(&file, BYTES, Access::Read).is_ok());
    }
}
