//! How the process of a worker is made: forked from the pool's zygote, or spawned. Whether there is a
//! zygote is `template`'s business; what the process is connected by is not this crate's.

use std::os::fd::AsFd;
use std::sync::Arc;

use snakepit_core::{Error, ErrorKind, Seat};
use snakepit_lifecycle::process::{Child, ForkError, ForkSpec};
use snakepit_worker::{Connection, PythonWorker, not_ready, variables, with_stderr};
use tokio::time::{Instant, timeout_at};

use crate::Parts;
use crate::environment::{NATIVE_THREADS, of_fork};
use crate::options::StartMethod;
use crate::slot::OneCall;

/// How many zygotes may be lost over one worker. The first may have been killed just now; an
/// adapter that ends every one that forks is told so.
const ZYGOTES: usize = 2;

/// Starts the worker of a seat and waits until it is ready.
pub(crate) async fn launch(parts: &Parts, seat: &Seat) -> Result<PythonWorker, Error> {
    let workshop = &parts.workshop;
    let deadline = workshop.deadline();
    let connection = workshop.connect(seat)?;
    let (joined, start) = match fork(parts, seat, &connection, deadline).await? {
        Some(child) => {
            (workshop.join(seat, child, connection, deadline).await?, StartMethod::Zygote)
        }
        None => {
            let options = workshop.options();
            let package = options.worker_package.as_deref();
            let env = variables(&options.env, package, NATIVE_THREADS, seat.index)?;
            (workshop.spawn(seat, connection, env, deadline).await?, StartMethod::Spawn)
        }
    };
    let metadata = [("start", start.name().to_owned())];
    Ok(PythonWorker::new(workshop, joined, Arc::new(OneCall::new()), metadata))
}

/// Forks the worker, if the pool's adapter lets it.
async fn fork(
    parts: &Parts,
    seat: &Seat,
    connection: &Connection,
    deadline: Instant,
) -> Result<Option<Child>, Error> {
    let worker = seat.worker_id();
    let mut spec = ForkSpec::new(seat.pool.clone(), worker.clone()).args(&connection.args);
    for (end, number) in &connection.ends {
        spec = spec.descriptor(end.as_fd(), *number);
    }
    spec = spec.current_call(connection.current_call());
    let options = parts.workshop.options();
    spec = spec.output(options.output.clone());
    for (name, value) in of_fork(&options.env, seat.index) {
        spec = spec.env(name, value);
    }
    for _ in 0..ZYGOTES {
        let Some(zygote) = parts.template.zygote(parts, seat, deadline).await? else {
            return Ok(None);
        };
        let Ok(forked) = timeout_at(deadline, zygote.fork(&spec)).await else {
            return Err(not_ready(&worker, options, &[]));
        };
        match forked {
            Ok(child) => return Ok(Some(child)),
            Err(ForkError::Refused(error)) => return Err(error),
            // The next round makes another one.
            Err(_) => {}
        }
    }
    let message = format!("the zygote that was to fork worker {worker} ended, {ZYGOTES} times");
    let error = Error::new(ErrorKind::StartFailed, message)
        .with_help("set the pool's `start = \"spawn\"` if its adapter cannot be forked");
    Err(with_stderr(error, &worker, &[]))
}
