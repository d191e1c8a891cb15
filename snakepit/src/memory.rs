//! Values that are made where workers can see them, and what is told of the memory they are in. Owns
//! the way there; the memory is the pool's.

use std::sync::Arc;

use serde::Serialize;
use snakepit_bridge::{Memory, MemoryCounts};
#[cfg(feature = "arrow")]
use snakepit_core::RecordBatches;
use snakepit_core::{Array, Blob, Element, Error, ErrorKind, Store};
use snakepit_shm::{ArenaStats, PoolStats};

use crate::host::{PoolEntry, Snakepit};

/// What shared memory a host has, and who uses it.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct SharedMemoryReport {
    /// What all pools may have together, in bytes.
    pub total_bytes: u64,
    /// What is there, in use or kept to be used again.
    pub held_bytes: u64,
    /// The most that ever was there.
    pub high_water_bytes: u64,
    /// In how many segments.
    pub segments: u64,
    /// The pools, in the order of their names.
    pub pools: Vec<PoolMemory>,
}

/// What shared memory one pool uses, and what has gone through it.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct PoolMemory {
    /// The pool.
    pub pool: String,
    /// What it may use at the same time, in bytes.
    pub quota_bytes: u64,
    /// What is used: by this program, by workers that look at it or fill it.
    pub in_use_bytes: u64,
    /// The most that ever was.
    pub high_water_bytes: u64,
    /// What is kept to be used again.
    pub free_bytes: u64,
    /// Times that warm memory was found.
    pub hits: u64,
    /// Times that it had to be made.
    pub misses: u64,
    /// Times that there was none.
    pub refused: u64,
    /// Values copied into it here.
    pub placed: u64,
    /// Their bytes.
    pub placed_bytes: u64,
    /// Values that workers were shown.
    pub lent: u64,
    /// Their bytes.
    pub lent_bytes: u64,
    /// Values that workers have left there, or handed back as they lay.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Values that went another way, or were refused in a strict pool.
    pub fallbacks: u64,
}

impl SharedMemoryReport {
    fn new(stats: &ArenaStats, counts: impl Fn(&str) -> Option<MemoryCounts>) -> Self {
        let pools = stats.pools.iter();
        let mut pools: Vec<_> = pools
            .map(|stats| PoolMemory::new(stats, counts(&stats.name).unwrap_or_default()))
            .collect();
        pools.sort_by(|one, other| one.pool.cmp(&other.pool));
        Self {
            total_bytes: stats.total_bytes,
            held_bytes: stats.held_bytes,
            high_water_bytes: stats.high_water_bytes,
            segments: stats.segments,
            pools,
        }
    }

    /// What one pool uses; none if it has never had shared memory.
    pub fn pool(&self, name: &str) -> Option<&PoolMemory> {
        self.pools.iter().find(|pool| pool.pool == name)
    }
}

impl PoolMemory {
    fn new(stats: &PoolStats, counts: MemoryCounts) -> Self {
        Self {
            pool: stats.name.clone(),
            quota_bytes: stats.quota_bytes,
            in_use_bytes: stats.in_use_bytes,
            high_water_bytes: stats.high_water_bytes,
            free_bytes: stats.free_bytes,
            hits: stats.hits,
            misses: stats.misses,
            refused: stats.refused,
            placed: counts.placed,
            placed_bytes: counts.placed_bytes,
            lent: counts.lent,
            lent_bytes: counts.lent_bytes,
            received: counts.received,
            received_bytes: counts.received_bytes,
            fallbacks: counts.fallbacks,
        }
    }
}

impl PoolEntry {
    /// Where large arguments and results of host tools are placed.
    pub(crate) fn store(&self) -> Option<Arc<dyn Store>> {
        self.memory.load_full().map(|memory| memory as Arc<dyn Store>)
    }

    fn memory(&self) -> Result<Arc<Memory>, Error> {
        self.memory.load_full().ok_or_else(|| {
            let message = format!("pool `{}` has no shared memory", self.pool.name());
            Error::new(ErrorKind::ShmUnavailable, message)
                .with_help("set the pool's `shm.mode` to \"auto\"")
        })
    }
}

impl Snakepit {
    /// Makes an array in a pool's shared memory, whatever its size. As an argument it is there
    /// already: no call copies it, not even one of another pool.
    ///
    /// `fill` writes the elements, in C order, over what an earlier use of the memory has left.
    ///
    /// # Errors
    /// `ShmUnavailable` when the pool has no shared memory or its quota is used up,
    /// `InvalidArguments` for a shape that no array has, `PoolNotFound`.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(snakepit: snakepit::Snakepit) -> snakepit::Result<()> {
    /// let image = snakepit.shared_array("default", [1080, 1920, 3], |pixels: &mut [u8]| {
    ///     pixels.fill(127);
    /// })?;
    /// let mean: f64 = snakepit.execute("mean", (&image,)).await?;
    /// let edges: snakepit::Array = snakepit.execute("edges", (&image,)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn shared_array<T: Element>(
        &self,
        pool: &str,
        shape: impl Into<Vec<usize>>,
        fill: impl FnOnce(&mut [T]),
    ) -> Result<Array, Error> {
        let shape = shape.into();
        let size = Array::size_bytes(T::DTYPE, &shape)?;
        let blob = self.shared_blob(pool, size, |bytes| {
            if let Some(items) = T::view_mut(bytes) {
                fill(items);
            }
        })?;
        Array::from_blob(T::DTYPE, shape, blob)
    }

    /// Makes bytes in a pool's shared memory, which `fill` writes. See
    /// [`shared_array`](Self::shared_array).
    ///
    /// # Errors
    /// As [`shared_array`](Self::shared_array).
    pub fn shared_blob(
        &self,
        pool: &str,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Blob, Error> {
        let memory = self.entry(Some(pool))?.memory()?;
        let mut fill = Some(fill);
        memory.reserve(len, &mut |bytes| {
            if let Some(fill) = fill.take() {
                fill(bytes);
            }
        })
    }

    /// Copies an array into a pool's shared memory; one that is in some already is only cloned.
    ///
    /// # Errors
    /// As [`shared_array`](Self::shared_array).
    pub fn share(&self, pool: &str, array: &Array) -> Result<Array, Error> {
        if array.is_shared() {
            return Ok(array.clone());
        }
        let blob = self.shared_blob(pool, array.data().len(), |bytes| {
            bytes.copy_from_slice(array.data());
        })?;
        Array::from_blob(array.dtype(), array.shape(), blob)
    }

    /// Writes record batches into a pool's shared memory; those that are in some already are only
    /// cloned.
    ///
    /// # Errors
    /// As [`shared_array`](Self::shared_array), and `EncodeFailed` for columns that Arrow's IPC format
    /// has no place for.
    #[cfg(feature = "arrow")]
    pub fn share_batches(
        &self,
        pool: &str,
        batches: &RecordBatches,
    ) -> Result<RecordBatches, Error> {
        if batches.is_shared() {
            return Ok(batches.clone());
        }
        let memory = self.entry(Some(pool))?.memory()?;
        batches.placed(|len, fill| memory.reserve(len, fill))
    }

    /// What shared memory there is, and who uses it.
    pub fn shared_memory(&self) -> SharedMemoryReport {
        let stats = self.0.onto.arena().stats();
        let counts = |name: &str| {
            let entry = self.entry(Some(name)).ok();
            entry.and_then(|entry| entry.memory.load_full()).map(|memory| memory.counts())
        };
        SharedMemoryReport::new(&stats, counts)
    }
}
