//! From reports to the messages of the control socket. No decisions.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use prost::Message;
use serde::Serialize;
use snakepit_config::PoolConfig;
use snakepit_core::resilience::CircuitStatus;
use snakepit_core::{Error, ErrorKind, Phase, PoolName, WorkerId, WorkerStatus};
use snakepit_lifecycle::{WorkerLife, WorkerState};
use snakepit_proto::control::v1;
use tonic::{Code, Status};

use crate::layers::LayerCounts;
use crate::memory::SharedMemoryReport;
use crate::reload::{PoolChange, ReloadOutcome};
use crate::report::{PoolReport, PoolState};

/// A refusal with all its particulars.
pub(super) fn refusal(error: Error) -> Status {
    let code = match error.kind() {
        ErrorKind::PoolNotFound | ErrorKind::WorkerNotFound => Code::NotFound,
        ErrorKind::PoolClosed => Code::FailedPrecondition,
        ErrorKind::Timeout(Phase::Drain) => Code::DeadlineExceeded,
        ErrorKind::InvalidArguments | ErrorKind::InvalidConfig => Code::InvalidArgument,
        _ => Code::Internal,
    };
    let details = failure(&error).encode_to_vec();
    Status::with_details(code, error.message(), details.into())
}

fn failure(error: &Error) -> v1::Failure {
    v1::Failure {
        kind: error.kind().code().to_owned(),
        message: error.message().to_owned(),
        help: error.help().unwrap_or_default().to_owned(),
        details: error.details().clone().into_iter().collect(),
    }
}

/// One worker; the pool may not know it yet, or not any more.
pub(super) fn worker(
    pool: &PoolName,
    life: &WorkerLife,
    members: &[WorkerStatus],
    memory: &BTreeMap<WorkerId, u64>,
) -> v1::Worker {
    let member = members.iter().find(|member| member.info.id == life.worker);
    v1::Worker {
        pool: pool.to_string(),
        id: life.worker.to_string(),
        index: u32::try_from(life.index).unwrap_or(u32::MAX),
        pid: member.and_then(|member| member.info.pid),
        state: worker_state(life.state).into(),
        age: life.age.and_then(duration),
        served: member.map_or(0, |member| member.served),
        memory_bytes: memory.get(&life.worker).copied(),
        in_flight: member.map_or(0, |member| member.in_flight as u64),
        capacity: member.map_or(0, |member| member.capacity as u64),
        last_seen: member.and_then(|member| duration(member.last_seen?)),
        recycled: life.recycled.map_or_else(String::new, |reason| reason.name().to_owned()),
    }
}

fn worker_state(state: WorkerState) -> v1::WorkerState {
    match state {
        WorkerState::Starting => v1::WorkerState::Starting,
        WorkerState::Ready => v1::WorkerState::Ready,
        WorkerState::Due => v1::WorkerState::Due,
        WorkerState::Draining => v1::WorkerState::Draining,
        WorkerState::Stopping => v1::WorkerState::Stopping,
        WorkerState::Gone => v1::WorkerState::Gone,
        _ => v1::WorkerState::Unspecified,
    }
}

/// What shared memory there is. A pool's numbers go by their names, as in its JSON form.
pub(super) fn shared_memory(report: &SharedMemoryReport) -> v1::GetSharedMemoryResponse {
    let pools = report
        .pools
        .iter()
        .map(|pool| v1::PoolMemory { pool: pool.pool.clone(), numbers: by_name(pool) });
    v1::GetSharedMemoryResponse {
        total_bytes: report.total_bytes,
        held_bytes: report.held_bytes,
        high_water_bytes: report.high_water_bytes,
        segments: report.segments,
        pools: pools.collect(),
    }
}

/// One pool, and what its settings say it is.
pub(super) fn pool(report: &PoolReport, config: Option<&PoolConfig>) -> v1::Pool {
    v1::Pool {
        profile: config.map_or_else(String::new, |config| config.profile().name().to_owned()),
        adapter: config.map_or_else(String::new, |config| config.adapter().to_string()),
        ..numbers(report)
    }
}

