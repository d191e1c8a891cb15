//! Properties of reading: total over any text, independent of the order of keys, the same through
//! every format, and never looser than what was said. Stands in for the fuzz targets in `fuzz/`,
//! with the same bodies.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use snakepit_config::{Config, Format, Layers, Profile, Translation, format_duration};

/// Documents that most edits leave nearly valid.
const CORPUS: [(&str, Format); 7] = [
    (
        "[host]\ninstance = 'one'\nsocket_dir = 'run'\ncontrol_socket = 'auto'\nwatch = true\nlog = 'off'\n\
         [pool.default]\nadapter = 'a.py'\nlogs = { stdout = 'off', max_line = '1KiB' }\n",
        Format::Toml,
    ),
    (
        "[pool.default]\nadapter = \"a.py:C\"\nworkers = 0x2 # two\n[pool.default.env]\nA = '''x\ny'''\n\
         [pool.'b']\nadapter_args = { when = 1979-05-27, list = [1, 2.5, {x = true}] }\n",
        Format::Toml,
    ),
    (
        "{\"pool\": {\"default\": {\"adapter\": \"\\u00e4.py\", \"workers\": 2, \"adapter_args\": \
         {\"x\": [1, -2.5e3, null, true, \"\\ud83d\\ude00\"]}}}}",
        Format::Json,
    ),
    (
        "pool:\n  default: &one\n    adapter: 'a.py'\n    env: {A: \"b\\n\"}\n    python: >-\n      folded\n      \
         text\n  other: *one\n",
        Format::Yaml,
    ),
    ("pool_size: 3\nworker_ttl: [1, hours]\ngrpc_config: {base_port: 5}\n", Format::Yaml),
    (
        "{\"pools\": [{\"name\": \"a\", \"worker_profile\": \"thread\", \"adapter_env\": [[\"A\", \
         \"1\"]]}], \"heartbeat\": {\"ping_interval_ms\": 10}}",
        Format::Json,
    ),
    (
        "worker_ttl = '{3600, :seconds}'\nmax_overflow = 3\npool_config = {pool_size = 1}\n",
        Format::Toml,
    ),
];

#[cfg(feature = "elixir")]
const ELIXIR: &str = "import Config\nconfig :snakepit,\n  pool_size: 0x1_0,\n  pools: [%{name: :a, \
    \"pool_size\" => -1, worker_ttl: {1, :hours}, adapter_args: ~w(--adapter a.B)}],\n  x: \"#{1}\\u{41}\"\n\
    if true do\n config :snakepit, :pool_size, 5\nend\n";

/// What the fuzz target does with a document.
fn read(text: &str, format: Format) {
    match Config::from_text(text, format) {
        Ok(config) => {
            for format in Format::ALL {
                let written = config.to_text(format);
                assert_eq!(Config::from_text(&written, format).unwrap(), config, "{written}");
            }
        }
        Err(error) => assert!(!error.problems().is_empty()),
    }
    if let Ok(translated) = Translation::of_document(text, format) {
        Config::from_toml(translated.document()).unwrap();
    }
}

/// Cuts, doubles and replaces parts of a text.
fn edited(text: &str, edits: &[(usize, usize, String)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, length, with) in edits {
        let at = at % (chars.len() + 1);
        let end = (at + length).min(chars.len());
        chars.splice(at..end, with.chars());
    }
    chars.into_iter().collect()
}

fn edits() -> impl Strategy<Value = Vec<(usize, usize, String)>> {
    let with = prop_oneof![
        "[\\[\\]{}:,=\"'#&*!|>%@`~.\\- \n\t]{0,3}",
        "\\PC{0,3}",
        Just("99999999999999999999999".to_owned()),
        Just("infinity".to_owned()),
    ];
    prop::collection::vec((0..400_usize, 0..6_usize, with), 1..4)
}

