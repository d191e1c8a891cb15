//! Documents in the forms of the original: what each key becomes, and the names of its errors.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use snakepit_config::{
    Code, Config, Format, GilPolicy, HostConfig, Layers, Loaded, LogLevel, Origin, Profile,
    RemarkKind, Translation,
};

const FLAT: &str = r#"
pooling_enabled: true
adapter_module: Snakepit.Adapters.GRPCPython
pool_size: 4
pool_config:
  pool_size: 100
  max_overflow: 2
  strategy: fifo
  adapter_env: [[LOG_LEVEL, debug]]
grpc_config: {base_port: 50051, port_range: 100}
worker_ttl: "{3600, :seconds}"
worker_max_requests: 5000
pool_queue_timeout: 5000
python_path: /usr/bin/python3
python_thread_limits: {openblas: 2, grpc_poll_threads: 1}
heartbeat: {ping_interval_ms: 1000, timeout_ms: 9000}
"#;

fn load(text: &str, format: Format) -> Loaded {
    Layers::new().text(text, format).load().unwrap_or_else(|error| panic!("{error}"))
}

fn codes(json: &str) -> Vec<(Code, String)> {
    let error = Config::from_text(json, Format::Json).expect_err(json);
    error.problems().iter().map(|problem| (problem.code, problem.path.clone())).collect()
}

#[test]
fn the_flat_form_becomes_one_process_pool_and_tells_of_every_key() {
    let loaded = load(FLAT, Format::Yaml);
    let [pool] = loaded.config().pools() else { panic!("one pool") };
    assert_eq!((pool.name(), pool.profile(), pool.workers()), ("default", Profile::Process, 4));
    assert_eq!(pool.max_workers(), 6);
    assert_eq!(pool.adapter().to_string(), "snakepit.showcase:Showcase");
    assert_eq!(pool.lifecycle().ttl, Some(Duration::from_secs(3600)));
    assert_eq!(pool.lifecycle().max_requests, Some(5000));
    assert_eq!(pool.timeouts().queue, Some(Duration::from_secs(5)));
    assert_eq!(pool.heartbeat(), Duration::from_secs(1));
    assert_eq!(pool.python().unwrap().to_str(), Some("/usr/bin/python3"));
    assert_eq!(pool.env()["OPENBLAS_NUM_THREADS"], "2");
    assert_eq!(pool.env()["LOG_LEVEL"], "debug");
    assert_eq!(loaded.origin("pool.default.workers").to_string(), "4:12");

    let became = |key: &str| {
        let remark = loaded.remarks().iter().find(|remark| remark.key == key);
        let remark = remark.unwrap_or_else(|| panic!("no word about {key}"));
        (remark.kind, remark.message.clone())
    };
    assert_eq!(became("pool_size"), (RemarkKind::Became, "pool.default.workers".to_owned()));
    assert_eq!(became("worker_ttl"), (RemarkKind::Became, "pool.default.lifecycle.ttl".to_owned()));
    assert!(became("pool_config.pool_size").1.contains("another key"));
    for key in ["pooling_enabled", "grpc_config", "pool_config.strategy", "heartbeat.timeout_ms"] {
        assert_eq!(became(key).0, RemarkKind::NoMeaning, "{key}");
    }
    assert!(became("grpc_config").1.contains("no port"));
    let text = loaded.remarks().iter().map(|r| format!("{r}\n")).collect::<String>();
    assert!(text.contains("10:14: grpc_config has no meaning here: "), "{text}");
}

#[test]
fn the_multi_pool_form_keeps_each_pool_and_global_keys_hold_for_all() {
    let loaded = load(
        r#"{"pools": [
            {"name": "api", "worker_profile": "process", "pool_size": 100,
             "adapter_module": "Snakepit.Adapters.GRPCPython",
             "adapter_args": ["--adapter", "shop.adapters.Api", "--max-workers", "16"]},
            {"name": "hpc", "worker_profile": "thread", "pool_size": 4, "threads_per_worker": 16,
             "adapter_env": {"A": "1"}, "worker_ttl": [2, "hours"], "thread_safety_checks": true,
             "worker_max_requests": "infinity", "default_timeout": 1000}
        ], "default_timeout": 7000, "memory_threshold_mb": 512}"#,
        Format::Json,
    );
    let [api, hpc] = loaded.config().pools() else { panic!("two pools") };
    assert_eq!(api.adapter().to_string(), "shop.adapters:Api");
    assert_eq!((api.workers(), api.timeouts().call), (100, Some(Duration::from_secs(7))));
    assert_eq!(hpc.profile(), Profile::Thread { threads: 16, gil: GilPolicy::Warn });
    assert_eq!(
        hpc.adapter().to_string(),
        "snakepit.showcase:Showcase",
        "no adapter is the shipped one"
    );
    assert_eq!(hpc.timeouts().call, Some(Duration::from_secs(1)), "the pool's own is stronger");
    assert_eq!(hpc.lifecycle().ttl, Some(Duration::from_secs(7200)));
    assert_eq!(hpc.lifecycle().max_requests, None);
    assert_eq!(
        (hpc.env()["A"].as_str(), hpc.env()["SNAKEPIT_THREAD_CHECK"].as_str()),
        ("1", "warn")
    );
    assert_eq!(hpc.lifecycle().max_memory, Some(512 << 20));
    assert_eq!(api.lifecycle().max_memory, Some(512 << 20));
    assert_eq!(loaded.origin("pool.hpc.adapter"), Origin::Default, "nobody said it");
    let flags = loaded.remarks().iter().any(|remark| remark.message.contains("--max-workers 16"));
    assert!(flags, "{:?}", loaded.remarks());
}

