//! What workers leave behind: processes that left the group and so outlived it.
//!
//! Owns when they are looked for; `marker` owns how. A look reads the environment of every process
//! of the machine, so one serves all workers that ended meanwhile, and looks are kept apart.
//! Invariant: each worker's strays are looked for once, after its end.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::marker::Marker;

/// Least time between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// The time between two looks, in those that a look takes: at most 2 % of a core goes into them,
/// however many processes the machine has.
const SPARING: u32 = 50;

/// The workers that have ended and whose strays have not been looked for.
#[derive(Clone, Debug)]
pub(super) struct Strays {
    ended: Arc<Mutex<Ended>>,
    /// How many wait until all is done, and would rather not wait for a pause.
    impatient: Arc<watch::Sender<usize>>,
}

#[derive(Debug, Default)]
struct Ended {
    marks: HashSet<Marker>,
    /// Somebody is at it.
    looking: bool,
}

impl Strays {
    pub(super) fn new() -> Self {
        Self { ended: Arc::default(), impatient: Arc::new(watch::channel(0).0) }
    }

    /// Notes a worker's end. `true` if the caller is to run [`look`](Self::look).
    #[must_use]
    pub(super) fn add(&self, mark: Marker) -> bool {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.marks.insert(mark);
        !mem::replace(&mut ended.looking, true)
    }

    /// Has `end_all` end the strays of all workers that have ended, until there are no more.
    pub(super) async fn look(self, end_all: impl Fn(&HashSet<Marker>) + Clone + Send + 'static) {
        let mut impatient = self.impatient.subscribe();
        while let Some(marks) = self.take() {
            let (began, end_all) = (Instant::now(), end_all.clone());
            // It fails only with the runtime, and this task with it.
            let _ = tokio::task::spawn_blocking(move || end_all(&marks)).await;
            let pause = PAUSE.max(began.elapsed() * SPARING);
            // Elapsed or not, the next look is due.
            let _ = timeout(pause, impatient.wait_for(|waiting| *waiting > 0)).await;
        }
    }

    /// Leaves out the pauses until the guard is dropped.
    pub(super) fn hurry(&self) -> impl Drop + use<> {
        self.impatient.send_modify(|waiting| *waiting += 1);
        Hurry(Arc::clone(&self.impatient))
    }

    fn take(&self) -> Option<HashSet<Marker>> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let marks = mem::take(&mut ended.marks);
        ended.looking = !marks.is_empty();
        ended.looking.then_some(marks)
    }
}

struct Hurry(Arc<watch::Sender<usize>>);

impl Drop for Hurry {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_ends_is_looked_after_by_few_looks_and_none_is_missed() {
        let strays = Strays::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let note = move |marks: &HashSet<Marker>| noted.lock().unwrap().push(marks.len());
        let mut looking = None;
        for _ in 0..100 {
            if strays.add(Marker::unique()) {
                assert!(looking.is_none(), "two at once");
                looking = Some(tokio::spawn(strays.clone().look(note.clone())));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        looking.unwrap().await.unwrap();
        let seen = seen.lock().unwrap();
        assert_eq!(seen.iter().sum::<usize>(), 100);
        // A second of ends, four looks a second.
        assert!(seen.len() <= 6, "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_end_waits_for_no_pause() {
        let strays = Strays::new();
        let began = Instant::now();
        assert!(strays.add(Marker::unique()));
        let looking = tokio::spawn(strays.clone().look(|_| ()));
        let _hurry = strays.hurry();
        looking.await.unwrap();
        assert!(began.elapsed() < PAUSE);
    }
}
