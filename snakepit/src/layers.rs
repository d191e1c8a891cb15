//! The layers round a pool's calls, out of its settings and in their order. The mechanisms are the
//! core's (`snakepit_core::resilience`, which says why the order is what it is); the crash barrier is
//! the engine's.
//!
//! Invariant: a pool without layers, and a call without a policy of its own, never comes here.

use std::sync::Arc;

use serde::Serialize;
use snakepit_config::{self as config, CircuitPer, PoolConfig, RetryCalls};
use snakepit_core::resilience::{
    Breaker, BreakerCounts, BreakerOptions, Budget, CircuitStatus, Fallback, FallbackCounts, Hedge,
    HedgeCounts, Kinds, RateLimit, RateLimitCounts, Retry, RetryCounts, RetryPolicy, Schedule,
    Shed, ShedCounts, ShedOptions, Subject, Timing,
};
use snakepit_core::{
    BoxFuture, CallStream, Clock, Completed, Dice, Error, ErrorKind, Payload, Pool, PoolName,
    Request,
};
use tokio::runtime::Handle;

use crate::host::{PoolEntry, Snakepit};

/// What the layers of a pool, or of all of them, have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LayerCounts {
    /// What was tried again.
    pub retry: RetryCounts,
    /// What became of circuits.
    pub breaker: BreakerCounts,
    /// What the rate limit refused.
    pub rate_limit: RateLimitCounts,
    /// What would have waited too long.
    pub shed: ShedCounts,
    /// What got a second attempt.
    pub hedge: HedgeCounts,
    /// What went to the fallback pool.
    pub fallback: FallbackCounts,
}

impl std::ops::AddAssign for LayerCounts {
    fn add_assign(&mut self, other: Self) {
        let Self { retry, breaker, rate_limit, shed, hedge, fallback } = other;
        self.retry += retry;
        self.breaker += breaker;
        self.rate_limit += rate_limit;
        self.shed += shed;
        self.hedge += hedge;
        self.fallback += fallback;
    }
}

/// The layers of one pool.
pub(crate) struct Layers {
    /// Whether there is any.
    on: bool,
    /// What those did that were here before.
    carried: LayerCounts,
    timing: Timing,
    /// Never tries again by itself where the pool has no retries; calls may have a policy of their own.
    retry: Retry,
    breaker: Option<Breaker>,
    rate_limit: Option<RateLimit>,
    shed: Option<Shed>,
    hedge: Option<Hedge>,
    detour: Option<Detour>,
}

/// Where calls go that a pool cannot serve.
pub(crate) struct Detour {
    to: Arc<str>,
    layer: Fallback,
}

/// A call on its way through the layers.
pub(crate) struct Errand {
    pub(crate) host: Snakepit,
    pub(crate) entry: Arc<PoolEntry>,
    pub(crate) request: Request,
    /// What the call says itself about trying again.
    pub(crate) policy: Option<Arc<RetryPolicy>>,
    /// The pools it comes from. Settings in which fallbacks go in a circle are refused, but pools that
    /// are started one by one may make one.
    pub(crate) been: Vec<Arc<str>>,
}

/// A stream of which the first item is there, if it has one.
pub(crate) type Opened = (Option<Payload>, CallStream);

impl Layers {
    pub(crate) fn new(config: &PoolConfig, runtime: &Handle) -> Self {
        let timing = Timing::new(Clock::system(), runtime);
        let layers = config.resilience();
        let name = || PoolName::from(config.name());
        let retry = match &layers.retry {
            None => Retry::new(RetryPolicy::never(), timing.clone(), Dice::any_seed()),
            Some(given) => Retry::new(retry_policy(given), timing.clone(), Dice::any_seed())
                .budget(Budget::new(given.budget)),
        };
        let breaker = layers.breaker.as_ref();
        let breaker =
            breaker.map(|given| Breaker::new(name(), breaker_options(given), Clock::system()));
        let rate_limit = layers.rate_limit.as_ref().map(|given| {
            RateLimit::new(name(), given.calls, given.per, given.burst, Clock::system())
        });
        let shed = layers.shed.as_ref().map(|given| Shed::new(name(), shed_options(given)));
        let hedge = layers.hedge.as_ref();
        let hedge =
            hedge.map(|given| Hedge::new(given.after, Budget::new(given.budget), timing.clone()));
        let detour = Detour::new(config);
        let on = layers.retry.is_some()
            || breaker.is_some()
            || rate_limit.is_some()
            || shed.is_some()
            || hedge.is_some()
            || detour.is_some();
        let carried = LayerCounts::default();
        Self { on, carried, timing, retry, breaker, rate_limit, shed, hedge, detour }
    }

