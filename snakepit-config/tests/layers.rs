//! Which layer counts, what each value's origin is, and what variables mean.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use snakepit_config::{
    Code, ConfigError, Format, HostConfig, Layers, Loaded, LogLevel, Origin, PoolConfig,
};

const DOCUMENT: &str = r#"[pool.default]
adapter = "a.py"
workers = 2
queue = 5
[pool.default.adapter_args]
Model = "small"
[pool.default.timeouts]
call = "1s"
queue = "2s"
[pool.fast-one]
adapter = "b.py"
"#;

fn layers(variables: &[(&str, &str)]) -> Layers {
    Layers::new().text(DOCUMENT, Format::Toml).variables(variables.iter().copied())
}

fn load(variables: &[(&str, &str)]) -> Loaded {
    layers(variables).load().unwrap()
}

fn fail(variables: &[(&str, &str)]) -> ConfigError {
    layers(variables).load().unwrap_err()
}

#[test]
fn each_layer_is_over_the_one_before_key_by_key() {
    let loaded = layers(&[
        ("SNAKEPIT_POOL__DEFAULT__WORKERS", "4"),
        ("SNAKEPIT_POOL__DEFAULT__QUEUE", "6"),
        ("SNAKEPIT_POOLS__DEFAULT__TIMEOUTS__CALL", "none"),
    ])
    .pool(PoolConfig::builder("default").queue(7))
    .load()
    .unwrap();
    let pool = loaded.config().pool("default").unwrap();
    assert_eq!((pool.workers(), pool.queue(), pool.prefetch()), (4, 7, 8));
    assert_eq!(pool.timeouts().call, None);
    assert_eq!(pool.timeouts().queue.unwrap().as_secs(), 2, "its neighbour stays");
    let origin = |key: &str| loaded.origin(&format!("pool.default.{key}")).to_string();
    assert_eq!(origin("adapter"), "2:11");
    assert_eq!(origin("workers"), "SNAKEPIT_POOL__DEFAULT__WORKERS");
    assert_eq!(origin("queue"), "builder");
    assert_eq!(origin("prefetch"), "default");
    assert_eq!(origin("timeouts.call"), "SNAKEPIT_POOLS__DEFAULT__TIMEOUTS__CALL");
    assert_eq!(origin("timeouts.queue"), "9:9");
    assert_eq!(origin("timeouts.drain"), "default");
    assert_eq!(origin("adapter_args.Model"), "6:9");
}

#[test]
fn a_variable_means_the_pool_and_the_argument_that_the_document_calls_so() {
    let loaded = load(&[
        ("SNAKEPIT_POOL__FAST_ONE__WORKERS", "3"),
        ("SNAKEPIT_POOL__DEFAULT__ADAPTER_ARGS__MODEL", "large"),
        ("SNAKEPIT_POOL__DEFAULT__ADAPTER_ARGS__LAYERS", "[1, 2.5, true]"),
        ("SNAKEPIT_POOL__DEFAULT__ENV__MixedCase__X", "5"),
        ("SNAKEPIT_POOL__NEW__ADAPTER", "c.py"),
        ("SNAKEPIT_POOL__NEW__LIFECYCLE__JITTER", "0.25"),
        ("SNAKEPIT_PYTHON", "no setting of a pool"),
    ]);
    let config = loaded.config();
    assert_eq!(config.pool("fast-one").unwrap().workers(), 3);
    assert_eq!(config.pool("new").unwrap().lifecycle().jitter, 0.25);
    let pool = config.pool("default").unwrap();
    assert_eq!(pool.adapter_args()["Model"], "large");
    assert_eq!(pool.adapter_args()["layers"], serde_json::json!([1, 2.5, true]));
    assert_eq!(pool.env()["MixedCase__X"], "5", "names of variables stay as they are");
}

#[test]
fn a_wrong_variable_is_named_in_its_problem() {
    let error = fail(&[
        ("SNAKEPIT_POOL__DEFAULT__WORKERS", "many"),
        ("SNAKEPIT_POOL__DEFAULT__WROKERS", "4"),
        ("SNAKEPIT_POOL__DEFAULT__HEARTBEAT", "2"),
        ("SNAKEPIT_POLL__DEFAULT__WORKERS", "4"),
        ("SNAKEPIT_POOL__DEFAULT", "4"),
        ("SNAKEPIT_POOL__DEFAULT__CWD__X", "4"),
    ]);
    let found: Vec<_> = error
        .problems()
        .iter()
        .map(|p| (p.code, p.variable.as_deref().unwrap().trim_start_matches("SNAKEPIT_")))
        .collect();
    for expected in [
        (Code::InvalidPoolSize, "POOL__DEFAULT__WORKERS"),
        (Code::UnknownKey, "POOL__DEFAULT__WROKERS"),
        (Code::InvalidValue, "POOL__DEFAULT__HEARTBEAT"),
        (Code::UnknownKey, "POLL__DEFAULT__WORKERS"),
        (Code::UnknownKey, "POOL__DEFAULT"),
        (Code::InvalidValue, "POOL__DEFAULT__CWD__X"),
    ] {
        assert!(found.contains(&expected), "{expected:?} in {found:?}");
    }
    assert_eq!(found.len(), 6, "{error}");
    assert!(error.to_string().contains("SNAKEPIT_POOL__DEFAULT__WROKERS: pool.default.wrokers: there is no such key (did you mean `workers`?)"), "{error}");
}

