//! What there is by name, for those who look something up with every call while others add and
//! remove. Owns the table and nothing of what is in it.
//!
//! Invariants: a look-up waits for nobody, writes nothing that another look-up reads, and allocates
//! nothing; a change is seen whole or not at all.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustc_hash::FxHashMap;

/// Things by name. Reading is lock-free; each change copies the table.
///
/// ```
/// let pools = snakepit_core::Directory::default();
/// pools.insert("default", 1);
/// assert_eq!(pools.get("default"), Some(1));
/// assert_eq!(pools.remove("default"), Some(1));
/// assert_eq!(pools.get("default"), None);
/// ```
pub struct Directory<T> {
    table: ArcSwap<Table<T>>,
    /// Held while the next table is made.
    changing: Mutex<()>,
}

/// Names come from whoever runs the program, so that nobody makes them collide on purpose.
type Table<T> = FxHashMap<Arc<str>, T>;

impl<T> Default for Directory<T> {
    fn default() -> Self {
        Self { table: ArcSwap::from_pointee(Table::default()), changing: Mutex::new(()) }
    }
}

impl<T: Clone> Directory<T> {
    /// What has this name.
    pub fn get(&self, name: &str) -> Option<T> {
        self.table.load().get(name).cloned()
    }

    /// Enters a thing under a name; gives what had it before.
    pub fn insert(&self, name: impl Into<Arc<str>>, thing: T) -> Option<T> {
        self.change(|table| table.insert(name.into(), thing))
    }

    /// Takes out what has this name.
    pub fn remove(&self, name: &str) -> Option<T> {
        self.remove_if(name, |_| true)
    }

    /// Takes out what has this name if it is the one that is meant.
    pub fn remove_if(&self, name: &str, meant: impl FnOnce(&T) -> bool) -> Option<T> {
        self.change(|table| table.get(name).is_some_and(meant).then(|| table.remove(name))?)
    }

    /// All of it at one moment, in the order of the names.
    pub fn entries(&self) -> Vec<(Arc<str>, T)> {
        let table = self.table.load();
        let mut entries: Vec<_> = table.iter().map(|(k, v)| (Arc::clone(k), v.clone())).collect();
        entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        entries
    }

    /// The names, in their order.
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.table.load().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    fn change<R>(&self, change: impl FnOnce(&mut Table<T>) -> R) -> R {
        // A table is stored whole, so one that a panic kept from being stored does no harm.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Table::clone(&self.table.load());
        let result = change(&mut table);
        self.table.store(Arc::new(table));
        result
    }
}

impl<T: Clone> fmt::Debug for Directory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_from_many_threads_are_all_kept() {
        let directory = Directory::default();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let directory = &directory;
                scope.spawn(move || {
                    for n in 0..50 {
                        directory.insert(format!("{thread}.{n}"), n);
                        assert_eq!(directory.get(&format!("{thread}.{n}")), Some(n));
                        if n % 2 == 1 {
                            assert_eq!(directory.remove(&format!("{thread}.{n}")), Some(n));
                        }
                    }
                });
            }
        });
        let names = directory.names();
        assert_eq!(names.len(), 100);
        assert!(names.is_sorted() && directory.entries().iter().all(|(_, n)| n % 2 == 0));
    }

    #[test]
    fn what_was_looked_up_outlives_its_entry() {
        let directory = Directory::default();
        assert_eq!(directory.insert("a", Arc::new(1)), None);
        let held = directory.get("a").unwrap();
        assert_eq!(directory.insert("a", Arc::new(2)).as_deref(), Some(&1));
        assert_eq!(directory.remove("a").as_deref(), Some(&2));
        assert_eq!((*held, directory.get("a"), directory.remove("a")), (1, None, None));
    }
}
