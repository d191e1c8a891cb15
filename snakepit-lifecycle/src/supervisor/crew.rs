//! How many seats a pool has. Owns the seats' tasks; what a seat does is its own.
//!
//! Invariants: seats never outnumber what is wanted but for those whose workers are on their way out,
//! and a new seat waits for these; a worker that leaves for good ends its calls first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use snakepit_core::{Error, ErrorKind, WorkerId};
use tokio::task::{JoinError, JoinSet};

use super::Shared;
use super::seat::{keep, stop_asked};

/// Keeps as many seats as are wanted until the supervisor stops.
pub(super) async fn lead(shared: Arc<Shared>) -> Result<(), Error> {
    let mut stop = shared.stop.subscribe();
    let mut wanted = shared.wanted.subscribe();
    let mut seats = JoinSet::new();
    let mut outcome = Ok(());
    loop {
        fit(&shared, *wanted.borrow_and_update(), &mut seats);
        tokio::select! {
            biased;
            _ = stop_asked(&mut stop) => break,
            // The sender lives in `shared`.
            _ = wanted.changed() => {}
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

/// Adds seats that are missing, and tells surplus ones to leave.
fn fit(shared: &Arc<Shared>, wanted: usize, seats: &mut JoinSet<usize>) {
    let (staying, all) = {
        let book = shared.book();
        (book.staying().count(), book.seats.len())
    };
    if staying > wanted {
        let load: BTreeMap<WorkerId, usize> =
            shared.pool.workers().into_iter().map(|w| (w.info.id, w.in_flight)).collect();
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
    for _ in 0..(wanted - staying).min(wanted.saturating_sub(all)) {
        let (number, orders) = shared.book().open_seat();
        seats.spawn(keep(Arc::clone(shared), number, orders));
    }
}

pub(super) fn broken(error: &JoinError) -> Error {
    let text = format!("a supervising task did not end by itself: {error}");
    Error::new(ErrorKind::Internal, text)
}
