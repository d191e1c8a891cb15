//! The environment of a worker: what the pool sets, native thread pools, the worker package.
//!
//! How many threads those pools may have is the profile's business.

use std::ffi::OsString;
use std::path::Path;

use snakepit_core::{Error, ErrorKind};

/// Native libraries start one thread per core each unless told otherwise; N workers would start N
/// times as many as there are cores. These are the variables that the common ones read.
pub const NATIVE_POOLS: [&str; 5] = [
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
];

/// How much freed memory the C library keeps, in bytes (mallopt(3)). By its defaults it gives the
/// buffers of a payload of 1 MB back after each call, and faulting their pages in again costs more
/// than copying the payload. What is kept at most is one worker's few payloads under way.
const KEPT_MEMORY: [(&str, &str); 2] =
    [("MALLOC_TRIM_THRESHOLD_", "67108864"), ("MALLOC_MMAP_THRESHOLD_", "33554432")];

/// Importing pyarrow starts a thread of an allocator that it carries and does not even use by default,
/// and a process with threads is not forked. What jemalloc's thread does, others do in its absence.
const NO_THREAD_OF_ARROW: [(&str, &str); 1] = [("JE_ARROW_MALLOC_CONF", "background_thread:false")];

const PYTHON_PATH: &str = "PYTHONPATH";

/// Names the directory that was added, so that the worker takes it back before the adapter's own
/// children inherit it.
const ADDED: &str = "SNAKEPIT_PYTHONPATH_ADDED";

/// What stands for the worker's place in the pool.
pub const INDEX: &str = "{index}";

/// The variables of the worker at `index`, in the order in which they are to be set. Native libraries
/// may start `native_threads` each.
///
/// # Errors
/// `InvalidConfig` when the directory of the worker package cannot be part of a path.
pub fn variables(
    pool: &[(String, String)],
    worker_package: Option<&Path>,
    native_threads: usize,
    index: usize,
) -> Result<Vec<(String, OsString)>, Error> {
    assemble(pool, worker_package, std::env::var_os(PYTHON_PATH), native_threads, index)
}

fn assemble(
    pool: &[(String, String)],
    worker_package: Option<&Path>,
    inherited_path: Option<OsString>,
    native_threads: usize,
    index: usize,
) -> Result<Vec<(String, OsString)>, Error> {
    let native_threads = native_threads.to_string();
    let limits = NATIVE_POOLS.iter().map(|name| (*name, native_threads.as_str()));
    let defaults = limits.chain(KEPT_MEMORY).chain(NO_THREAD_OF_ARROW);
    let mut out: Vec<(String, OsString)> =
        defaults.map(|(name, value)| (name.to_owned(), value.into())).collect();
    let index = index.to_string();
    // After the defaults, because the last one counts.
    out.extend(pool.iter().map(|(name, value)| {
        let value = value.replace(INDEX, &index);
        (name.clone(), value.into())
    }));
    if let Some(package) = worker_package {
        let own = pool.iter().rev().find(|(name, _)| name == PYTHON_PATH);
        let path = own.map(|(_, value)| value.replace(INDEX, &index).into());
        let path = path.or(inherited_path).filter(|path| !path.is_empty());
        let entries = path.iter().flat_map(std::env::split_paths);
        let joined = std::env::join_paths(std::iter::once(package.to_owned()).chain(entries));
        let joined = joined.map_err(|e| {
            let message = format!("cannot put `{}` on the Python path: {e}", package.display());
            Error::new(ErrorKind::InvalidConfig, message)
        })?;
        out.push((PYTHON_PATH.to_owned(), joined));
        out.push((ADDED.to_owned(), package.into()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn set(
        pool: &[(&str, &str)],
        package: Option<&str>,
        inherited: Option<&str>,
    ) -> BTreeMap<String, String> {
        let pool: Vec<_> =
            pool.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let package = package.map(Path::new);
        let made = assemble(&pool, package, inherited.map(Into::into), 1, 7).unwrap();
        made.into_iter().map(|(name, value)| (name, value.into_string().unwrap())).collect()
    }

    #[test]
    fn defaults_hold_unless_the_pool_says_otherwise() {
        let made = set(&[("OMP_NUM_THREADS", "4")], None, None);
        assert_eq!(made["OPENBLAS_NUM_THREADS"], "1");
        assert_eq!(made["OMP_NUM_THREADS"], "4");
        assert_eq!(made["MALLOC_TRIM_THRESHOLD_"], "67108864");
        assert!(!made.contains_key(PYTHON_PATH), "the host's stays as it is");
    }

    #[test]
    fn values_may_name_the_workers_index() {
        let made = set(&[("CUDA_VISIBLE_DEVICES", "{index}")], None, None);
        assert_eq!(made["CUDA_VISIBLE_DEVICES"], "7");
    }

    #[test]
    fn the_worker_package_comes_first_and_is_named() {
        let made = set(&[], Some("/cache/pkg"), Some("/mine:/yours"));
        assert_eq!(made[PYTHON_PATH], "/cache/pkg:/mine:/yours");
        assert_eq!(made[ADDED], "/cache/pkg");
        assert_eq!(set(&[], Some("/cache/pkg"), Some(""))[PYTHON_PATH], "/cache/pkg");
        let own = set(&[(PYTHON_PATH, "/pool")], Some("/cache/pkg"), Some("/host"));
        assert_eq!(own[PYTHON_PATH], "/cache/pkg:/pool");
        let odd = assemble(&[], Some(Path::new("/with:colon")), None, 1, 0);
        assert_eq!(odd.unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
}