#[test]
fn the_originals_name_and_level_are_the_hosts() {
    let text = r#"{"pool_size": 1, "instance_name": "shop-1", "log_level": "warning"}"#;
    let loaded = load(text, Format::Json);
    let host = loaded.config().host();
    assert_eq!((host.instance(), host.log()), (Some("shop-1"), LogLevel::Warn));
    assert_eq!(loaded.origin("host.instance").to_string(), "1:35");
    let loaded = load(r#"{"pool_size": 1, "instance_name": "a b", "log_level": 3}"#, Format::Json);
    assert_eq!(loaded.config().host(), &HostConfig::default());
    let no_meaning = loaded.remarks().iter().filter(|r| r.kind == RemarkKind::NoMeaning);
    assert_eq!(no_meaning.count(), 2, "{:?}", loaded.remarks());
}

#[test]
fn a_capacity_strategy_that_gives_a_worker_one_call_at_a_time_still_does() {
    let of = |strategy: &str, profile: &str| {
        let text = format!(
            r#"{{"pools": [{{"name": "a", "worker_profile": "{profile}", "threads_per_worker": 16,
                "capacity_strategy": "{strategy}"}}]}}"#
        );
        let text = match profile {
            "thread" => text,
            _ => text.replace(r#""threads_per_worker": 16,"#, ""),
        };
        let loaded = load(&text, Format::Json);
        let is_its = |remark: &&snakepit_config::Remark| remark.key.ends_with("capacity_strategy");
        let remark = loaded.remarks().iter().find(is_its).unwrap().clone();
        let threads = match loaded.config().pools()[0].profile() {
            Profile::Thread { threads, .. } => threads,
            _ => 0,
        };
        (threads, remark.kind)
    };
    assert_eq!(of("pool", "thread"), (16, RemarkKind::NoMeaning));
    assert_eq!(of("hybrid", "thread"), (16, RemarkKind::NoMeaning));
    assert_eq!(of("profile", "thread"), (1, RemarkKind::Became));
    assert_eq!(of("profile", "process"), (0, RemarkKind::NoMeaning));
    let bad = r#"{"pool_size": 1, "capacity_strategy": "none"}"#;
    assert_eq!(codes(bad), [(Code::InvalidValue, "capacity_strategy".to_owned())]);
}

