//! How grave a failure is and whether to try again: the original library's table. Owns categories,
//! severities and advice with their names and aliases; what follows the advice is a caller's or a
//! resilience layer's business.

use std::fmt;

/// Which part of the system a failure belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Category {
    /// Settings and start-up.
    Initialization,
    /// Reaching a worker.
    Connection,
    /// Talking to a worker.
    Communication,
    /// Time.
    Timeout,
    /// Something is used up.
    Resource,
    /// A worker's health.
    HealthCheck,
    /// A session's worker.
    Session,
    /// What the caller handed in.
    Validation,
    /// The tool itself.
    Python,
    /// The pool.
    Pool,
    /// The operating system, or a defect.
    System,
}

/// How grave a failure is; the gravest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Expected now and then: a wrong argument, a cancelled call.
    Warning,
    /// One call suffers, its pool does not.
    Minor,
    /// Something is broken and likely heals.
    Major,
    /// Nothing works until somebody acts.
    Critical,
}

/// Whether to try a failed call again, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryAdvice {
    /// At once.
    Immediate,
    /// After a growing pause.
    Backoff,
    /// Not before a circuit breaker lets a probe through.
    CircuitBreak,
    /// Elsewhere: on another worker, or in a fallback pool.
    Failover,
    /// Never.
    Abandon,
}

/// Attempts after which a critical failure is not tried again; the original's figure.
const CRITICAL_ATTEMPTS: u32 = 2;

impl Category {
    /// Every category, in the order of the documents.
    pub const ALL: [Self; 11] = [
        Self::Initialization,
        Self::Connection,
        Self::Communication,
        Self::Timeout,
        Self::Resource,
        Self::HealthCheck,
        Self::Session,
        Self::Validation,
        Self::Python,
        Self::Pool,
        Self::System,
    ];

    /// The category's stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Initialization => "initialization",
            Self::Connection => "connection",
            Self::Communication => "communication",
            Self::Timeout => "timeout",
            Self::Resource => "resource",
            Self::HealthCheck => "health_check",
            Self::Session => "session",
            Self::Validation => "validation",
            Self::Python => "python",
            Self::Pool => "pool",
            Self::System => "system",
        }
    }

    /// The category of that name. The original's names are understood too: `timeout_error` is
    /// `timeout`, `port_error` is `communication`. Whatever is unknown is `System`.
    pub fn from_name(name: &str) -> Self {
        if name == "port_error" {
            return Self::Communication;
        }
        let plain = name.strip_suffix("_error").unwrap_or(name);
        Self::ALL.into_iter().find(|category| category.name() == plain).unwrap_or(Self::System)
    }

    /// How grave its failures are unless they say otherwise.
    pub fn severity(self) -> Severity {
        match self {
            Self::Initialization | Self::Resource | Self::System => Severity::Critical,
            Self::Connection | Self::Communication | Self::Timeout | Self::Python | Self::Pool => {
                Severity::Major
            }
            Self::HealthCheck | Self::Session => Severity::Minor,
            Self::Validation => Severity::Warning,
        }
    }
}

impl Severity {
    /// Every severity, the gravest first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::Major, Self::Minor, Self::Warning];

    /// The severity's stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Major => "major",
            Self::Minor => "minor",
            Self::Warning => "warning",
        }
    }

    /// The severity of that name; `high` is the original's other word for `major`.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = if name == "high" { "major" } else { name };
        Self::ALL.into_iter().find(|severity| severity.name() == name)
    }
}

impl RetryAdvice {
    /// Every advice there is.
    pub const ALL: [Self; 5] =
        [Self::Immediate, Self::Backoff, Self::CircuitBreak, Self::Failover, Self::Abandon];

    /// What to do about a failure of this category and severity when attempt number `attempt` (the
    /// first is 1) has ended in it.
    ///
    /// # Examples
    /// ```
    /// use snakepit_core::{Category, RetryAdvice, Severity};
    ///
    /// let advice = RetryAdvice::of(Category::Timeout, Severity::Major, 1);
    /// assert_eq!(advice, RetryAdvice::Backoff);
    /// // What is critical is given up after two attempts.
    /// let advice = RetryAdvice::of(Category::Resource, Severity::Critical, 3);
    /// assert_eq!(advice, RetryAdvice::Abandon);
    /// ```
    pub fn of(category: Category, severity: Severity, attempt: u32) -> Self {
        if severity == Severity::Critical && attempt > CRITICAL_ATTEMPTS {
            return Self::Abandon;
        }
        match category {
            Category::Initialization => Self::CircuitBreak,
            Category::Resource if severity == Severity::Critical => Self::CircuitBreak,
            Category::Resource | Category::Python => Self::Failover,
            Category::Connection | Category::Timeout | Category::HealthCheck => Self::Backoff,
            Category::Communication | Category::Session => Self::Immediate,
            // The same arguments stay wrong, and a pool that is gone stays away.
            Category::Validation | Category::Pool | Category::System => Self::Abandon,
        }
    }

