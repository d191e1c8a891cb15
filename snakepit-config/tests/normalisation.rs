//! Normalisation as properties: it is total, does nothing the second time, and survives TOML.

use std::time::Duration;

use proptest::prelude::*;
use snakepit_config::{
    Affinity, Config, GilPolicy, HostBuilder, HostConfig, LogLevel, PoolBuilder, PoolConfig,
    Profile, Start, TimeoutProfile,
};

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        (0..100_000_u64).prop_map(Duration::from_millis),
        (0..400_000_u64).prop_map(Duration::from_secs),
        (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(s, n)| Duration::new(s, n)),
    ]
}

fn valid_arguments() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|f| if f.is_finite() { f.into() } else { 0.into() }),
        ".*".prop_map(serde_json::Value::from),
    ];
    let nested = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map(".{0,8}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::hash_map("[a-z]{1,8}", nested, 0..4)
        .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()))
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map(".{0,8}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Values that are mostly in range: most builders below are then valid, and some are not.
fn mostly<T: std::fmt::Debug>(
    valid: impl Strategy<Value = T>,
    any: impl Strategy<Value = T>,
) -> impl Strategy<Value = T> {
    prop_oneof![20 => valid, 1 => any]
}

fn level() -> impl Strategy<Value = LogLevel> {
    use LogLevel::{Debug, Error, Info, Off, Trace, Warn};
    prop::sample::select(vec![Off, Error, Warn, Info, Debug, Trace])
}

prop_compose! {
    fn host()(
        instance in prop::option::of(mostly("[a-z][a-z._-]{0,60}", ".{0,70}")),
        directory in prop::option::of(mostly("[a-z/]{1,10}", ".{0,10}")),
        socket in prop::option::of(mostly(r"auto|off|\./[a-z]{1,9}", ".{0,10}")),
        flags in (any::<bool>(), any::<bool>()),
        log in level(),
        limit in mostly((0..86_400_000_000_u64).prop_map(Duration::from_micros), duration()),
    ) -> HostBuilder {
        let mut host = HostConfig::builder().adopt_orphans(flags.0).watch(flags.1).log(log);
        if let Some(name) = instance { host = host.instance(name); }
        if let Some(directory) = directory { host = host.socket_dir(directory); }
        if let Some(socket) = socket { host = host.control_socket(socket); }
        host.shutdown_timeout(limit)
    }
}

prop_compose! {
    fn builder()(
        name in mostly("[a-zA-Z0-9_-]{1,64}", ".{0,70}"),
        adapter in mostly("[a-z]{1,8}(\\.py)?(:[A-Z][a-z]{0,5})?", ".*").prop_map(Some),
        no_adapter in prop::bool::weighted(0.05),
        args in prop::option::of(mostly(valid_arguments(), json())),
        start in prop::option::of(prop::sample::select(vec![Start::Zygote, Start::Spawn])),
        workers in prop::option::of(mostly(10..1000_usize, any::<usize>())),
        bounds in prop::option::of((
            prop::option::of(mostly(1..10_usize, any::<usize>())),
            prop::option::of(mostly(1000..4096_usize, any::<usize>())),
            mostly((100..3_600_000_u64).prop_map(Duration::from_millis), duration()),
            prop::option::of(mostly((100..3_600_000_u64).prop_map(Duration::from_millis), duration())),
        )),
        env in prop::collection::hash_map(mostly("[A-Z]{1,6}", ".{0,6}"), "[^\0]{0,6}", 0..3),
        python in prop::option::of(mostly("[a-z/.]{1,10}", ".{0,10}")),
        counts in prop::option::of((0..1024_usize, 1..100_000_usize, 1..65_536_usize, 1024..1_u64 << 40)),
        times in prop::option::of((
            mostly((50..3_600_000_u64).prop_map(Duration::from_millis), duration()),
            mostly((0..86_400_000_000_u64).prop_map(Duration::from_micros), duration()),
            mostly((1..31_000_000_u64).prop_map(Duration::from_secs), duration()),
        )),
        limits in prop::option::of((
            prop::sample::select(TimeoutProfile::ALL.to_vec()),
            prop::option::of(mostly((1..31_000_000_u64).prop_map(Duration::from_secs), duration())),
            prop::option::of(mostly((1..31_000_000_u64).prop_map(Duration::from_millis), duration())),
        )),
        // In boxes: all of them together are too much for the stack of a test.
        lifecycle in prop::option::of((
            prop::option::of(mostly((1..31_000_000_u64).prop_map(Duration::from_secs), duration())),
            prop::option::of(mostly(1..1_000_000_u64, any::<u64>())),
            prop::option::of(mostly(1 << 20..1_u64 << 50, any::<u64>())),
            prop::option::of(mostly((100..31_000_000_u64).prop_map(Duration::from_millis), duration())),
            mostly((50..3_600_000_u64).prop_map(Duration::from_millis), duration()),
            mostly(0.0..=0.5, any::<f64>()),
            mostly(1..4096_usize, any::<usize>()),
        )).boxed(),
        session in prop::option::of((
            prop::sample::select(vec![Affinity::Hint, Affinity::StrictQueue, Affinity::StrictFailFast]),
            prop::option::of(mostly((1..31_000_000_u64).prop_map(Duration::from_secs), duration())),
            mostly(1..10_000_000_usize, any::<usize>()),
            mostly(1024..1_u64 << 40, any::<u64>()),
        )).boxed(),
        logs in prop::option::of((
            level(),
            level(),
            mostly(1..1_000_000_usize, any::<usize>()),
            mostly(64..1_u64 << 20, any::<u64>()),
            mostly(0..1000_usize, any::<usize>()),
        )).boxed(),
        threads in prop::option::of((
            mostly(1..64_usize, any::<usize>()),
            prop::option::of(prop::sample::select(vec![
                snakepit_config::Strategy::Spread,
                snakepit_config::Strategy::Fill,
            ])),
        )).boxed(),
    ) -> PoolBuilder {
        let mut pool = PoolConfig::builder(name);
        if let Some(adapter) = adapter.filter(|_| !no_adapter) { pool = pool.adapter(adapter); }
        if let Some(args) = args { pool = pool.adapter_args(args); }
        if let Some(start) = start { pool = pool.start(start); }
        if let Some(workers) = workers { pool = pool.workers(workers); }
        if let Some((least, most, idle, health)) = bounds {
            pool = pool.idle_timeout(idle).health_interval(health);
            if let Some(least) = least { pool = pool.min_workers(least); }
            if let Some(most) = most { pool = pool.max_workers(most); }
        }
        if let Some(python) = python { pool = pool.python(python); }
        for (name, value) in env { pool = pool.env(name, value); }
        if let Some((prefetch, queue, credit, payload)) = counts {
            pool = pool.prefetch(prefetch).queue(queue).stream_credit(credit).max_payload(payload);
            pool = pool.max_tool_depth(prefetch % 65).max_tool_calls(queue % 4096 + 1);
        }
        if let Some((heartbeat, grace, start)) = times {
            pool = pool.heartbeat(heartbeat).cancel_grace(grace).start_timeout(start);
        }
        if let Some((profile, call, idle)) = limits {
            pool = pool.timeout_profile(profile).call_timeout(call).stream_idle_timeout(idle);
        }
        if let Some((ttl, requests, memory, idle, interval, jitter, surge)) = lifecycle {
            pool = pool.ttl(ttl).max_requests(requests).max_memory(memory).idle(idle);
            pool = pool.memory_interval(interval).jitter(jitter).max_surge(surge);
        }
        if let Some((affinity, ttl, quota, data)) = session {
            pool = pool.affinity(affinity).session_ttl(ttl).session_quota(quota).session_data(data);
        }
        if let Some((stdout, stderr, lines, bytes, tail)) = logs {
            pool = pool.log_levels(stdout, stderr).log_lines_per_second(lines);
            pool = pool.log_max_line(bytes).log_tail(tail);
        }
        if let Some((threads, strategy)) = threads {
            pool = pool.profile("thread").threads(threads);
            if let Some(strategy) = strategy { pool = pool.strategy(strategy); }
        }
        pool
    }
}

proptest! {
    #[test]
    fn any_builder_gives_valid_settings_or_says_what_is_wrong(pool in builder()) {
        match pool.build() {
            Ok(pool) => {
                prop_assert_eq!(&pool.to_builder().build().unwrap(), &pool);
                let config = Config::new([pool]).unwrap();
                let again = Config::from_toml(&config.to_toml()).unwrap();
                prop_assert_eq!(&again, &config);
                prop_assert_eq!(again.to_toml(), config.to_toml());
            }
            Err(error) => prop_assert!(!error.problems().is_empty()),
        }
    }

    #[test]
    fn any_host_is_valid_or_says_what_is_wrong_and_reads_back(host in host()) {
        match host.build() {
            Ok(host) => {
                let pool = PoolConfig::builder("p").adapter("a.py").build().unwrap();
                let config = Config::new([pool]).unwrap().with_host(host);
                let again = Config::from_toml(&config.to_toml()).unwrap();
                prop_assert_eq!(&again, &config);
                prop_assert!(again.host().differences(config.host()).is_empty());
            }
            Err(error) => prop_assert!(error.problems().iter().all(|p| p.path.starts_with("host."))),
        }
    }

    #[test]
    fn any_text_gives_settings_or_problems(text in ".*") {
        if let Err(error) = Config::from_toml(&text) {
            prop_assert!(!error.problems().is_empty());
        }
    }

    #[test]
    fn any_document_of_known_keys_gives_settings_or_problems(
        lines in prop::collection::vec((
            prop::sample::select(vec![
                "profile", "workers", "adapter", "adapter_args", "python", "cwd", "env", "prefetch",
                "queue", "max_payload", "heartbeat", "cancel_grace", "stream_credit", "timeouts", "lifecycle", "session",
                "min_workers", "max_workers", "idle_timeout", "health_interval", "start", "x",
                "threads", "gil", "max_tool_depth", "max_tool_calls", "strategy", "logs",
            ]),
            prop::sample::select(vec![
                "1", "-1", "0x10", "'process'", "'thread'", "'degrade'", "'spawn'", "'a.py'", "'2s'", "'1GiB'", "'none'", "true", "1.5",
                "nan", "[1, 'a']", "{a = 1}", "{call = '1s'}", "{call = 1, x = 2}",
                "{ttl = 'none', jitter = 0}", "{max_requests = 0, jitter = nan}", "{affinity = 'hint', quota = 1}", "'fill'",
                "{stdout = 'off', tail = 1}", "1979-05-27",
            ]),
        ), 0..8)
    ) {
        // Whatever the pool takes the host takes or refuses.
        let mut text = String::from("[host]\n");
        for (key, value) in lines.iter().take(1) {
            text.push_str(&format!("{key} = {value}\n"));
        }
        prop_assert!(lines.is_empty() || Config::from_toml(&text).is_err());
        let mut text = String::from("[pool.p]\n");
        for (key, value) in lines {
            text.push_str(&format!("{key} = {value}\n"));
        }
        match Config::from_toml(&text) {
            Ok(config) => prop_assert_eq!(Config::from_toml(&config.to_toml()).unwrap(), config),
            Err(error) => prop_assert!(!error.problems().is_empty(), "{}", text),
        }
    }
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let pool = PoolConfig::builder("default").adapter("a.py").build().unwrap();
    let seconds = |s| Some(Duration::from_secs(s));
    let timeouts = pool.timeouts();
    assert_eq!(
        (timeouts.call, timeouts.stream_idle, timeouts.queue),
        (seconds(300), seconds(900), seconds(10))
    );
    assert_eq!((pool.prefetch(), pool.queue(), pool.max_payload()), (8, 1024, 1 << 30));
    assert_eq!(
        (pool.heartbeat(), pool.cancel_grace()),
        (Duration::from_secs(2), Duration::from_secs(2))
    );
    assert_eq!(pool.health_interval(), seconds(300));
    let session = pool.session();
    assert_eq!((session.affinity, session.ttl), (Affinity::Hint, seconds(3600)));
    assert_eq!((session.quota, session.max_data), (10_000, 256 << 20));
    assert_eq!(pool.start(), Start::Zygote, "where processes have descriptors");
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!((pool.workers(), pool.min_workers(), pool.max_workers()), (cores, cores, cores));
    assert_eq!(pool.idle_timeout(), Duration::from_secs(60));
    let lifecycle = pool.lifecycle();
    assert_eq!((lifecycle.ttl, lifecycle.max_requests, lifecycle.max_memory), (None, None, None));
    assert_eq!((lifecycle.idle, lifecycle.jitter, lifecycle.max_surge), (None, 0.1, 1));
    assert_eq!(lifecycle.memory_interval, Duration::from_secs(10));
}

#[test]
fn a_worker_with_threads_takes_all_cores_by_itself_and_is_spawned() {
    let pool = PoolConfig::builder("p").adapter("a.py").profile("thread").build().unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(pool.profile(), Profile::Thread { threads: cores.min(64), gil: GilPolicy::Warn });
    assert_eq!((pool.workers(), pool.start()), (1, Start::Spawn));
    let set = pool.to_builder().threads(16).gil(GilPolicy::Refuse).workers(2).build().unwrap();
    assert_eq!(set.profile(), Profile::Thread { threads: 16, gil: GilPolicy::Refuse });
    let text = Config::new([set.clone()]).unwrap().to_toml();
    assert_eq!(Config::from_toml(&text).unwrap().pools(), [set]);
}

#[test]
fn limits_of_a_worker_read_as_people_write_them() {
    let config = Config::from_toml(
        "[pool.default]\nadapter='a.py'\n[pool.default.lifecycle]\nttl='1h'\nmax_requests=20\n\
         max_memory='512MiB'\nmemory_interval='1s'\nidle='5m'\njitter=0\nmax_surge=2",
    )
    .unwrap();
    let lifecycle = config.pools()[0].lifecycle();
    assert_eq!(lifecycle.ttl, Some(Duration::from_secs(3600)));
    assert_eq!((lifecycle.max_requests, lifecycle.max_memory), (Some(20), Some(512 << 20)));
    assert_eq!(lifecycle.memory_interval, Duration::from_secs(1));
    assert_eq!(lifecycle.idle, Some(Duration::from_secs(300)));
    assert_eq!((lifecycle.jitter, lifecycle.max_surge), (0.0, 2));
}

#[test]
fn the_number_of_workers_follows_its_bounds_and_they_follow_it() {
    let pool = || PoolConfig::builder("p").adapter("a.py");
    let numbers = |pool: PoolBuilder| {
        let pool = pool.build().unwrap();
        (pool.workers(), pool.min_workers(), pool.max_workers())
    };
    assert_eq!(numbers(pool().max_workers(1)), (1, 1, 1));
    assert_eq!(numbers(pool().min_workers(4000)), (4000, 4000, 4000));
    assert_eq!(numbers(pool().workers(3).min_workers(2).max_workers(4)), (3, 2, 4));
    let fixed = pool().workers(3).build().unwrap();
    assert_eq!(numbers(fixed.to_builder().workers(8)), (8, 8, 8));
    for wrong in [
        pool().workers(3).min_workers(4),
        pool().workers(3).max_workers(2),
        pool().min_workers(3).max_workers(2),
        pool().workers(3).max_workers(0),
    ] {
        let error = wrong.build().unwrap_err();
        assert!(
            error.problems().iter().all(|problem| problem.code.as_str() == "invalid_pool_size")
        );
    }
}

#[test]
fn a_limit_over_a_profile_leaves_the_others() {
    let config = Config::from_toml(
        "[pool.default]\nadapter='a.py'\ntimeouts = {profile='batch', call='none', queue='1m'}",
    )
    .unwrap();
    let timeouts = config.pools()[0].timeouts();
    assert_eq!(timeouts.profile, TimeoutProfile::Batch);
    assert_eq!((timeouts.call, timeouts.stream_idle), (None, None));
    assert_eq!(timeouts.queue, Some(Duration::from_secs(60)));
}