/// A valid pool as a document has it.
fn pool() -> impl Strategy<Value = Value> {
    let seconds = (1..100_000_u64).prop_map(|s| format_duration(Duration::from_secs(s)));
    (
        (1..100_u64, 1..5000_u64, 0..1000_u64, any::<bool>()),
        prop::option::of(seconds.clone()),
        prop::option::of(1..1_000_000_u64),
        prop::option::of((1..1000_u64).prop_map(|mib| format!("{mib}MiB"))),
        prop::option::of(seconds),
        prop::collection::btree_map("[A-Z]{1,5}", "\\PC{0,8}", 0..3),
        prop::collection::btree_map(
            "[a-z]{1,5}",
            prop_oneof![any::<i64>().prop_map(Value::from), "\\PC{0,8}".prop_map(Value::from)],
            0..3,
        ),
    )
        .prop_map(
            |((workers, queue, prefetch, spawn), ttl, requests, memory, call, env, args)| {
                let mut pool = json!({ "adapter": "a.py", "workers": workers, "queue": queue,
                "prefetch": prefetch, "env": env, "adapter_args": args,
                "start": if spawn { "spawn" } else { "zygote" }, "lifecycle": {}, "timeouts": {} });
                let limits = [
                    ("ttl", ttl.map(Value::from)),
                    ("max_requests", requests.map(Value::from)),
                    ("max_memory", memory.map(Value::from)),
                ];
                for (key, value) in limits {
                    if let Some(value) = value {
                        pool["lifecycle"][key] = value;
                    }
                }
                if let Some(call) = call {
                    pool["timeouts"]["call"] = call.into();
                }
                if spawn {
                    pool["retry"] =
                        json!({ "attempts": workers, "kinds": ["python"], "jitter": 0.5 });
                    pool["breaker"] = json!({ "per": "command", "open": "1m" });
                    pool["rate_limit"] = json!({ "calls": queue });
                    pool["shed"] = json!({ "queue": queue });
                    pool["barrier"] = json!({});
                    pool["profile"] = "thread".into();
                    pool["strategy"] = "fill".into();
                    pool["logs"] = json!({ "stdout": "off", "lines_per_second": workers,
                        "max_line": "1KiB", "tail": prefetch });
                }
                pool
            },
        )
}

