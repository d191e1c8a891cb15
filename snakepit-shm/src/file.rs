//! Files on disk, shown to a worker where they lie: it gets the descriptor and maps it to read. Owns
//! what may be shown so. Nothing in this process maps a file.
//!
//! Invariant: a [`FileRegion`] is of a regular file that was open to read and, when it was looked at,
//! as long as the region says.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{FileType, Mode, OFlags};

use crate::arena::{Lease, Quota};
use crate::error::ShmError;

/// A range of a file on disk. Clones share the descriptor.
///
/// # The contract
/// A worker that was shown a file maps it: nothing is read before it is looked at, and no memory is
/// taken from the pool's quota. In return the file must keep its bytes while the worker looks. If
/// somebody changes it the worker sees them change; if somebody makes it shorter, looking beyond its
/// new end kills the worker with SIGBUS, which its supervisor sees as any other crash. So show files
/// that are written once (and replaced by renaming), and for others use [`read`](Self::read) or
/// [`copy_to`](Self::copy_to), which fail with an error instead.
///
/// This process never maps it, so it cannot be hurt.
#[derive(Clone, Debug)]
pub struct FileRegion {
    file: Arc<File>,
    range: Range<u64>,
}

impl FileRegion {
    /// A whole file.
    ///
    /// # Errors
    /// `InvalidInput` for what is no regular file; else what the system said.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        // Without waiting: a pipe would wait for its writer before it can be seen to be no file.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Self::new(File::from(rustix::fs::open(path.as_ref(), flags, Mode::empty())?))
    }

    /// A whole file that is open already. The worker gets a descriptor of what is open, whatever its
    /// name means by then; if it is open to write, the worker can write it.
    ///
    /// # Errors
    /// `InvalidInput` for what is no regular file; else what the system said.
    pub fn new(file: File) -> io::Result<Self> {
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        Ok(Self { file: Arc::new(file), range: 0..stat.st_size.cast_unsigned() })
    }

    /// A part of this one, in bytes from its beginning.
    ///
    /// # Errors
    /// `InvalidInput` if the range is not within it.
    pub fn slice(&self, range: Range<u64>) -> io::Result<Self> {
        if range.start > range.end || range.end > self.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the part is beyond the file"));
        }
        let start = self.range.start + range.start;
        let end = start + (range.end - range.start);
        Ok(Self { file: Arc::clone(&self.file), range: start..end })
    }

    /// The length of the region in bytes.
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether the region has no bytes. Such a one cannot be shown; an empty value can be sent.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Reads the bytes into ordinary memory.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file has become shorter; else what the system said.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len)?;
        bytes.resize(len, 0);
        self.file.read_exact_at(&mut bytes, self.range.start)?;
        Ok(bytes)
    }

    /// Reads the bytes into shared memory: one copy, and from then on the file does not matter.
    ///
    /// # Errors
    /// See [`ShmError`]; `System` also if the file has become shorter or cannot be read.
    pub fn copy_to(&self, quota: &Quota) -> Result<Lease, ShmError> {
        let too_large = |_| ShmError::TooLarge { asked_bytes: self.len() };
        let len = usize::try_from(self.len()).map_err(too_large)?;
        let mut draft = quota.draft(len)?;
        self.file
            .read_exact_at(&mut draft.as_mut_slice()[..len], self.range.start)
            .map_err(|source| ShmError::System { what: "to read a file", source })?;
        Ok(draft.freeze(len))
    }

    /// Where the region lies in its file.
    pub(crate) fn range(&self) -> &Range<u64> {
        &self.range
    }
}

impl AsFd for FileRegion {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
