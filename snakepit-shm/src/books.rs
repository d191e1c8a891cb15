//! The arena's books: what exists, what is in use, by whom, and what lies free. Pure: it holds
//! segments of any type and makes none.
//!
//! Invariant: bytes in use by a pool never exceed its quota, and bytes that exist never exceed the
//! total. A segment is in the free list of its pool or in somebody's hands, never both, because it
//! is moved.

use std::collections::BTreeMap;

use crate::error::ShmError;

/// A pool's place in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolIndex(usize);

/// What the arena has to do for a request that was granted.
pub(crate) enum Found<S> {
    /// Take this one, which is warm.
    Warm(S),
    /// Make one of the size asked for; these had to leave for it.
    Make { evicted: Vec<S> },
}

/// How much shared memory one pool uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// The pool.
    pub name: String,
    /// What it may use at the same time.
    pub quota_bytes: u64,
    /// Segments in use: leased by this process, lent to workers or granted to them.
    pub in_use_bytes: u64,
    /// The most that was ever in use at the same time.
    pub high_water_bytes: u64,
    /// Segments that wait to be used again.
    pub free_bytes: u64,
    /// Requests that found a warm segment.
    pub hits: u64,
    /// Requests for which a segment was made.
    pub misses: u64,
    /// Requests that got none.
    pub refused: u64,
}

/// How much shared memory there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArenaStats {
    /// What all pools may use together.
    pub total_bytes: u64,
    /// Segments that exist, in use or free.
    pub held_bytes: u64,
    /// The most that ever existed at the same time.
    pub high_water_bytes: u64,
    /// How many segments exist.
    pub segments: u64,
    /// Each pool.
    pub pools: Vec<PoolStats>,
}

impl ArenaStats {
    /// Segments in use, of all pools.
    pub fn in_use_bytes(&self) -> u64 {
        self.pools.iter().map(|pool| pool.in_use_bytes).sum()
    }
}

struct Pool<S> {
    stats: PoolStats,
    /// Free segments by size; the one used last is taken first, because caches know it.
    free: BTreeMap<u64, Vec<S>>,
    /// Who may ask for segments. What comes free while it is nobody is not kept.
    members: usize,
}

/// The books.
pub(crate) struct Books<S> {
    total_bytes: u64,
    held_bytes: u64,
    high_water_bytes: u64,
    segments: u64,
    pools: Vec<Pool<S>>,
}

impl<S> Books<S> {
    pub(crate) fn new(total_bytes: u64) -> Self {
        Self { total_bytes, held_bytes: 0, high_water_bytes: 0, segments: 0, pools: Vec::new() }
    }

    /// The place of the pool of that name, whose quota becomes what is said. Who asks is one more who may
    /// take segments for it, until it [leaves](Self::leave).
    pub(crate) fn join(&mut self, name: &str, quota_bytes: u64) -> PoolIndex {
        let known = self.pools.iter().position(|pool| pool.stats.name == name);
        let index = known.unwrap_or_else(|| {
            let stats = PoolStats { name: name.to_owned(), ..PoolStats::default() };
            self.pools.push(Pool { stats, free: BTreeMap::new(), members: 0 });
            self.pools.len() - 1
        });
        self.pools[index].stats.quota_bytes = quota_bytes;
        self.pools[index].members += 1;
        PoolIndex(index)
    }

    /// One less may take segments for a pool; with the last one go those that are free.
    pub(crate) fn leave(&mut self, pool: PoolIndex) -> Vec<S> {
        let entry = self.pool_mut(pool);
        entry.members -= 1;
        if entry.members > 0 {
            return Vec::new();
        }
        let out: Vec<S> = std::mem::take(&mut entry.free).into_values().flatten().collect();
        self.held_bytes -= std::mem::take(&mut self.pool_mut(pool).stats.free_bytes);
        self.segments -= out.len() as u64;
        out
    }

    /// Enters a use of `bytes` (a size class) for a pool. With `warm` a free segment may serve.
    pub(crate) fn take(
        &mut self,
        pool: PoolIndex,
        bytes: u64,
        warm: bool,
    ) -> Result<Found<S>, ShmError> {
        let room = self.pool_mut(pool).room();
        if bytes > room {
            return Err(self.refuse_by_quota(pool, bytes));
        }
        if let Some((size, segment)) = warm.then(|| self.take_free(pool, bytes, room)).flatten() {
            let entry = self.pool_mut(pool);
            entry.stats.hits += 1;
            entry.enter(size);
            return Ok(Found::Warm(segment));
        }
        let evicted = self.make_room(bytes).ok_or_else(|| self.refuse_by_total(pool, bytes))?;
        self.held_bytes += bytes;
        self.high_water_bytes = self.high_water_bytes.max(self.held_bytes);
        self.segments += 1;
        let entry = self.pool_mut(pool);
        entry.stats.misses += 1;
        entry.enter(bytes);
        Ok(Found::Make { evicted })
    }

