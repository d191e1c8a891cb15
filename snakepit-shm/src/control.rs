//! The control page: which calls a worker has started.
//!
//! Owns the layout of one 4 KiB page and both ways of looking at it. It decides nothing about
//! calls. Invariant: a call id is on the page from before its tool is entered until
//! [`FINISHED_IDS`] later calls have finished, so an id that is still in flight at the host and
//! not on the page was never started.
#![expect(unsafe_code, reason = "maps a file that another process maps too")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Calls that can run at the same time in one worker, one entry for each dispatch thread.
pub const RUNNING_SLOTS: usize = 64;

/// Finished calls that stay on the page. It exceeds every window of calls in flight to one worker,
/// so a result that was still in a buffer when the worker died is remembered as started.
pub const FINISHED_IDS: usize = 440;

const PAGE_BYTES: usize = 4096;
const MAGIC: u32 = 0x534e_4b31;

/// The page itself; all fields are atomics because two processes see them.
#[repr(C)]
struct Page {
    magic: AtomicU32,
    reserved: AtomicU32,
    finished_count: AtomicU64,
    running: [AtomicU64; RUNNING_SLOTS],
    finished: [AtomicU64; FINISHED_IDS],
}

const _: () = assert!(size_of::<Page>() <= PAGE_BYTES);

/// A mapping of the page. `MmapRaw` keeps it alive and never forms a reference to plain bytes.
struct Mapping(MmapRaw);

impl Mapping {
    fn new(file: BorrowedFd<'_>) -> io::Result<Self> {
        let file = File::from(file.try_clone_to_owned()?);
        if file.metadata()?.len() < PAGE_BYTES as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "control page is too short"));
        }
        Ok(Self(MmapOptions::new().len(PAGE_BYTES).map_raw(&file)?))
    }

    fn page(&self) -> &Page {
        let page = self.0.as_ptr().cast::<Page>();
        // SAFETY: the mapping is PAGE_BYTES long (the size seal keeps it so), page-aligned, lives
        // as long as `self`, and `Page` is made of atomics only, for which every bit pattern is
        // valid and concurrent writes by the other process are defined.
        unsafe { &*page }
    }
}

/// The host's side: creates the page and reads it. Clones read the same one.
#[derive(Clone)]
pub struct ControlReader(Arc<Created>);

struct Created {
    file: OwnedFd,
    mapping: Mapping,
}

impl ControlReader {
    /// Creates an empty page in an anonymous file whose size is sealed.
    ///
    /// # Errors
    /// Fails when the system has no memory or descriptors left.
    pub fn create() -> io::Result<Self> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = memfd_create(c"snakepit-control", flags)?;
        nix::unistd::ftruncate(&file, PAGE_BYTES as i64)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        let mapping = Mapping::new(file.as_fd())?;
        mapping.page().magic.store(MAGIC, Ordering::Relaxed);
        Ok(Self(Arc::new(Created { file, mapping })))
    }

    /// The descriptor to hand to the worker.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }

    /// Whether the worker entered the tool of this call. Meaningful for a call that is in flight
    /// at a worker that has died.
    pub fn was_started(&self, call_id: u64) -> bool {
        let page = self.0.mapping.page();
        // Acquire pairs with the writer's Release; the writer is another process, and its death
        // was seen through the kernel, which orders its writes before ours.
        let holds = |entry: &AtomicU64| entry.load(Ordering::Acquire) == call_id;
        page.running.iter().any(holds) || page.finished.iter().any(holds)
    }

    /// The call whose tool dispatch thread 0 was last seen to enter, whether or not it has left it.
    /// Good for labels: with other dispatch threads about, and while calls follow one another, it
    /// may be out of date when it comes back.
    pub fn last_started(&self) -> Option<u64> {
        let page = self.0.mapping.page();
        // Relaxed: nothing else is read because of what is seen here.
        let running = page.running[0].load(Ordering::Relaxed);
        if running != 0 {
            return Some(running);
        }
        let last = page.finished_count.load(Ordering::Relaxed).checked_sub(1)? as usize;
        Some(page.finished[last % FINISHED_IDS].load(Ordering::Relaxed)).filter(|id| *id != 0)
    }
}

/// The worker's side: maps the page it was given and writes it.
pub struct ControlWriter {
    mapping: Mapping,
}

impl ControlWriter {
    /// Maps the page behind a descriptor.
    ///
    /// # Errors
    /// `InvalidData` if the descriptor is not a control page.
    pub fn open(file: BorrowedFd<'_>) -> io::Result<Self> {
        let mapping = Mapping::new(file)?;
        if mapping.page().magic.load(Ordering::Relaxed) != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a control page"));
        }
        Ok(Self { mapping })
    }

    /// Notes that dispatch thread `slot` is about to enter the tool of a call. Call ids are not 0.
    ///
    /// # Panics
    /// If `slot` is not below [`RUNNING_SLOTS`].
    pub fn start(&self, slot: usize, call_id: u64) {
        self.mapping.page().running[slot].store(call_id, Ordering::Release);
    }

    /// Notes that dispatch thread `slot` is done with its call.
    ///
    /// # Panics
    /// If `slot` is not below [`RUNNING_SLOTS`].
    pub fn finish(&self, slot: usize) {
        let page = self.mapping.page();
        // Only this thread writes its own entry, so a relaxed load sees what it stored.
        let call_id = page.running[slot].load(Ordering::Relaxed);
        let position = page.finished_count.fetch_add(1, Ordering::Relaxed) as usize;
        // The id enters the ring before it leaves `running`: it is never missing from both.
        page.finished[position % FINISHED_IDS].store(call_id, Ordering::Release);
        page.running[slot].store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn started_and_just_finished_calls_are_on_the_page_and_others_are_not() {
        let reader = ControlReader::create().unwrap();
        let writer = ControlWriter::open(reader.as_fd()).unwrap();
        writer.start(0, 7);
        writer.start(1, 8);
        writer.finish(0);
        assert!(reader.was_started(7), "finished, result may still be in a buffer");
        assert!(reader.was_started(8), "running");
        assert!(!reader.was_started(9), "never started");
    }

    #[test]
    fn the_last_call_to_start_is_known_until_the_next_one_does() {
        let reader = ControlReader::create().unwrap();
        let writer = ControlWriter::open(reader.as_fd()).unwrap();
        assert_eq!(reader.last_started(), None);
        for id in 1..2 * FINISHED_IDS as u64 {
            writer.start(0, id);
            assert_eq!(reader.last_started(), Some(id), "running");
            writer.finish(0);
            assert_eq!(reader.clone().last_started(), Some(id), "finished");
        }
    }

    #[test]
    fn a_long_call_stays_while_short_ones_pass() {
        let reader = ControlReader::create().unwrap();
        let writer = ControlWriter::open(reader.as_fd()).unwrap();
        writer.start(0, 1);
        for id in 2..2 + 2 * FINISHED_IDS as u64 {
            writer.start(1, id);
            writer.finish(1);
        }
        assert!(reader.was_started(1));
        assert!(!reader.was_started(2), "long gone: its result has been read");
    }

    #[test]
    fn a_file_that_is_no_control_page_is_refused() {
        let file = tempfile_of(&[0; PAGE_BYTES]);
        assert!(ControlWriter::open(file.as_fd()).is_err());
        let short = tempfile_of(&[0; 16]);
        assert!(ControlWriter::open(short.as_fd()).is_err());
    }

    fn tempfile_of(content: &[u8]) -> OwnedFd {
        let file = memfd_create(c"test", MFdFlags::MFD_CLOEXEC).unwrap();
        nix::unistd::write(&file, content).unwrap();
        file
    }
}
