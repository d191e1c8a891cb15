//! The rules about the layers' settings, and their defaults.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{
    Barrier, Breaker, CircuitPer, Fallback, Hedge, RateLimit, Resilience, Retry, RetryCalls,
    RetrySchedule, Shed,
};
use crate::error::{Code, Problem};
use crate::keys;
use crate::pool::PoolConfig;
use crate::validate::{Check, QUEUE, TIMES, out_of_range};

/// Attempts, failures, probes: beyond that a limit is none.
pub(crate) const COUNTS: RangeInclusive<u64> = 1..=10_000;
/// Calls in a time; a call takes a microsecond at the least.
pub(crate) const RATES: RangeInclusive<u64> = 1..=1_000_000;
pub(crate) const RETRY_JITTER: RangeInclusive<f64> = 0.0..=1.0;
/// A share of the calls; more than one further attempt for each is a storm.
pub(crate) const BUDGET: RangeInclusive<f64> = 0.0..=1.0;
/// Trying again without a pause is a choice, so zero is allowed.
pub(crate) const RETRY_TIMES: RangeInclusive<Duration> =
    Duration::ZERO..=Duration::from_secs(86_400);

/// The original's figures for the breaker; a taint of a minute is the specification's.
const DEFAULT_TAINT: Duration = Duration::from_secs(60);
const DEFAULT_FAILURES: u64 = 5;
const DEFAULT_OPEN: Duration = Duration::from_secs(30);
const DEFAULT_PROBES: u64 = 1;
const DEFAULT_PER: Duration = Duration::from_secs(1);
const DEFAULT_ATTEMPTS: u64 = 3;
const DEFAULT_BASE: Duration = Duration::from_millis(100);
const DEFAULT_CAP: Duration = Duration::from_secs(10);
const DEFAULT_JITTER: f64 = 0.2;
const DEFAULT_RETRY_BUDGET: f64 = 0.2;
const DEFAULT_HEDGE_BUDGET: f64 = 0.1;

/// The names of the errors that a call can end with, as `kinds` takes them: those of
/// `snakepit_core::ErrorKind`, which this crate does not know, but for what is no call's. A test of the
/// facade compares the two lists.
pub(crate) const ERROR_KINDS: [&str; 44] = [
    "adapter_failed",
    "call_timeout",
    "cancelled",
    "circuit_open",
    "decode_failed",
    "drain_timeout",
    "encode_failed",
    "internal",
    "interpreter_not_found",
    "interpreter_unsupported",
    "invalid_arguments",
    "invalid_config",
    "load_shed",
    "nested_deadlock",
    "nesting_too_deep",
    "payload_too_large",
    "pool_closed",
    "pool_not_found",
    "pool_not_initialized",
    "pool_saturated",
    "protocol",
    "python",
    "queue_timeout",
    "rate_limited",
    "session_quota_exceeded",
    "session_worker_unavailable",
    "shm_unavailable",
    "start_failed",
    "start_timeout",
    "stream_idle_timeout",
    "streaming_not_supported",
    "streaming_required",
    "system",
    "tool_failed",
    "tool_limit",
    "tool_not_found",
    "tool_panicked",
    "unknown_command",
    "version_mismatch",
    "worker_at_capacity",
    "worker_busy",
    "worker_lost",
    "worker_not_found",
    "worker_package_missing",
];