    /// Layers by other settings, which begin anew but go on counting where these are: circuits are
    /// closed, budgets and rates unused.
    pub(crate) fn replaced(&self, config: &PoolConfig, runtime: &Handle) -> Self {
        Self { carried: self.counts(), ..Self::new(config, runtime) }
    }

    /// Whether calls have to come here.
    pub(crate) fn are_on(&self) -> bool {
        self.on
    }

    pub(crate) fn counts(&self) -> LayerCounts {
        let mut counts = self.carried;
        counts += LayerCounts {
            retry: self.retry.counts(),
            breaker: self.breaker.as_ref().map(Breaker::counts).unwrap_or_default(),
            rate_limit: self.rate_limit.as_ref().map(RateLimit::counts).unwrap_or_default(),
            shed: self.shed.as_ref().map(Shed::counts).unwrap_or_default(),
            hedge: self.hedge.as_ref().map(Hedge::counts).unwrap_or_default(),
            fallback: self.detour.as_ref().map(|d| d.layer.counts()).unwrap_or_default(),
        };
        counts
    }

    /// The circuits of the breaker, if there is one.
    pub(crate) fn circuits(&self) -> Vec<CircuitStatus> {
        self.breaker.as_ref().map(Breaker::status).unwrap_or_default()
    }

    /// Closes circuits; says whether one was not closed.
    ///
    /// # Errors
    /// `InvalidConfig` without a breaker.
    pub(crate) fn reset(&self, pool: &PoolName, command: Option<&str>) -> Result<bool, Error> {
        let Some(breaker) = &self.breaker else {
            let message = format!("pool `{pool}` has no circuit breaker");
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .with_help(format!("configure one in [pool.{pool}.breaker]")));
        };
        Ok(breaker.reset(command))
    }

    /// Makes a call in this pool, with all that is done about its failures here.
    async fn here<T, F>(
        &self,
        errand: &Errand,
        subject: &Subject,
        send: &(impl Fn(&Pool, Request) -> F + Sync),
        may_hedge: bool,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let attempts = || async {
            let attempt = || self.attempt(errand, subject, send);
            match &errand.policy {
                Some(policy) => self.retry.run_with(policy, subject, attempt).await,
                None => self.retry.run(subject, attempt).await,
            }
        };
        match &self.hedge {
            // A second attempt at the same worker would wait for the first.
            Some(hedge) if may_hedge && errand.request.worker.is_none() => {
                hedge.run(subject, attempts).await
            }
            _ => attempts().await,
        }
    }

    async fn attempt<T, F>(
        &self,
        errand: &Errand,
        subject: &Subject,
        send: &(impl Fn(&Pool, Request) -> F + Sync),
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let pool = &errand.entry.pool;
        let permit = match &self.breaker {
            Some(breaker) => Some(breaker.admit(&subject.command)?),
            None => None,
        };
        if let Some(rate_limit) = &self.rate_limit {
            rate_limit.admit()?;
        }
        if let Some(shed) = &self.shed {
            shed.admit(pool.backlog())?;
        }
        let mut request = errand.request.clone();
        // One deadline for all attempts.
        request.timeout = subject.time_left(self.timing.now());
        let result = send(pool, request).await;
        if let Some(permit) = permit {
            permit.settle(&result);
        }
        result
    }
}

impl Detour {
    /// The fallback of a pool, if its settings name one.
    pub(crate) fn new(config: &PoolConfig) -> Option<Self> {
        let given = config.resilience().fallback.as_ref()?;
        let layer = Fallback::new(kinds(given.kinds.as_deref()));
        Some(Self { to: Arc::from(given.pool.as_str()), layer })
    }