    /// Whether to try again at all.
    pub fn retries(self) -> bool {
        self != Self::Abandon
    }

    /// The advice's stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Backoff => "backoff",
            Self::CircuitBreak => "circuit_break",
            Self::Failover => "failover",
            Self::Abandon => "abandon",
        }
    }

    /// The advice of that name; `backoff_retry` and `immediate_retry` are the original's words.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.strip_suffix("_retry").unwrap_or(name);
        Self::ALL.into_iter().find(|advice| advice.name() == name)
    }
}

macro_rules! shown_by_name {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    )*};
}

shown_by_name!(Category, Severity, RetryAdvice);

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the original, line by line: category, severity, attempt, advice.
    const TABLE: [(&str, &str, u32, &str); 24] = [
        ("initialization", "critical", 1, "circuit_break"),
        ("initialization", "major", 3, "circuit_break"),
        ("initialization", "critical", 2, "circuit_break"),
        ("initialization", "critical", 3, "abandon"),
        ("resource", "critical", 1, "circuit_break"),
        ("resource", "critical", 3, "abandon"),
        ("resource", "major", 1, "failover"),
        ("resource", "minor", 9, "failover"),
        ("connection", "major", 1, "backoff_retry"),
        ("connection", "critical", 3, "abandon"),
        ("timeout", "major", 5, "backoff"),
        ("timeout_error", "warning", 1, "backoff"),
        ("health_check", "minor", 1, "backoff"),
        ("communication", "high", 1, "immediate"),
        ("port_error", "minor", 1, "immediate_retry"),
        ("session", "minor", 4, "immediate"),
        ("python", "major", 1, "failover"),
        ("python", "critical", 2, "failover"),
        ("python", "critical", 3, "abandon"),
        ("system", "critical", 1, "abandon"),
        ("system", "minor", 1, "abandon"),
        ("validation", "warning", 1, "abandon"),
        ("pool", "major", 1, "abandon"),
        ("something new", "major", 1, "abandon"),
    ];

    #[test]
    fn advice_follows_the_originals_table() {
        for (category, severity, attempt, advice) in TABLE {
            let found = RetryAdvice::of(
                Category::from_name(category),
                Severity::from_name(severity).unwrap(),
                attempt,
            );
            let expected = RetryAdvice::from_name(advice).unwrap();
            assert_eq!(found, expected, "{category}, {severity}, attempt {attempt}");
        }
    }

    #[test]
    fn severities_are_the_originals() {
        for (category, severity) in [
            (Category::Initialization, Severity::Critical),
            (Category::Resource, Severity::Critical),
            (Category::System, Severity::Critical),
            (Category::Connection, Severity::Major),
            (Category::Communication, Severity::Major),
            (Category::Timeout, Severity::Major),
            (Category::Python, Severity::Major),
            (Category::HealthCheck, Severity::Minor),
            (Category::Session, Severity::Minor),
        ] {
            assert_eq!(category.severity(), severity, "{category}");
        }
        assert!(Severity::Critical > Severity::Major && Severity::Minor > Severity::Warning);
    }

    #[test]
    fn every_name_leads_back() {
        for category in Category::ALL {
            assert_eq!(Category::from_name(category.name()), category);
            assert_eq!(Category::from_name(&format!("{category}_error")), category);
        }
        for severity in Severity::ALL {
            assert_eq!(Severity::from_name(severity.name()), Some(severity));
        }
        for advice in RetryAdvice::ALL {
            assert_eq!(RetryAdvice::from_name(advice.name()), Some(advice));
        }
        assert_eq!(Severity::from_name("high"), Some(Severity::Major));
        assert_eq!(Category::from_name("unheard of"), Category::System);
        assert_eq!(Severity::from_name("unheard of"), None);
        assert_eq!(RetryAdvice::from_name("unheard of"), None);
    }
}
