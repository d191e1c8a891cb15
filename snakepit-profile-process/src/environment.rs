//! What of a worker's environment is the zygote's, and what each forked worker has of its own.

use std::ffi::OsString;
use std::path::Path;

use snakepit_core::Error;
use snakepit_worker::{INDEX, variables};

/// Native libraries of a worker that runs one call at a time have one thread each.
pub(crate) const NATIVE_THREADS: usize = 1;

/// What the beginnings of names say about variables that are read once, when a process starts.
const READ_AT_START: [&str; 3] = ["LD_", "MALLOC_", "PYTHON"];

/// The variables of a zygote; those without a value are to be left out. What differs between
/// workers is not there while the adapter is imported.
pub(crate) fn of_zygote(
    pool: &[(String, String)],
    worker_package: Option<&Path>,
) -> Result<Vec<(String, Option<OsString>)>, Error> {
    let (differing, common): (Vec<_>, Vec<_>) =
        pool.iter().cloned().partition(|(_, value)| value.contains(INDEX));
    let common = variables(&common, worker_package, NATIVE_THREADS, 0)?;
    let common = common.into_iter().map(|(name, value)| (name, Some(value)));
    Ok(common.chain(differing.into_iter().map(|(name, _)| (name, None))).collect())
}

/// The variables that the forked worker at `index` has beside its zygote's.
pub(crate) fn of_fork(
    pool: &[(String, String)],
    index: usize,
) -> impl Iterator<Item = (&str, String)> {
    let index = index.to_string();
    pool.iter()
        .filter(|(_, value)| value.contains(INDEX))
        .map(move |(name, value)| (name.as_str(), value.replace(INDEX, &index)))
}

/// Why workers with this environment cannot be forked, if they cannot.
pub(crate) fn obstacle(pool: &[(String, String)]) -> Option<String> {
    let early = |name: &str| READ_AT_START.iter().any(|start| name.starts_with(start));
    let (name, value) = pool.iter().find(|(name, value)| early(name) && value.contains(INDEX))?;
    Some(format!("{name} is `{value}`, and it is read when a process starts"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_zygote_has_what_its_workers_have_in_common() {
        let pool = [("DEVICE", "gpu{index}"), ("LEVEL", "debug")];
        let pool = pool.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let made: BTreeMap<_, _> = of_zygote(&pool, None).unwrap().into_iter().collect();
        assert_eq!(made["DEVICE"], None, "the host's own would be wrong");
        assert_eq!(made["LEVEL"].as_deref(), Some("debug".as_ref()));
        assert_eq!(made["OMP_NUM_THREADS"].as_deref(), Some("1".as_ref()));
        assert_eq!(of_fork(&pool, 3).collect::<Vec<_>>(), [("DEVICE", "gpu3".to_owned())]);
        assert_eq!(obstacle(&pool), None);
    }

    #[test]
    fn what_is_read_at_the_start_cannot_differ_between_forked_workers() {
        let pool = [("PYTHONPATH".to_owned(), "/lib/{index}".to_owned())];
        assert!(obstacle(&pool).unwrap().contains("PYTHONPATH"));
        assert_eq!(obstacle(&[("PYTHONPATH".to_owned(), "/lib".to_owned())]), None);
    }
}