#[test]
fn two_variables_for_one_setting_are_refused() {
    let error =
        fail(&[("SNAKEPIT_POOL__DEFAULT__QUEUE", "1"), ("SNAKEPIT_POOLS__default__queue", "2")]);
    assert_eq!(error.problems().len(), 1);
    assert!(error.to_string().contains("another variable"), "{error}");
}

#[test]
fn relative_files_of_a_variable_are_the_callers() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pools.yml");
    std::fs::write(&file, "pool:\n  default:\n    adapter: a.py\n    cwd: work\n").unwrap();
    let loaded = Layers::new()
        .file(&file)
        .variables([("SNAKEPIT_POOL__DEFAULT__CWD", "elsewhere")])
        .load()
        .unwrap();
    let pool = loaded.config().pool("default").unwrap();
    assert_eq!(pool.adapter().file().unwrap(), directory.path().join("a.py"));
    assert_eq!(pool.cwd().unwrap().to_str(), Some("elsewhere"));
    let Origin::File { file: Some(origin), position } = loaded.origin("pool.default.adapter")
    else {
        panic!("it stands in the file");
    };
    assert_eq!((origin.as_str(), position.line), (file.to_str().unwrap(), 3));
}

#[test]
fn builder_calls_may_add_a_pool_and_their_problems_come_with_the_others() {
    let loaded = layers(&[]).pool(PoolConfig::builder("new").adapter("c.py")).load().unwrap();
    assert_eq!(loaded.config().pools().len(), 3);
    let error = layers(&[("SNAKEPIT_POOL__DEFAULT__QUEUE", "0")])
        .pool(PoolConfig::builder("new"))
        .load()
        .unwrap_err();
    let codes: Vec<_> = error.problems().iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [Code::InvalidValue, Code::MissingRequiredFields]);
}

#[test]
fn the_hosts_settings_have_layers_and_origins_too() {
    let text = "[host]\ninstance = 'one'\nlog = 'warn'\nsocket_dir = 'run'\nwatch = true\n\
                [pool.default]\nadapter = 'a.py'\n";
    let loaded = Layers::new()
        .text(text, Format::Toml)
        .variables([("SNAKEPIT_HOST__INSTANCE", "two"), ("SNAKEPIT_HOST__WATCH", "false")])
        .host(HostConfig::builder().log(LogLevel::Debug))
        .load()
        .unwrap();
    let host = loaded.config().host();
    assert_eq!((host.instance(), host.log(), host.watch()), (Some("two"), LogLevel::Debug, false));
    assert_eq!(host.socket_dir().unwrap().to_str(), Some("run"));
    assert_eq!(loaded.origin("host.socket_dir").to_string(), "4:14");
    assert_eq!(loaded.origin("host.instance").to_string(), "SNAKEPIT_HOST__INSTANCE");
    assert_eq!(loaded.origin("host.log"), Origin::Builder);
    assert_eq!(loaded.origin("host.shutdown_timeout"), Origin::Default);
}

#[test]
fn a_host_is_looked_for_whatever_its_pools_have_become() {
    let broken = "[host]\ninstance = 'one'\n[pool.default]\nworkers = 0\n";
    let host = Layers::new().text(broken, Format::Toml).load_host().unwrap();
    assert_eq!(host.instance(), Some("one"));
    let none = Layers::new().variables([("SNAKEPIT_HOST__SOCKET_DIR", "/run/x")]).load_host();
    assert_eq!(none.unwrap().socket_dir().unwrap().to_str(), Some("/run/x"));
    let wrong = Layers::new().text("[host]\nlog = 'loud'\ninstance = 1", Format::Toml).load_host();
    let paths: Vec<_> = wrong.unwrap_err().problems().iter().map(|p| p.path.clone()).collect();
    assert_eq!(paths, ["host.log", "host.instance"]);
}