    /// A use is over and the segment can serve again; gives it back if there is nobody it could serve.
    pub(crate) fn put_back(&mut self, pool: PoolIndex, bytes: u64, segment: S) -> Option<S> {
        let entry = self.pool_mut(pool);
        if entry.members == 0 {
            self.discard(pool, bytes);
            return Some(segment);
        }
        entry.stats.in_use_bytes -= bytes;
        entry.stats.free_bytes += bytes;
        entry.free.entry(bytes).or_default().push(segment);
        None
    }

    /// A use is over and so is the segment.
    pub(crate) fn discard(&mut self, pool: PoolIndex, bytes: u64) {
        self.pool_mut(pool).stats.in_use_bytes -= bytes;
        self.held_bytes -= bytes;
        self.segments -= 1;
    }

    /// Takes free segments out, the largest first, until at most `keep_bytes` are free.
    pub(crate) fn trim(&mut self, keep_bytes: u64) -> Vec<S> {
        let mut out = Vec::new();
        while self.free_bytes() > keep_bytes {
            out.extend(self.evict_largest());
        }
        out
    }

    pub(crate) fn stats(&self) -> ArenaStats {
        ArenaStats {
            total_bytes: self.total_bytes,
            held_bytes: self.held_bytes,
            high_water_bytes: self.high_water_bytes,
            segments: self.segments,
            pools: self.pools.iter().map(|pool| pool.stats.clone()).collect(),
        }
    }

    fn pool_mut(&mut self, pool: PoolIndex) -> &mut Pool<S> {
        &mut self.pools[pool.0]
    }

    fn free_bytes(&self) -> u64 {
        self.pools.iter().map(|pool| pool.stats.free_bytes).sum()
    }

    /// A free segment of at least that size and at most twice as large, within `room`.
    fn take_free(&mut self, pool: PoolIndex, bytes: u64, room: u64) -> Option<(u64, S)> {
        let entry = self.pool_mut(pool);
        let most = bytes.saturating_mul(2).min(room);
        let (&size, _) = entry.free.range(bytes..=most).next()?;
        entry.remove_free(size).map(|segment| (size, segment))
    }

    /// Evicts free segments until `bytes` more may exist; none if that cannot be.
    fn make_room(&mut self, bytes: u64) -> Option<Vec<S>> {
        let in_use = self.held_bytes - self.free_bytes();
        let most = self.total_bytes.checked_sub(bytes).filter(|most| in_use <= *most)?;
        let mut evicted = Vec::new();
        while self.held_bytes > most {
            evicted.extend(self.evict_largest());
        }
        Some(evicted)
    }

    fn evict_largest(&mut self) -> Option<S> {
        let largest = |pool: &Pool<S>| pool.free.last_key_value().map(|(size, _)| *size);
        let pool = self.pools.iter_mut().max_by_key(|pool| largest(pool))?;
        let size = largest(pool)?;
        let segment = pool.remove_free(size)?;
        self.held_bytes -= size;
        self.segments -= 1;
        Some(segment)
    }

    fn refuse_by_quota(&mut self, pool: PoolIndex, asked_bytes: u64) -> ShmError {
        let stats = &mut self.pool_mut(pool).stats;
        stats.refused += 1;
        ShmError::QuotaReached {
            pool: stats.name.clone(),
            quota_bytes: stats.quota_bytes,
            in_use_bytes: stats.in_use_bytes,
            asked_bytes,
        }
    }

    fn refuse_by_total(&mut self, pool: PoolIndex, asked_bytes: u64) -> ShmError {
        self.pool_mut(pool).stats.refused += 1;
        let in_use_bytes = self.held_bytes - self.free_bytes();
        ShmError::TotalReached { total_bytes: self.total_bytes, in_use_bytes, asked_bytes }
    }
}

impl<S> Pool<S> {
    /// What the quota leaves. Nothing, if it was lowered below what is in use.
    fn room(&self) -> u64 {
        self.stats.quota_bytes.saturating_sub(self.stats.in_use_bytes)
    }

    fn enter(&mut self, bytes: u64) {
        self.stats.in_use_bytes += bytes;
        self.stats.high_water_bytes = self.stats.high_water_bytes.max(self.stats.in_use_bytes);
    }

