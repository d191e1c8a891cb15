//! What the control socket can do, request by request. Everything is done by the host's own
//! functions; turning reports into messages is `messages`' business.
//!
//! Invariants: no request holds a strong handle of the host while it waits; what takes time runs on a
//! thread for it, as calls share the one that requests come in on.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use snakepit_core::{Error, ErrorKind, WorkerId};
use snakepit_lifecycle::WorkerState;
use snakepit_proto::control::v1;
use snakepit_proto::control::v1::control_service_server::ControlService;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::messages::{change, duration, pool, refusal, shared_memory, worker};
use crate::host::{PoolEntry, Snakepit, WeakHost};
use crate::reload::Reloaded;

pub(super) struct Service {
    host: Arc<OnceLock<WeakHost>>,
    since: Instant,
}

impl Service {
    pub(super) fn new(host: Arc<OnceLock<WeakHost>>) -> Self {
        Self { host, since: Instant::now() }
    }

    fn host(&self) -> Result<Snakepit, Status> {
        let host = self.host.get().ok_or_else(|| Status::unavailable("the host is starting"))?;
        host.upgrade().ok_or_else(ending)
    }

    /// The running pools a request is about; `""` is all of them.
    fn entries(&self, pool: &str) -> Result<Vec<Arc<PoolEntry>>, Status> {
        let host = self.host()?;
        match pool {
            "" => Ok(host.0.pools.started()),
            name => Ok(vec![host.entry(Some(name)).map_err(refusal)?]),
        }
    }
}

#[tonic::async_trait]
impl ControlService for Service {
    async fn get_host(
        &self,
        _: Request<v1::GetHostRequest>,
    ) -> Result<Response<v1::GetHostResponse>, Status> {
        let host = self.host()?;
        Ok(Response::new(v1::GetHostResponse {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: duration(self.since.elapsed()),
            pools: host.pools(),
        }))
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let entries = self.entries(&request.into_inner().pool)?;
        let listing = tokio::task::spawn_blocking(move || {
            entries.iter().flat_map(|entry| workers(entry)).collect()
        });
        let workers = listing.await.map_err(|_| ending())?;
        Ok(Response::new(v1::ListWorkersResponse { workers }))
    }

    async fn get_stats(
        &self,
        request: Request<v1::GetStatsRequest>,
    ) -> Result<Response<v1::GetStatsResponse>, Status> {
        let host = self.host()?;
        let name = request.into_inner().pool;
        if !name.is_empty() && !host.pools().contains(&name) {
            // For its words.
            host.entry(Some(&name)).map_err(refusal)?;
        }
        let counting = tokio::task::spawn_blocking(move || {
            let reports = host.stats().pools.into_iter();
            let wanted = reports.filter(|report| name.is_empty() || report.pool() == name);
            let shown = wanted.map(|report| {
                // It may have gone since.
                let config = host.pool_config(report.pool()).ok();
                pool(&report, config.as_ref())
            });
            shown.collect()
        });
        let pools = counting.await.map_err(|_| ending())?;
        Ok(Response::new(v1::GetStatsResponse { pools }))
    }

    async fn get_shared_memory(
        &self,
        _: Request<v1::GetSharedMemoryRequest>,
    ) -> Result<Response<v1::GetSharedMemoryResponse>, Status> {
        Ok(Response::new(shared_memory(&self.host()?.shared_memory())))
    }

    async fn recycle(
        &self,
        request: Request<v1::RecycleRequest>,
    ) -> Result<Response<v1::RecycleResponse>, Status> {
        let v1::RecycleRequest { pool, worker, no_wait } = request.into_inner();
        let entry = self.host()?.entry(Some(&pool)).map_err(refusal)?;
        let worker = Some(worker).filter(|id| !id.is_empty()).map(WorkerId::from);
        let workers = worker.clone().map_or_else(|| serving(&entry), |id| vec![id.to_string()]);
        let gone = entry.recycle(worker.as_ref()).map_err(refusal)?;
        drop(entry);
        if !no_wait {
            gone.await;
        }
        Ok(Response::new(v1::RecycleResponse { workers, done: !no_wait }))
    }