    /// The pool that serves instead of one that did not start with this error.
    pub(crate) fn of_failed(
        &self,
        host: &Snakepit,
        request: &Request,
        error: &Error,
        been: &[Arc<str>],
    ) -> Option<Arc<PoolEntry>> {
        let subject = Subject::new("", Arc::clone(&request.command));
        let serves = request.worker.is_none() && self.layer.takes(&subject, error);
        serves.then(|| host.serving(Some(&self.to), request, been).ok())?
    }
}

impl Errand {
    /// Makes a call with one result.
    pub(crate) fn complete(self) -> BoxFuture<'static, Result<Completed, Error>> {
        let send = |pool: &Pool, request: Request| {
            let handle = pool.submit(request);
            async move { handle?.await }
        };
        let default = self.entry.pool.options().call_timeout;
        run(self, default, send, true)
    }

    /// Makes a call with a stream of results, up to its first one: from then on it is the caller's.
    pub(crate) fn open(self) -> BoxFuture<'static, Result<Opened, Error>> {
        let send = |pool: &Pool, request: Request| {
            let stream = pool.submit_stream(request);
            async move {
                let mut stream = stream?;
                let first = stream.next().await.transpose()?;
                Ok((first, stream))
            }
        };
        run(self, None, send, false)
    }
}

/// `default` is the deadline of a call that names none.
fn run<T, S, F>(
    errand: Errand,
    default: Option<std::time::Duration>,
    send: S,
    may_hedge: bool,
) -> BoxFuture<'static, Result<T, Error>>
where
    T: Send + 'static,
    S: Fn(&Pool, Request) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    Box::pin(async move {
        let Errand { host, entry, request, policy, been } = &errand;
        let layers = entry.layers.load_full();
        let now = layers.timing.now();
        let subject = Subject::of(entry.pool.name(), request, default, now);
        let here = || layers.here(&errand, &subject, &send, may_hedge);
        let detour = layers.detour.as_ref().filter(|_| request.worker.is_none());
        let Some(detour) = detour else { return here().await };
        let mut been = been.clone();
        been.push(Arc::from(entry.pool.name().as_str()));
        let Ok(entry) = host.serving(Some(&detour.to), request, &been) else {
            return here().await;
        };
        let elsewhere = || {
            let mut request = request.clone();
            request.timeout = subject.time_left(layers.timing.now());
            let (host, policy) = (host.clone(), policy.clone());
            run(Errand { host, entry, request, policy, been }, default, send, may_hedge)
        };
        detour.layer.run(&subject, &layers.timing, here, elsewhere).await
    })
}

fn retry_policy(given: &config::Retry) -> RetryPolicy {
    let mut policy = RetryPolicy::new(given.attempts);
    // Both sides have the same names; a test compares them.
    policy.schedule = Schedule::from_name(given.schedule.name()).unwrap_or_default();
    (policy.base, policy.cap, policy.jitter) = (given.base, given.cap, given.jitter);
    policy.kinds = kinds(given.kinds.as_deref());
    policy.exceptions.clone_from(&given.exceptions);
    policy.any_call = given.calls == RetryCalls::All;
    policy
}

fn breaker_options(given: &config::Breaker) -> BreakerOptions {
    let mut options = BreakerOptions::default();
    (options.failures, options.open, options.probes) = (given.failures, given.open, given.probes);
    options.per_command = given.per == CircuitPer::Command;
    options.kinds = kinds(given.kinds.as_deref());
    options
}

fn shed_options(given: &config::Shed) -> ShedOptions {
    let mut options = ShedOptions::new();
    (options.queue, options.wait) = (given.queue, given.wait);
    options
}

