//! How a worker goes without anybody noticing: it takes no new calls, gives back those it has not
//! started, and ends the others. Owns what whoever looks after workers may ask of a pool; when a
//! worker should go is decided elsewhere.

use std::future::Future;

use tokio::sync::oneshot;

use super::Pool;
use super::turn::Turn;
use crate::ids::WorkerId;

impl Pool {
    /// Gives a worker no more calls and takes back those that it has not started. Calls bound to it
    /// are refused with `WorkerNotFound` from now on; its sessions move to others, and those that are
    /// bound to it are told. The future resolves when no call is left at
    /// the worker but those that are stuck, or it has left the pool; at once when there is no such
    /// worker.
    ///
    /// It stays a member until [`leave`](Self::leave). Running calls are not touched.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing; asking again waits again.
    pub fn retire(&self, worker: &WorkerId) -> impl Future<Output = ()> + Send + use<> {
        let mut turn = Turn::new(&self.0);
        let mut waits = None;
        if let Some(key) = turn.state.member_key(worker) {
            turn.shut(key);
            turn.revoke(key, usize::MAX);
            if let Some(member) = turn.state.members.get_mut(&key)
                && !member.is_idle()
            {
                let (told, idle) = oneshot::channel();
                member.retiring.retain(|other| !other.is_closed());
                member.retiring.push(told);
                waits = Some(idle);
            }
            // What was kept from the others may go there now.
            turn.pump();
        }
        turn.end();
        reached(waits)
    }

    /// Resolves when a worker has ended `calls` calls since it joined, or has left the pool; at once
    /// when there is no such worker. A worker has one such milestone: a new one replaces the last,
    /// whose future then resolves.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the milestone.
    pub fn served(&self, worker: &WorkerId, calls: u64) -> impl Future<Output = ()> + Send + use<> {
        let mut turn = Turn::new(&self.0);
        let mut waits = None;
        let key = turn.state.member_key(worker);
        if let Some(member) = key.and_then(|key| turn.state.members.get_mut(&key)) {
            member.milestone = None;
            if member.served < calls {
                let (told, due) = oneshot::channel();
                member.milestone = Some((calls, told));
                waits = Some(due);
            }
        }
        turn.end();
        reached(waits)
    }

    /// How many calls a worker has ended since it joined; `None` when there is no such worker.
    pub fn served_by(&self, worker: &WorkerId) -> Option<u64> {
        let state = self.0.lock();
        let key = state.member_key(worker)?;
        Some(state.members[&key].served)
    }
}

async fn reached(waits: Option<oneshot::Receiver<()>>) {
    if let Some(waits) = waits {
        // A sender that is dropped was a member that is gone, or a milestone that was replaced.
        let _ = waits.await;
    }
}
