//! What a recycle tells people. Alone in its program: tracing remembers of an event that nobody
//! listens, and asks only the thread that comes by first.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "recycling/fake.rs"]
mod fake;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use fake::*;

type Fields = BTreeMap<String, String>;

/// Collects the events of one name.
#[derive(Clone, Default)]
struct Recycled(Arc<Mutex<Vec<Fields>>>);

impl<S: Subscriber> Layer<S> for Recycled {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().name() == "worker.recycled" {
            assert_eq!(event.metadata().target(), "snakepit::worker");
            let mut fields = Texts(Fields::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
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
async fn a_recycle_is_one_event_and_the_statistics_are_plain_data() {
    let recycled = Recycled::default();
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(recycled.clone()));
    let World { pool, supervisor, .. } = world(1, |o| o.limits.max_requests = Some(3)).await;
    for _ in 0..3 {
        call(&pool, 500).await.unwrap();
    }
    tokio::time::sleep(SECOND * 11 / 10).await;
    let events = std::mem::take(&mut *recycled.0.lock().unwrap());
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
        (Some("p.0.1"), Some("ready"))
    );
    assert!(worker["age_seconds"].is_number());
    assert_eq!(status["seats"][0]["state"], "ready");
}
