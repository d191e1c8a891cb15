//! The layers' settings: off unless their table is there, with the defaults that are promised, the same
//! by document, variable and builder; fallbacks that lead somewhere.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use snakepit_config::{
    CircuitPer, Config, Format, Layers, Origin, PoolConfig, RetryCalls, RetrySchedule,
};

fn pool(text: &str) -> PoolConfig {
    let text = format!("[pool.default]\nadapter = 'a.py'\n{text}");
    Config::from_toml(&text).unwrap().pool("default").unwrap().clone()
}

#[test]
fn nothing_is_on_unless_its_table_is_there() {
    assert_eq!(*pool("").resilience(), Default::default());
    let all = pool(
        "retry = {}\nbreaker = {}\nbarrier = {}\nrate_limit = { calls = 7 }\nshed = { wait = '1s' }\n\
         hedge = { after = '1s' }",
    );
    let layers = all.resilience();
    let retry = layers.retry.as_ref().unwrap();
    assert_eq!((retry.attempts, retry.schedule), (3, RetrySchedule::Exponential));
    assert_eq!((retry.base, retry.cap), (Duration::from_millis(100), Duration::from_secs(10)));
    assert_eq!((retry.calls, retry.kinds.as_ref()), (RetryCalls::Idempotent, None));
    let breaker = layers.breaker.as_ref().unwrap();
    assert_eq!((breaker.failures, breaker.probes, breaker.per), (5, 1, CircuitPer::Pool));
    assert_eq!(breaker.open, Duration::from_secs(30));
    assert_eq!(layers.barrier.as_ref().unwrap().taint, Duration::from_secs(60));
    let rate = layers.rate_limit.as_ref().unwrap();
    assert_eq!((rate.calls, rate.per, rate.burst), (7, Duration::from_secs(1), 7));
    assert_eq!(layers.fallback, None);
}

#[test]
fn builder_calls_and_variables_go_over_a_document_key_by_key() {
    let document = "[pool.default]\nadapter = 'a.py'\n[pool.default.retry]\nattempts = 2\nbase = '1s'\n\
                    kinds = ['python']\n";
    let loaded = Layers::new()
        .text(document, Format::Toml)
        .variables([
            ("SNAKEPIT_POOL__DEFAULT__RETRY__KINDS", "worker_lost, protocol"),
            ("SNAKEPIT_POOL__DEFAULT__BREAKER__FAILURES", "9"),
        ])
        .pool(PoolConfig::builder("default").retry(|retry| retry.attempts(4).jitter(0.0)))
        .load()
        .unwrap();
    let layers = loaded.config().pool("default").unwrap().resilience().clone();
    let retry = layers.retry.unwrap();
    assert_eq!((retry.attempts, retry.base, retry.jitter), (4, Duration::from_secs(1), 0.0));
    assert_eq!(retry.kinds.unwrap(), ["worker_lost", "protocol"]);
    assert_eq!(layers.breaker.unwrap().failures, 9);
    assert_eq!(loaded.origin("pool.default.retry.attempts"), Origin::Builder);
    assert!(matches!(loaded.origin("pool.default.retry.base"), Origin::File { .. }));
}

#[test]
fn settings_lead_back_to_a_builder_with_all_their_layers() {
    let built = PoolConfig::builder("default")
        .adapter("a.py")
        .retry(|retry| retry.schedule(RetrySchedule::Fibonacci).exceptions(["OSError"]))
        .breaker(|breaker| breaker.per(CircuitPer::Command).kinds(["python"]))
        .barrier(|barrier| barrier.taint(Duration::from_secs(5)))
        .shed(|shed| shed.queue(10).wait(Duration::from_secs(2)))
        .rate_limit(|rate| rate.calls(5).per(Duration::from_secs(60)).burst(2))
        .hedge(|hedge| hedge.after(Duration::from_millis(50)).budget(1.0))
        .build()
        .unwrap();
    assert_eq!(built.to_builder().build().unwrap(), built);
    let config = Config::new([built]).unwrap();
    assert_eq!(Config::from_toml(&config.to_toml()).unwrap(), config);
}

#[test]
fn fallbacks_lead_to_a_pool_and_not_in_a_circle() {
    let pools = |fallbacks: &[(&str, &str)]| {
        let text: String = ["a", "b", "c"]
            .iter()
            .map(|name| {
                let to = fallbacks.iter().find(|(from, _)| from == name);
                let to = to.map_or(String::new(), |(_, to)| format!("fallback.pool = '{to}'\n"));
                format!("[pool.{name}]\nadapter = 'a.py'\n{to}")
            })
            .collect();
        Config::from_toml(&text).map_err(|error| error.to_string())
    };
    pools(&[("a", "b"), ("b", "c")]).unwrap();
    let circle = pools(&[("a", "b"), ("b", "c"), ("c", "b")]).unwrap_err();
    assert!(circle.contains("b -> c -> b") && circle.contains("c -> b -> c"), "{circle}");
    assert!(!circle.contains("pool.a"), "it only leads there: {circle}");
    assert!(circle.contains("6:17: pool.b.fallback.pool"), "with its place: {circle}");
    let nowhere = pools(&[("a", "d")]).unwrap_err();
    assert!(nowhere.contains("there is no pool named `d`"), "{nowhere}");
}