fn numbers(report: &PoolReport) -> v1::Pool {
    match report {
        PoolReport::Failed { pool, error } => v1::Pool {
            name: pool.clone(),
            state: v1::PoolState::Failed.into(),
            failure: Some(failure(error)),
            ..v1::Pool::default()
        },
        PoolReport::Running {
            stats,
            state,
            workers: _,
            starting,
            degraded,
            recycles,
            nominal_recycles,
            near_limits,
            exits,
            failed_checks,
            layers,
            circuits,
        } => v1::Pool {
            name: stats.pool.clone(),
            state: pool_state(*state, *degraded).into(),
            failure: None,
            workers: stats.workers as u64,
            starting: *starting as u64,
            capacity: stats.capacity as u64,
            available: stats.available as u64,
            busy: stats.busy as u64,
            queued: stats.queued as u64,
            in_flight: stats.in_flight as u64,
            counters: by_name(&stats.counters),
            sessions: by_name(&stats.sessions),
            recycles: by_name(recycles),
            exits: by_name(exits),
            nominal_recycles: *nominal_recycles,
            near_limits: by_name(near_limits),
            failed_checks: *failed_checks,
            layers: by_layer(layers),
            circuits: circuits.iter().map(circuit).collect(),
            ..v1::Pool::default()
        },
    }
}

/// What became of one pool at a reload.
pub(super) fn change(change: PoolChange) -> v1::PoolChange {
    let outcome = match change.outcome {
        ReloadOutcome::Unchanged => v1::ReloadOutcome::Unchanged,
        ReloadOutcome::Changed => v1::ReloadOutcome::Changed,
        ReloadOutcome::Started => v1::ReloadOutcome::Started,
        ReloadOutcome::Stopped => v1::ReloadOutcome::Stopped,
        ReloadOutcome::Failed => v1::ReloadOutcome::Failed,
    };
    v1::PoolChange {
        pool: change.pool,
        outcome: outcome.into(),
        keys: change.keys,
        new_workers: change.new_workers,
        failure: change.error.as_ref().map(failure),
    }
}

fn pool_state(state: PoolState, degraded: bool) -> v1::PoolState {
    match state {
        PoolState::Running if degraded => v1::PoolState::Degraded,
        PoolState::Running => v1::PoolState::Running,
        PoolState::Draining => v1::PoolState::Draining,
        PoolState::Stopped => v1::PoolState::Stopped,
    }
}

/// Counts under the names that they have in the JSON form of the statistics, whichever there are.
fn by_name(counts: &impl Serialize) -> HashMap<String, u64> {
    let value = serde_json::to_value(counts).unwrap_or_default();
    let counts = value.as_object().into_iter().flatten();
    counts.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
}

/// Counts of each layer, under its name, a point and theirs.
fn by_layer(layers: &LayerCounts) -> HashMap<String, u64> {
    let value = serde_json::to_value(layers).unwrap_or_default();
    let layers = value.as_object().into_iter().flatten();
    let named = layers.flat_map(|(layer, counts)| {
        by_name(counts).into_iter().map(move |(name, count)| (format!("{layer}.{name}"), count))
    });
    named.collect()
}

fn circuit(status: &CircuitStatus) -> v1::Circuit {
    v1::Circuit {
        command: status.command.clone(),
        state: status.state.name().to_owned(),
        failures: status.failures,
        retry_in: status.retry_in.and_then(duration),
    }
}

/// A duration as the wire has it.
pub(super) fn duration(time: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_crosses_under_its_own_name() {
        let exits = by_name(&snakepit_lifecycle::Exits::default());
        assert!(exits.contains_key("died") && exits.contains_key("recycled"), "{exits:?}");
        let counters = by_name(&snakepit_core::Counters::default());
        assert!(counters.contains_key("submitted") && counters.contains_key("saturated"));
        let sessions = by_name(&snakepit_core::session::SessionStats::default());
        assert!(sessions.contains_key("active") && sessions.contains_key("lost"));
    }
}
