//! What a recycle tells people. Alone in its program: tracing remembers of an event that nobody
//! listens, and asks only the thread that comes by first.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "recycling/fake.rs"]
mod fake;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use snakepit_core::WorkerId;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use fake::*;

type Fields = BTreeMap<String, String>;

/// Collects the events of workers, and warnings, each with its name.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(String, Fields)>>>);

impl Heard {
    fn take(&self, name: &str) -> Vec<Fields> {
        let heard = std::mem::take(&mut *self.0.lock().unwrap()).into_iter();
        heard.filter(|(of, _)| of.contains(name)).map(|(_, fields)| fields).collect()
    }
}

impl<S: Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.target() == "snakepit::worker" || *metadata.level() == Level::WARN {
            let mut fields = Texts(Fields::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push((metadata.name().to_owned(), fields.0));
        }
    }
}

struct Texts(Fields);

impl Visit for Texts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_workers_is_told_in_events_and_in_plain_data() {
    let heard = Heard::default();
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(heard.clone()));
    let World { pool, supervisor, .. } = world(1, |o| o.limits.max_requests = Some(3)).await;
    for _ in 0..3 {
        call(&pool, 500).await.unwrap();
    }
    tokio::time::sleep(SECOND * 11 / 10).await;
    let events = heard.take("worker.recycled");
    let expected = [
        ("count", "1"),
        ("message", "worker recycled"),
        ("pool", "p"),
        ("reason", "max_requests"),
        ("request_count", "3"),
        ("uptime_seconds", events[0]["uptime_seconds"].as_str()),
        ("worker_id", "p.0.0"),
    ];
    let expected: Fields = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(events, [expected]);
    let uptime: f64 = events[0]["uptime_seconds"].parse().unwrap();
    assert!((2.4..2.6).contains(&uptime), "{uptime}");

    let status = serde_json::to_value(supervisor.status()).unwrap();
    assert_eq!(status["recycles"]["max_requests"], 1);
    assert_eq!(status["exits"]["recycled"], 1);
    let worker = &status["workers"][0];
    assert_eq!(
        (worker["worker"].as_str(), worker["state"].as_str()),
        (Some("p.1.0"), Some("ready"))
    );
    assert!(worker["age_seconds"].is_number());
    assert_eq!(status["seats"][0]["state"], "ready");

    // A call that outlasts the drain time is told of and left alone; a silent worker is told of.
    let World { pool, script, supervisor } = world(1, |o| {
        o.drain = 5 * SECOND;
        o.heartbeat = Some(2 * SECOND);
    })
    .await;
    let long = tokio::spawn(call(&pool, 20_000));
    tokio::task::yield_now().await;
    let gone = tokio::spawn(supervisor.recycle(&WorkerId::from("p.0.0")).unwrap());
    tokio::time::sleep(5 * SECOND).await;
    assert!(heard.take("event ").is_empty());
    tokio::time::sleep(2 * SECOND).await;
    let warned = heard.take("event ");
    assert_eq!(warned[0]["message"], "a worker on its way out still has calls to end");
    assert_eq!((warned.len(), warned[0]["worker"].as_str()), (1, "p.0.0"));
    assert!(long.await.unwrap().is_ok());
    gone.await.unwrap();
    script.worker("p.1.0").freeze();
    tokio::time::sleep(50 * SECOND).await;
    let failed = heard.take("worker.health_check_failed");
    assert_eq!((failed.len(), failed[0]["worker_id"].as_str()), (1, "p.1.0"));
    assert_eq!(failed[0]["reason"], "missed_heartbeats");

    // So is one that says itself that it is not well.
    let world = world(1, |o| o.health_interval = Some(10 * SECOND)).await;
    world.script.set_health(Duration::ZERO, Some("no database"));
    tokio::time::sleep(11 * SECOND).await;
    let expected = [
        ("count", "1"),
        ("error", "no database"),
        ("message", "worker failed a health check"),
        ("pool", "p"),
        ("reason", "unhealthy"),
        ("worker_id", "p.0.0"),
    ];
    let expected: Fields = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(heard.take("worker.health_check_failed")[0], expected);
}
