//! Owns the ways to make a free-threaded interpreter available where there is none, and their order.
//! Each way is a module of its own; why one did not help is told in its words.

use super::{Attempt, FindError, Search, nowhere_free_threaded};
use crate::cache::Cache;
use crate::interpreter::Interpreter;
use crate::managed;
use crate::probe;
use crate::source_build;
use crate::sources;

const NO_ARCHIVES: &str = "SNAKEPIT_PYTHON_ARCHIVES names no directory";

/// An interpreter, or why there is none.
type Outcome = Result<Interpreter, String>;
/// One way to make an interpreter available; it names the place it tried.
type Way = fn(&Search, &Cache, &mut dyn FnMut(&str)) -> (String, Outcome);
/// In the order of the time they take.
const WAYS: [Way; 4] =
    [Search::unpack, Search::ask_uv, Search::build_local, Search::build_from_distribution];

impl Search {
    /// Finds a free-threaded interpreter, and makes one available in the cache if there is none:
    /// unpacked from the archive directory, through `uv python install`, else built from the source
    /// in the archive directory or from the distribution's source package, which takes minutes.
    ///
    /// # Errors
    /// If the one that was named does not serve, or none can be had.
    pub fn provide_free_threaded(
        &self,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Interpreter, FindError> {
        let mut attempts = match self.present_free_threaded()? {
            Ok(interpreter) => return Ok(interpreter),
            Err(attempts) => attempts,
        };
        let Some(cache) = &self.cache else {
            attempts.push(Attempt {
                place: "a managed copy".to_owned(),
                outcome: crate::cache::NoCacheDir.to_string(),
            });
            return Err(nowhere_free_threaded(attempts));
        };
        for way in WAYS {
            let (place, outcome) = way(self, cache, progress);
            match outcome {
                Ok(interpreter) => return Ok(interpreter),
                Err(outcome) => attempts.push(Attempt { place, outcome }),
            }
        }
        Err(nowhere_free_threaded(attempts))
    }

    fn unpack(&self, cache: &Cache, progress: &mut dyn FnMut(&str)) -> (String, Outcome) {
        let Some(dir) = &self.archives else {
            return ("an archive".to_owned(), Err(NO_ARCHIVES.to_owned()));
        };
        (format!("archives in {}", dir.display()), managed::unpack_archive(dir, cache, progress))
    }

    fn ask_uv(&self, cache: &Cache, progress: &mut dyn FnMut(&str)) -> (String, Outcome) {
        let uv = self.uv.clone();
        let uv = uv.or_else(|| probe::on_search_path("uv".as_ref(), &self.path).next());
        let outcome = match uv {
            Some(uv) => managed::install_with_uv(&uv, cache, progress),
            None => Err("uv is not on PATH".to_owned()),
        };
        ("uv python install".to_owned(), outcome)
    }

    fn build_local(&self, cache: &Cache, progress: &mut dyn FnMut(&str)) -> (String, Outcome) {
        let Some(dir) = &self.archives else {
            return ("a source tarball".to_owned(), Err(NO_ARCHIVES.to_owned()));
        };
        let outcome = sources::in_directory(dir)
            .and_then(|tarball| source_build::build(&tarball, cache, progress));
        (format!("source in {}", dir.display()), outcome)
    }

    fn build_from_distribution(
        &self,
        cache: &Cache,
        progress: &mut dyn FnMut(&str),
    ) -> (String, Outcome) {
        let place = "the distribution's source package".to_owned();
        let Some(apt_get) = probe::on_search_path("apt-get".as_ref(), &self.path).next() else {
            return (place, Err("apt-get is not on PATH".to_owned()));
        };
        let scratch = match tempfile::tempdir() {
            Ok(scratch) => scratch,
            Err(error) => return (place, Err(error.to_string())),
        };
        let outcome = sources::from_distribution(&apt_get, scratch.path(), progress)
            .and_then(|tarball| source_build::build(&tarball, cache, progress));
        (place, outcome)
    }
}
