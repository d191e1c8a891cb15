//! What this program's subscriber has seen of the events that tests look at.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Each event as JSON: its fields, and `event_name` and `target`.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Json>>>);

impl Events {
    /// There is one subscriber in a program; tests tell their events apart by the pool.
    pub(crate) fn collected() -> Self {
        static EVENTS: OnceLock<Events> = OnceLock::new();
        let made = EVENTS.get_or_init(|| {
            let events = Self::default();
            let targets = Targets::new()
                .with_target("snakepit::python", LevelFilter::INFO)
                .with_target("snakepit::shm", LevelFilter::TRACE)
                .with_target("snakepit_bridge", LevelFilter::WARN);
            tracing_subscriber::registry().with(events.clone().with_filter(targets)).init();
            events
        });
        made.clone()
    }

    /// A pool's events, in their order.
    pub(crate) fn of(&self, pool: &str) -> Vec<Json> {
        let events = self.0.lock().unwrap();
        events.iter().filter(|event| event["pool"] == pool).cloned().collect()
    }
}

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields.0.insert("event_name".to_owned(), event.metadata().name().into());
        fields.0.insert("target".to_owned(), event.metadata().target().into());
        self.0.lock().unwrap().push(Json::Object(fields.0));
    }
}

#[derive(Default)]
struct Fields(Map<String, Json>);

impl Fields {
    fn note(&mut self, field: &Field, value: impl Into<Json>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.note(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.note(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.note(field, format!("{value:?}"));
    }
}
