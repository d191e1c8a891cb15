//! Adapters that cannot be forked are spawned, and one warning says why. Alone in its program:
//! tracing remembers of an event that nobody listens, and asks only the thread that comes by first.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use serde_json::json;
use snakepit_core::Profile;
use snakepit_profile_process::ProcessOptions;
use support::{LONG, adapter, call, profile, python, seat, template};
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The reasons of the warnings that had one.
#[derive(Clone, Default)]
struct Reasons(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Reasons {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Reason<'a>(&'a Reasons);
        impl Visit for Reason<'_> {
            fn record_str(&mut self, field: &Field, value: &str) {
                if field.name() == "reason" {
                    self.0.0.lock().unwrap().push(value.to_owned());
                }
            }
            fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
        }
        if *event.metadata().level() == Level::WARN {
            event.record(&mut Reason(self));
        }
    }
}

#[tokio::test]
async fn an_adapter_that_cannot_be_forked_is_spawned_with_one_warning_that_says_why() {
    let reasons = Reasons::default();
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(reasons.clone()));
    let unforkable = |how: &str| {
        let mut options = ProcessOptions::new(python(), adapter("unforkable.py"));
        options.worker.env.push(("HOW".to_owned(), how.to_owned()));
        options
    };
    let mut early = template();
    early.worker.env.push(("LD_LIBRARY_PATH".to_owned(), "/lib/{index}".to_owned()));
    for (options, expected) in [
        (unforkable("thread"), "started 1 thread (pacer)"),
        (unforkable("connection"), "opened a connection"),
        (unforkable("loop"), "started an event loop"),
        (early, "LD_LIBRARY_PATH is `/lib/{index}`"),
    ] {
        let profile = profile(options);
        let host = std::process::id();
        for index in 0..3 {
            let worker = timeout(LONG, profile.start(seat(index))).await.unwrap().unwrap();
            assert_eq!(worker.info().metadata["start"], "spawn", "{expected}");
            if worker.info().tools.iter().any(|tool| tool.name == "parent") {
                let parent: u32 = call(&worker, "parent", json!({})).value().await;
                assert_eq!(parent, host, "{expected}");
            }
        }
        let told = std::mem::take(&mut *reasons.0.lock().unwrap());
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(expected), "{told:?}");
        timeout(LONG, profile.all_gone()).await.unwrap();
    }
}