#[test]
fn the_originals_errors_keep_their_names() {
    let pool = |pool: &str| format!(r#"{{"pools": [{{"name": "a", {pool}}}]}}"#);
    for (json, code, path) in [
        (r#"{"pools": []}"#.to_owned(), Code::NoPoolsConfigured, "pool"),
        (
            r#"{"pools": [{"pool_size": 1}]}"#.to_owned(),
            Code::MissingRequiredFields,
            "pools.0.name",
        ),
        (
            r#"{"pools": [{"name": "a"}, {"name": "a"}]}"#.to_owned(),
            Code::DuplicatePoolNames,
            "pool.a",
        ),
        (pool(r#""worker_profile": "fibre""#), Code::InvalidProfile, "pool.a.profile"),
        (pool(r#""worker_profile": 5"#), Code::InvalidProfile, "pool.a.profile"),
        (pool(r#""pool_size": 0"#), Code::InvalidPoolSize, "pool.a.workers"),
        (pool(r#""pool_size": -1"#), Code::InvalidPoolSize, "pool.a.workers"),
        (pool(r#""pool_size": "ten""#), Code::InvalidPoolSize, "pool.a.workers"),
        (pool(r#""worker_ttl": [3600, "days"]"#), Code::InvalidWorkerTtl, "pools.0.worker_ttl"),
        (pool(r#""worker_ttl": [0, "seconds"]"#), Code::InvalidWorkerTtl, "pools.0.worker_ttl"),
        (pool(r#""worker_ttl": 3600"#), Code::InvalidWorkerTtl, "pools.0.worker_ttl"),
        (pool(r#""worker_ttl": "soon""#), Code::InvalidWorkerTtl, "pool.a.lifecycle.ttl"),
        (
            pool(r#""worker_max_requests": 0"#),
            Code::InvalidWorkerMaxRequests,
            "pool.a.lifecycle.max_requests",
        ),
        (
            pool(r#""worker_max_requests": "many""#),
            Code::InvalidWorkerMaxRequests,
            "pool.a.lifecycle.max_requests",
        ),
        (pool(r#""pool_sise": 2"#), Code::UnknownKey, "pools.0.pool_sise"),
        (pool(r#""adapter_module": "My.Adapter""#), Code::InvalidValue, "pools.0.adapter_module"),
        (pool(r#""adapter_args": "--adapter x""#), Code::InvalidValue, "pools.0.adapter_args"),
        (pool(r#""adapter_env": [5]"#), Code::InvalidValue, "pools.0.adapter_env"),
        (r#"{"pools": {"a": {}}}"#.to_owned(), Code::InvalidValue, "pools"),
    ] {
        let found = codes(&json);
        assert!(found.contains(&(code, path.to_owned())), "{json}: {found:?}");
    }
}

#[test]
fn paths_of_the_original_name_its_showcase_and_other_classes() {
    const SHOWCASE: &str = "snakepit.showcase:Showcase";
    for (named, adapter) in [
        ("snakepit_bridge.adapters.showcase", SHOWCASE),
        ("snakepit_bridge.adapters.showcase.ShowcaseAdapter", SHOWCASE),
        ("snakepit_bridge.adapters.showcase.showcase_adapter.ShowcaseAdapter", SHOWCASE),
        // Of another name, so another adapter.
        ("snakepit_bridge.adapters.showcases.Mine", "snakepit_bridge.adapters.showcases:Mine"),
        (
            "snakepit_bridge.adapters.threaded_showcase.ThreadedShowcaseAdapter",
            "snakepit_bridge.adapters.threaded_showcase:ThreadedShowcaseAdapter",
        ),
        ("dspex_adapters.dspy_grpc.DSPyGRPCHandler", "dspex_adapters.dspy_grpc:DSPyGRPCHandler"),
    ] {
        let text = format!(r#"{{"adapter_args": ["--adapter", "{named}"]}}"#);
        let loaded = load(&text, Format::Json);
        assert_eq!(loaded.config().pools()[0].adapter().to_string(), adapter, "{named}");
    }
}

#[test]
fn no_limit_of_the_original_is_loosened() {
    // There it is the most workers a pool may start with; here the name would let it grow.
    let loaded = load(r#"{"pool_size": 8, "max_workers": 3}"#, Format::Json);
    let pool = &loaded.config().pools()[0];
    assert_eq!((pool.workers(), pool.max_workers()), (3, 3));
    let loaded = load(r#"{"pool_size": 2, "max_workers": 1000}"#, Format::Json);
    assert_eq!(loaded.config().pools()[0].max_workers(), 2);
    let loaded = load(r#"{"max_workers": 1000, "overflow": 5}"#, Format::Json);
    let pool = &loaded.config().pools()[0];
    assert_eq!(pool.max_workers(), pool.workers());
}

#[test]
fn the_older_bridges_script_and_interpreter_are_taken() {
    let loaded = load(
        r#"{"adapter_module": "Snakepit.Adapters.GenericPython", "script_path": "py/bridge.py",
            "pool_config": {"overflow": 1, "pool_size": 1}, "python_path": "python3.12"}"#,
        Format::Json,
    );
    let pool = &loaded.config().pools()[0];
    assert_eq!(pool.adapter().to_string(), "py/bridge.py");
    assert_eq!((pool.workers(), pool.max_workers()), (1, 2));
    assert_eq!(pool.python().unwrap().to_str(), Some("python3.12"));
}

#[test]
fn a_document_of_both_forms_is_refused() {
    let found = codes(r#"{"pool": {"a": {"adapter": "a.py"}}, "pool_size": 3}"#);
    assert_eq!(found, [(Code::UnknownKey, "pool_size".to_owned())]);
}

#[test]
fn a_migrated_document_is_our_own_and_says_the_same() {
    let translated = Translation::of_document(FLAT, Format::Yaml).unwrap();
    let config = Config::from_toml(translated.document()).unwrap();
    assert_eq!(&config, load(FLAT, Format::Yaml).config());
    assert!(translated.document().contains("[pool.default]"), "{}", translated.document());
    let again = Translation::of_document(translated.document(), Format::Toml).unwrap();
    assert_eq!(again.document(), translated.document());
    assert!(again.remarks().is_empty(), "it is ours already");
}
