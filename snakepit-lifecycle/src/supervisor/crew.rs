//! How many seats a pool has. Owns the seats' tasks; what a seat does is its own.
//!
//! Invariants: seats that stay never outnumber what is wanted, and all seats, those included whose
//! workers are on their way out, never what there may be at most; a worker that leaves for good ends
//! its calls first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use snakepit_core::{Error, ErrorKind, WorkerId};
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::elastic::{LOOK, Looks, View};
use super::seat::{keep, stop_asked};
use super::status::SeatState;

/// Keeps as many seats as are wanted until the supervisor stops.
pub(super) async fn lead(shared: Arc<Shared>) -> Result<(), Error> {
    let mut stop = shared.stop.subscribe();
    let mut wanted = shared.wanted.subscribe();
    let mut plan = shared.plan.subscribe();
    let mut news = shared.news.subscribe();
    let mut surge = Surge { granted: plan.borrow().options.most_surge(), owed: 0 };
    let mut seats = JoinSet::new();
    let mut outcome = Ok(());
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = Looks::default();
    loop {
        let elastic = plan.borrow_and_update().options.elastic.is_some();
        surge.fit(&shared);
        fit(&shared, *wanted.borrow_and_update(), &mut seats);
        tokio::select! {
            biased;
            _ = stop_asked(&mut stop) => break,
            // The sender lives in `shared`.
            _ = wanted.changed() => {}
            _ = plan.changed() => {}
            _ = news.changed(), if surge.owed > 0 => {}
            _ = ticks.tick(), if elastic => resize(&shared, &mut looks),
            Some(ended) = seats.join_next() => match ended {
                Ok(number) => shared.close_seat(number),
                Err(error) => outcome = Err(broken(&error)),
            }
        }
    }
    while let Some(ended) = seats.join_next().await {
        if let Err(error) = ended {
            outcome = Err(broken(&error));
        }
    }
    outcome
}

/// The room for workers beside the pool's number.
struct Surge {
    granted: usize,
    /// Room that is to be taken back as soon as nobody uses it.
    owed: usize,
}

impl Surge {
    /// Follows the plan.
    fn fit(&mut self, shared: &Shared) {
        let wanted = shared.plan().options.most_surge();
        if wanted > self.granted {
            let more = wanted - self.granted;
            let kept = more.min(self.owed);
            self.owed -= kept;
            shared.surge.add_permits(more - kept);
        }
        self.owed += self.granted.saturating_sub(wanted);
        self.granted = wanted;
        self.owed -= shared.surge.forget_permits(self.owed);
    }
}

/// Adds seats that are missing, and tells surplus ones to leave.
fn fit(shared: &Arc<Shared>, wanted: usize, seats: &mut JoinSet<usize>) {
    let (staying, all) = {
        let book = shared.book();
        (book.staying().count(), book.seats.len())
    };
    if staying > wanted {
        let load: BTreeMap<WorkerId, usize> =
            shared.pool.loads().into_iter().map(|load| (load.worker, load.in_flight)).collect();
        let book = shared.book();
        let mut order: Vec<_> = book
            .staying()
            // Seats without a worker come first, then idle ones; of equals the newest.
            .map(|(number, place)| (load.get(&place.status.worker), Reverse(number)))
            .collect();
        order.sort_unstable();
        let surplus: Vec<_> = order[..staying - wanted].iter().map(|(_, n)| n.0).collect();
        surplus.into_iter().for_each(|number| book.dismiss(number));
        return;
    }
    let room = shared.most_workers().saturating_sub(all);
    for _ in 0..(wanted - staying).min(room) {
        let (number, orders) = shared.book().open_seat();
        seats.spawn(keep(Arc::clone(shared), number, orders));
    }
}

/// Changes what is wanted if calls wait, or workers have nothing to do.
fn resize(shared: &Shared, looks: &mut Looks) {
    let Some(elastic) = shared.plan().options.elastic else { return };
    let wanted = *shared.wanted.borrow();
    let unused = if wanted > elastic.min_workers {
        looks.unused(shared.pool.loads(), elastic.idle_timeout)
    } else {
        0
    };
    let backlog = shared.pool.backlog();
    let complete = shared.book().count(SeatState::Ready) == wanted;
    let full = looks.full(backlog, complete);
    let size = elastic.size(View { wanted, complete, backlog, full, unused });
    if size == wanted {
        return;
    }
    tracing::info!(
        pool = %shared.pool.name(),
        from = wanted,
        to = size,
        queued = backlog.queued,
        waited = ?backlog.waited,
        unused,
        "pool changes its size"
    );
    // Whoever asked for another number meanwhile has the last word.
    shared.wanted.send_if_modified(|now| {
        let same = *now == wanted;
        if same {
            *now = size;
        }
        same
    });
}

pub(super) fn broken(error: &JoinError) -> Error {
    let text = format!("a supervising task did not end by itself: {error}");
    Error::new(ErrorKind::Internal, text)
}