impl Check<'_> {
    pub(crate) fn resilience(
        &mut self,
        queue: usize,
        call_timeout: Option<Duration>,
    ) -> Resilience {
        Resilience {
            barrier: self.barrier(),
            shed: self.shed(queue),
            rate_limit: self.rate_limit(),
            breaker: self.breaker(),
            retry: self.retry(),
            hedge: self.hedge(call_timeout),
            fallback: self.fallback(),
        }
    }

    fn barrier(&mut self) -> Option<Barrier> {
        let given = self.raw.layers.barrier.as_ref()?;
        let taint = given.taint.unwrap_or(DEFAULT_TAINT);
        Some(Barrier { taint: self.time("barrier.taint", taint, TIMES) })
    }

    fn shed(&mut self, limit: usize) -> Option<Shed> {
        let given = self.raw.layers.shed.as_ref()?;
        let key = "shed.queue";
        let queue = given.queue.map(|calls| self.count(key, Some(calls), calls, QUEUE));
        if queue.is_some_and(|calls| calls > limit) {
            let message = format!("the line never gets so long: `queue` is {limit}");
            self.problem(Code::InvalidValue, key, message).help =
                Some("give a smaller number, or raise `queue`".to_owned());
        }
        let said = |key| self.raw.places.has(key);
        let unsaid = given.queue.is_none() && given.wait.is_none();
        if unsaid && !said("shed.queue") && !said("shed.wait") {
            let message = "it is not said when calls are shed";
            self.missing("shed", message, "set `shed.queue`, `shed.wait` or both");
        }
        let wait = given.wait.map(|time| self.time("shed.wait", time, TIMES));
        Some(Shed { queue, wait })
    }

    fn rate_limit(&mut self) -> Option<RateLimit> {
        let given = self.raw.layers.rate_limit.as_ref()?;
        if given.calls.is_none() {
            self.missing("rate_limit.calls", "the rate limit has no rate", "as `calls = 100`");
        }
        let calls = self.small("rate_limit.calls", given.calls, 1, RATES);
        let per = self.time("rate_limit.per", given.per.unwrap_or(DEFAULT_PER), TIMES);
        let burst = self.small("rate_limit.burst", given.burst, calls.into(), RATES);
        Some(RateLimit { calls, per, burst })
    }

    fn breaker(&mut self) -> Option<Breaker> {
        let given = self.raw.layers.breaker.as_ref()?;
        Some(Breaker {
            failures: self.small("breaker.failures", given.failures, DEFAULT_FAILURES, COUNTS),
            open: self.time("breaker.open", given.open.unwrap_or(DEFAULT_OPEN), TIMES),
            probes: self.small("breaker.probes", given.probes, DEFAULT_PROBES, COUNTS),
            per: self.choice(
                "breaker.per",
                given.per.as_deref(),
                CircuitPer::from_name,
                CircuitPer::NAMES,
            ),
            kinds: self.kinds("breaker.kinds", given.kinds.as_deref()),
        })
    }

    fn retry(&mut self) -> Option<Retry> {
        let given = self.raw.layers.retry.as_ref()?;
        let base = self.time("retry.base", given.base.unwrap_or(DEFAULT_BASE), RETRY_TIMES);
        // A long first pause lengthens a cap that nobody has set.
        let cap = given.cap.unwrap_or(DEFAULT_CAP.max(base));
        let cap = self.time("retry.cap", cap, RETRY_TIMES);
        if base > cap {
            let message = "the longest pause is shorter than the first, `retry.base`";
            self.problem(Code::InvalidValue, "retry.cap", message);
        }
        Some(Retry {
            attempts: self.small("retry.attempts", given.attempts, DEFAULT_ATTEMPTS, COUNTS),
            schedule: self.choice(
                "retry.schedule",
                given.schedule.as_deref(),
                RetrySchedule::from_name,
                RetrySchedule::NAMES,
            ),
            base,
            cap,
            jitter: self.share("retry.jitter", given.jitter, DEFAULT_JITTER, RETRY_JITTER),
            kinds: self.kinds("retry.kinds", given.kinds.as_deref()),
            exceptions: self.exceptions(given.exceptions.as_deref().unwrap_or_default()),
            budget: self.share("retry.budget", given.budget, DEFAULT_RETRY_BUDGET, BUDGET),
            calls: self.choice(
                "retry.calls",
                given.calls.as_deref(),
                RetryCalls::from_name,
                RetryCalls::NAMES,
            ),
        })
    }

    fn hedge(&mut self, call_timeout: Option<Duration>) -> Option<Hedge> {
        let given = self.raw.layers.hedge.as_ref()?;
        let Some(after) = given.after else {
            let message = "it is not said when a call is slow";
            self.missing("hedge.after", message, "as `after = \"200ms\"`");
            return None;
        };
        let after = self.time("hedge.after", after, TIMES);
        if call_timeout.is_some_and(|limit| after >= limit) {
            let message = "a call is over by then: `timeouts.call` is no longer";
            self.problem(Code::InvalidValue, "hedge.after", message);
        }
        let budget = self.share("hedge.budget", given.budget, DEFAULT_HEDGE_BUDGET, BUDGET);
        Some(Hedge { after, budget })
    }

    fn fallback(&mut self) -> Option<Fallback> {
        let given = self.raw.layers.fallback.as_ref()?;
        let Some(pool) = given.pool.clone() else {
            let message = "it is not said which pool is asked instead";
            self.missing("fallback.pool", message, "as `pool = \"other\"`");
            return None;
        };
        let kinds = self.kinds("fallback.kinds", given.kinds.as_deref());
        Some(Fallback { pool, kinds })
    }

    /// Tells of a setting without a default, unless it was said in a form that was refused already.
    fn missing(&mut self, key: &str, message: &str, help: &str) {
        let said = key.contains('.') && self.raw.places.has(key);
        if !said {
            self.problem(Code::MissingRequiredFields, key, message).help = Some(help.to_owned());
        }
    }

    /// A count in a range that fits 32 bits.
    fn small(
        &mut self,
        key: &str,
        given: Option<u64>,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u32 {
        // In range where there is no problem, so it fits.
        self.count(key, given, default, range) as u32
    }

    fn share(
        &mut self,
        key: &str,
        given: Option<f64>,
        default: f64,
        range: RangeInclusive<f64>,
    ) -> f64 {
        let share = given.unwrap_or(default);
        if !range.contains(&share) {
            let message = out_of_range(&share, &range);
            self.problem(Code::InvalidValue, key, message);
        }
        share
    }

    fn choice<T: Default>(
        &mut self,
        key: &str,
        given: Option<&str>,
        from_name: fn(&str) -> Option<T>,
        names: &[&str],
    ) -> T {
        let Some(name) = given else { return T::default() };
        from_name(name).unwrap_or_else(|| {
            let message = format!("there is no such choice as `{name}`");
            self.problem(Code::InvalidValue, key, message).help =
                Some(keys::suggestion(name, names));
            T::default()
        })
    }

    fn kinds(&mut self, key: &str, given: Option<&[String]>) -> Option<Vec<String>> {
        let given = given?;
        if given.is_empty() {
            let message = "no error is named";
            self.problem(Code::InvalidValue, key, message).help =
                Some("name some, or leave it out for the usual ones".to_owned());
        }
        for name in given.iter().filter(|name| !ERROR_KINDS.contains(&name.as_str())) {
            let message = format!("no call ends with an error of kind `{name}`");
            self.problem(Code::InvalidValue, key, message).help =
                Some(keys::suggestion(name, &ERROR_KINDS));
        }
        Some(given.to_vec())
    }

    fn exceptions(&mut self, given: &[String]) -> Vec<String> {
        for name in given {
            let identifier = |c: char| c.is_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(identifier) {
                let message = format!("`{name}` is no name of an exception type");
                self.problem(Code::InvalidValue, "retry.exceptions", message).help =
                    Some("give the name without its module, as `TimeoutError`".to_owned());
            }
        }
        given.to_vec()
    }
}