fn kinds(names: Option<&[String]>) -> Option<Kinds> {
    // Validated to be names of kinds; a test compares the two lists.
    names.map(|names| names.iter().filter_map(|name| ErrorKind::from_code(name)).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use snakepit_core::Phase;

    use std::collections::BTreeSet;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn pool(set: impl FnOnce(config::PoolConfig) -> config::PoolConfig) -> config::PoolConfig {
        set(PoolConfig::builder("default").adapter("a.py").build().unwrap())
    }

    #[test]
    fn the_names_in_settings_are_the_cores() {
        let schema = config::schema();
        let keys = &schema["$defs"]["pool"]["properties"];
        let names = keys["retry"]["properties"]["kinds"]["items"]["enum"].as_array().unwrap();
        let names: BTreeSet<&str> = names.iter().map(|name| name.as_str().unwrap()).collect();
        // What programs are told that make pools and tools, and no caller.
        let no_calls = ["no_pools_configured", "pool_exists", "tool_exists"];
        let codes = ErrorKind::all().map(ErrorKind::code);
        assert_eq!(names, codes.filter(|code| !no_calls.contains(code)).collect());
        let schedules = keys["retry"]["properties"]["schedule"]["enum"].as_array().unwrap();
        assert_eq!(schedules.len(), Schedule::ALL.len());
        for schedule in schedules {
            assert!(Schedule::from_name(schedule.as_str().unwrap()).is_some(), "{schedule}");
        }
    }

    #[test]
    fn the_defaults_in_settings_are_the_cores() {
        let plain = pool(|pool| {
            pool.to_builder().retry(|retry| retry).breaker(|breaker| breaker).build().unwrap()
        });
        let layers = plain.resilience();
        assert_eq!(retry_policy(layers.retry.as_ref().unwrap()), RetryPolicy::default());
        assert_eq!(breaker_options(layers.breaker.as_ref().unwrap()), BreakerOptions::default());
    }

    #[test]
    fn each_key_reaches_its_layer() {
        let text = r#"
            [pool.default]
            adapter = "a.py"
            shed = { queue = 7, wait = "3s" }
            breaker = { failures = 6, open = "2s", probes = 4, per = "command", kinds = ["python"] }
            hedge = { after = "1s", budget = 0.5 }
            fallback = { pool = "other", kinds = ["worker_lost"] }

            [pool.default.retry]
            attempts = 9
            schedule = "fibonacci"
            base = "5ms"
            cap = "1s"
            jitter = 0.25
            kinds = ["queue_timeout"]
            exceptions = ["OSError"]
            calls = "all"
            budget = 0.0

            [pool.other]
            adapter = "a.py"
        "#;
        let config = config::Config::from_toml(text).unwrap();
        let pool = config.pool("default").unwrap();
        let given = pool.resilience();

        let mut retry = RetryPolicy::new(9);
        retry.schedule = Schedule::Fibonacci;
        (retry.base, retry.cap, retry.jitter) = (5 * MILLI, 1000 * MILLI, 0.25);
        retry.kinds = Some([ErrorKind::Timeout(Phase::Queue)].into_iter().collect());
        (retry.exceptions, retry.any_call) = (vec!["OSError".to_owned()], true);
        assert_eq!(retry_policy(given.retry.as_ref().unwrap()), retry);

        let mut breaker = BreakerOptions::default();
        (breaker.failures, breaker.open, breaker.probes) = (6, 2000 * MILLI, 4);
        breaker.per_command = true;
        breaker.kinds = Some([ErrorKind::Python].into_iter().collect());
        assert_eq!(breaker_options(given.breaker.as_ref().unwrap()), breaker);

        let shed = shed_options(given.shed.as_ref().unwrap());
        assert_eq!((shed.queue, shed.wait), (Some(7), Some(3000 * MILLI)));

        // A budget of nothing allows no further attempt at all.
        let (hedge, retry) = (given.hedge.as_ref().unwrap(), given.retry.as_ref().unwrap());
        assert_eq!((hedge.after, hedge.budget, retry.budget), (1000 * MILLI, 0.5, 0.0));

        let detour = Detour::new(pool).unwrap();
        let subject = Subject::new("", "call");
        let takes = |kind| detour.layer.takes(&subject, &Error::new(kind, "it failed"));
        assert!(&*detour.to == "other" && takes(ErrorKind::WorkerLost { maybe_executed: false }));
        assert!(!takes(ErrorKind::PoolSaturated), "by default it would");
    }
}