/// The same document with the keys of every table in another order, as JSON text.
fn shuffled(value: &Value, seed: u64) -> String {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<(&String, &Value)> = entries.iter().collect();
            let mix = |text: &str| {
                text.bytes()
                    .fold(seed, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
            };
            entries.sort_by_key(|(key, _)| mix(key));
            let entries: Vec<String> = entries
                .into_iter()
                .map(|(key, value)| format!("{}: {}", json!(key), shuffled(value, seed)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

fn by_name(config: &Config) -> Vec<snakepit_config::PoolConfig> {
    let mut pools = config.pools().to_vec();
    pools.sort_by(|a, b| a.name().cmp(b.name()));
    pools
}

proptest! {
    #[test]
    fn any_text_in_any_format_gives_settings_or_problems(text in "\\PC{0,60}") {
        for format in Format::ALL {
            read(&text, format);
        }
        #[cfg(feature = "elixir")]
        let _ = Translation::of_elixir(&text);
    }

    #[test]
    fn any_edit_of_a_document_gives_settings_or_problems(
        which in 0..CORPUS.len(), edits in edits()
    ) {
        let (text, format) = CORPUS[which];
        let text = edited(text, &edits);
        read(&text, format);
        // Nobody is kept from naming the wrong format.
        Format::ALL.into_iter().for_each(|format| read(&text, format));
    }

    #[cfg(feature = "elixir")]
    #[test]
    fn any_edit_of_an_elixir_file_gives_settings_or_problems(edits in edits()) {
        match Translation::of_elixir(&edited(ELIXIR, &edits)) {
            Ok(translated) => { Config::from_toml(translated.document()).unwrap(); }
            Err(error) => prop_assert!(!error.problems().is_empty()),
        }
    }

    #[test]
    fn any_variable_gives_settings_or_problems(
        path in "(POOL|POOLS|POLL|HOST)(__[A-Za-z_-]{0,12}){0,4}", value in "\\PC{0,12}"
    ) {
        let layers = Layers::new().text("[pool.default]\nadapter = 'a.py'\n", Format::Toml);
        if let Err(error) = layers.variables([(format!("SNAKEPIT_{path}"), value)]).load() {
            prop_assert!(!error.problems().is_empty());
        }
    }

    #[test]
    fn the_order_of_keys_changes_nothing_and_formats_say_the_same(
        pools in prop::collection::btree_map("[a-z]{1,6}", pool(), 1..4), seed in any::<u64>()
    ) {
        let pools: Map<String, Value> = pools.into_iter().collect();
        let host = json!({ "instance": "one", "socket_dir": "run", "watch": seed % 2 == 0,
            "shutdown_timeout": "40s", "log": "off", "adopt_orphans": true });
        let document = json!({ "pool": pools, "host": host });
        let config = Config::from_text(&document.to_string(), Format::Json).unwrap();
        prop_assert_eq!(config.host().shutdown_timeout(), Duration::from_secs(40));
        let other = Config::from_text(&shuffled(&document, seed), Format::Json).unwrap();
        prop_assert_eq!(by_name(&config), by_name(&other));
        prop_assert_eq!(config.host(), other.host());
        for format in Format::ALL {
            let again = Config::from_text(&config.to_text(format), format).unwrap();
            prop_assert_eq!(&again, &config);
            prop_assert_eq!(again.to_text(format), config.to_text(format));
        }
    }

    #[test]
    fn a_limit_that_was_set_is_the_limit(pool in pool()) {
        let document = json!({ "pool": { "default": pool } });
        let config = Config::from_text(&document.to_string(), Format::Json).unwrap();
        let got = serde_json::to_value(&config).unwrap();
        let (said, got) = (&document["pool"]["default"], &got["pool"]["default"]);
        for table in ["lifecycle", "timeouts", "logs"] {
            for (key, value) in said[table].as_object().into_iter().flatten() {
                prop_assert_eq!(&got[table][key], value, "{}.{}", table, key);
            }
        }
        for key in ["workers", "queue", "prefetch"] {
            prop_assert_eq!(&got[key], &said[key]);
        }
        prop_assert_eq!(config.pools()[0].max_workers() as u64, said["workers"].as_u64().unwrap());
    }

    #[test]
    fn no_limit_of_the_original_gets_looser(
        size in prop::option::of(1..200_u64),
        inner in prop::option::of(1..200_u64),
        cap in prop::option::of(1..200_u64),
        overflow in prop::option::of(0..50_u64),
        ttl in prop::option::of((1..1000_u64, prop::sample::select(vec![("seconds", 1), ("minutes", 60), ("hours", 3600)]))),
        requests in prop::option::of(1..100_000_u64),
        queue_ms in prop::option::of(1..100_000_u64),
        threads in prop::option::of((1..64_u64, prop::sample::select(vec!["pool", "profile", "hybrid"]))),
    ) {
        let mut document = json!({ "pool_config": {} });
        if let Some((threads, strategy)) = threads {
            document["worker_profile"] = "thread".into();
            document["threads_per_worker"] = threads.into();
            document["capacity_strategy"] = strategy.into();
        }
        if let Some(size) = size { document["pool_size"] = size.into(); }
        if let Some(size) = inner { document["pool_config"]["pool_size"] = size.into(); }
        if let Some(cap) = cap { document["max_workers"] = cap.into(); }
        if let Some(more) = overflow { document["pool_config"]["max_overflow"] = more.into(); }
        if let Some((n, (unit, _))) = ttl { document["worker_ttl"] = json!([n, unit]); }
        if let Some(n) = requests { document["worker_max_requests"] = n.into(); }
        if let Some(ms) = queue_ms { document["pool_queue_timeout"] = ms.into(); }
        let config = Config::from_text(&document.to_string(), Format::Json).unwrap();
        let pool = &config.pools()[0];
        let workers = pool.workers() as u64;
        if let Some(size) = size.or(inner) {
            prop_assert_eq!(workers, size.min(cap.unwrap_or(u64::MAX)));
        }
        prop_assert!(pool.max_workers() as u64 <= cap.unwrap_or(u64::MAX));
        prop_assert!(pool.max_workers() as u64 <= workers + overflow.unwrap_or(0));
        if let (Some((most, strategy)), Profile::Thread { threads, .. }) = (threads, pool.profile()) {
            // With `profile` the original gives a worker one call at a time.
            prop_assert_eq!(threads as u64, if strategy == "profile" { 1 } else { most });
        }
        prop_assert_eq!(pool.lifecycle().ttl.map(|age| age.as_secs()), ttl.map(|(n, (_, unit))| n * unit));
        prop_assert_eq!(pool.lifecycle().max_requests, requests);
        if let Some(ms) = queue_ms {
            prop_assert_eq!(pool.timeouts().queue, Some(Duration::from_millis(ms)));
        }
    }
}