/// What is wrong with the fallbacks of these pools together: those that are not there, and circles.
pub(crate) fn fallback_problems(pools: &[PoolConfig]) -> Vec<Problem> {
    let names: Vec<&str> = pools.iter().map(PoolConfig::name).collect();
    let next = |name: &str| {
        let pool = pools.iter().find(|pool| pool.name() == name)?;
        pool.resilience().fallback.as_ref().map(|fallback| fallback.pool.as_str())
    };
    let mut problems = Vec::new();
    for pool in pools {
        let Some(fallback) = next(pool.name()) else { continue };
        let path = format!("pool.{}.fallback.pool", pool.name());
        if !names.contains(&fallback) {
            let message = format!("there is no pool named `{fallback}`");
            let help = keys::suggestion(fallback, &names);
            problems.push(Problem::new(Code::InvalidValue, path, message).help(help));
            continue;
        }
        let mut way = vec![pool.name()];
        let mut at = Some(fallback);
        while let Some(name) = at.filter(|name| !way.contains(name)) {
            way.push(name);
            at = next(name);
        }
        // A circle is told of once for each pool in it, and not for those that only lead to it.
        if at == Some(pool.name()) {
            way.push(pool.name());
            let message = format!("the fallbacks go in a circle: {}", way.join(" -> "));
            let problem = Problem::new(Code::InvalidValue, path, message);
            problems.push(problem.help("let one of these pools do without"));
        }
    }
    problems
}