    async fn scale(
        &self,
        request: Request<v1::ScaleRequest>,
    ) -> Result<Response<v1::ScaleResponse>, Status> {
        let v1::ScaleRequest { pool, workers, no_wait } = request.into_inner();
        let entry = self.host()?.entry(Some(&pool)).map_err(refusal)?;
        let scaled = entry.scale(workers as usize).map_err(refusal)?;
        drop(entry);
        tracing::info!(%pool, workers, "an operator scales");
        if !no_wait {
            scaled.await.map_err(refusal)?;
        }
        Ok(Response::new(v1::ScaleResponse { done: !no_wait }))
    }

    async fn reset_breaker(
        &self,
        request: Request<v1::ResetBreakerRequest>,
    ) -> Result<Response<v1::ResetBreakerResponse>, Status> {
        let v1::ResetBreakerRequest { pool, command } = request.into_inner();
        let command = Some(&*command).filter(|command| !command.is_empty());
        let changed = self.host()?.reset_breaker(&pool, command).map_err(refusal)?;
        tracing::info!(%pool, command, changed, "an operator resets circuits");
        Ok(Response::new(v1::ResetBreakerResponse { changed }))
    }

    async fn reload(
        &self,
        _: Request<v1::ReloadRequest>,
    ) -> Result<Response<v1::ReloadResponse>, Status> {
        tracing::info!("an operator has the settings read again");
        let reloading = self.host()?.begin_reload(None);
        // Carried out though nobody waits: it is a task.
        let reloaded = reloading.await.map_err(|_| ending())?.map_err(refusal)?;
        let Reloaded { pools, host: host_keys, restart: restart_keys } = reloaded;
        let pools = pools.into_iter().map(change).collect();
        Ok(Response::new(v1::ReloadResponse { pools, host_keys, restart_keys }))
    }

    async fn drain(
        &self,
        request: Request<v1::DrainRequest>,
    ) -> Result<Response<v1::DrainResponse>, Status> {
        let v1::DrainRequest { pool, deadline } = request.into_inner();
        let deadline = deadline.and_then(|deadline| Duration::try_from(deadline).ok());
        let deadline = deadline.ok_or_else(|| {
            refusal(Error::new(ErrorKind::InvalidArguments, "a drain needs a deadline"))
        })?;
        let host = self.host()?;
        let entries = self.entries(&pool)?;
        let pools: Vec<String> =
            entries.iter().map(|entry| entry.pool.name().to_string()).collect();
        let draining = match entries.into_iter().next() {
            Some(entry) if !pool.is_empty() => host.begin_drain(entry, deadline),
            _ => host.begin_drain_all(deadline),
        };
        drop(host);
        tracing::info!(?pools, ?deadline, "an operator drains");
        // Carried out though nobody waits: it is a task.
        let drained = draining.await.map_err(|_| ending())?;
        drained.map_err(refusal)?;
        Ok(Response::new(v1::DrainResponse { pools }))
    }
}

/// Tasks end early only with their runtime.
fn ending() -> Status {
    Status::unavailable("the host is ending")
}

/// A pool's workers, those that start included. Blocks while it reads their memory.
fn workers(entry: &PoolEntry) -> Vec<v1::Worker> {
    let memory: BTreeMap<WorkerId, u64> = entry.pool.private_bytes().into_iter().collect();
    let members = entry.pool.workers();
    let lives = entry.supervised.status().workers;
    let row = |life| worker(entry.pool.name(), &life, &members, &memory);
    lives.into_iter().map(row).collect()
}

/// The ids of the workers that take calls, or have some to end.
fn serving(entry: &PoolEntry) -> Vec<String> {
    let lives = entry.supervised.status().workers.into_iter();
    let serving = lives.filter(|life| life.state != WorkerState::Starting);
    serving.map(|life| life.worker.to_string()).collect()
}