    fn remove_free(&mut self, size: u64) -> Option<S> {
        let list = self.free.get_mut(&size)?;
        let segment = list.pop();
        if list.is_empty() {
            self.free.remove(&size);
        }
        if segment.is_some() {
            self.stats.free_bytes -= size;
        }
        segment
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const CASES: u32 = if cfg!(miri) { 16 } else { 1024 };
    const TOTAL: u64 = 40;
    const QUOTAS: [u64; 2] = [16, 32];

    #[derive(Clone, Debug)]
    enum Step {
        Take { pool: usize, bytes: u64, warm: bool },
        PutBack(usize),
        Discard(usize),
        Trim(u64),
        Quota { pool: usize, bytes: u64 },
        Leave { pool: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        let (pool, bytes) = (0..QUOTAS.len(), prop::sample::select(vec![1_u64, 2, 4, 8]));
        prop_oneof![
            6 => (pool.clone(), bytes, prop::bool::weighted(0.8))
                .prop_map(|(pool, bytes, warm)| Step::Take { pool, bytes, warm }),
            4 => (0..64_usize).prop_map(Step::PutBack),
            1 => (0..64_usize).prop_map(Step::Discard),
            1 => (0..TOTAL).prop_map(Step::Trim),
            1 => (pool.clone(), 0..TOTAL).prop_map(|(pool, bytes)| Step::Quota { pool, bytes }),
            1 => pool.prop_map(|pool| Step::Leave { pool }),
        ]
    }

    /// A segment here is its number and its size.
    type Fake = (u64, u64);

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: CASES,
            // Miri has no files.
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// Each segment is in one place, and no limit is ever passed.
        #[test]
        fn no_segment_is_lost_or_given_twice(steps in vec(step(), 0..80)) {
            let mut books = Books::<Fake>::new(TOTAL);
            let pools = [books.join("a", QUOTAS[0]), books.join("b", QUOTAS[1])];
            let (mut quotas, mut members) = (QUOTAS, [1_usize; 2]);
            let mut next = 0;
            let mut used: Vec<(usize, Fake)> = Vec::new();
            let mut exist: BTreeSet<u64> = BTreeSet::new();
            for step in steps {
                let in_use = |pool: usize| -> u64 {
                    used.iter().filter(|it| it.0 == pool).map(|it| it.1.1).sum()
                };
                match step {
                    Step::Take { pool, .. } | Step::Leave { pool } if members[pool] == 0 => {}
                    Step::Take { pool, bytes, warm } => {
                        let (mine, all) = (in_use(pool), in_use(0) + in_use(1));
                        match books.take(pools[pool], bytes, warm) {
                            Ok(Found::Warm(segment)) => {
                                prop_assert!(warm && segment.1 >= bytes && segment.1 <= 2 * bytes);
                                prop_assert!(mine + segment.1 <= quotas[pool]);
                                prop_assert!(exist.contains(&segment.0));
                                prop_assert!(used.iter().all(|it| it.1 != segment), "given twice");
                                used.push((pool, segment));
                            }
                            Ok(Found::Make { evicted }) => {
                                prop_assert!(mine + bytes <= quotas[pool] && all + bytes <= TOTAL);
                                for segment in evicted {
                                    prop_assert!(used.iter().all(|it| it.1 != segment));
                                    prop_assert!(exist.remove(&segment.0));
                                }
                                next += 1;
                                exist.insert(next);
                                used.push((pool, (next, bytes)));
                            }
                            Err(ShmError::QuotaReached { .. }) => {
                                prop_assert!(mine + bytes > quotas[pool]);
                            }
                            Err(_) => prop_assert!(all + bytes > TOTAL),
                        }
                    }
                    Step::PutBack(at) if !used.is_empty() => {
                        let (pool, segment) = used.swap_remove(at % used.len());
                        let back = books.put_back(pools[pool], segment.1, segment);
                        prop_assert_eq!(back.is_some(), members[pool] == 0);
                        if let Some(segment) = back {
                            prop_assert!(exist.remove(&segment.0));
                        }
                    }
                    Step::Discard(at) if !used.is_empty() => {
                        let (pool, segment) = used.swap_remove(at % used.len());
                        exist.remove(&segment.0);
                        books.discard(pools[pool], segment.1);
                    }
                    Step::PutBack(_) | Step::Discard(_) => {}
                    Step::Trim(keep) => {
                        for segment in books.trim(keep) {
                            prop_assert!(exist.remove(&segment.0));
                        }
                        prop_assert!(books.free_bytes() <= keep);
                    }
                    Step::Leave { pool } => {
                        members[pool] -= 1;
                        for segment in books.leave(pools[pool]) {
                            prop_assert!(members[pool] == 0 && exist.remove(&segment.0));
                        }
                    }
                    Step::Quota { pool, bytes } => {
                        quotas[pool] = bytes;
                        members[pool] += 1;
                        let same = books.join(["a", "b"][pool], bytes);
                        prop_assert_eq!(same, pools[pool]);
                    }
                }
                let stats = books.stats();
                for (members, pool) in members.iter().zip(&stats.pools) {
                    prop_assert!(*members > 0 || pool.free_bytes == 0, "kept for nobody");
                }
                let used_bytes: u64 = used.iter().map(|it| it.1.1).sum();
                prop_assert_eq!(stats.in_use_bytes(), used_bytes);
                prop_assert_eq!(stats.segments, exist.len() as u64);
                prop_assert_eq!(stats.held_bytes, used_bytes + books.free_bytes());
                prop_assert!(stats.held_bytes <= TOTAL);
            }
        }
    }
}
