//! What a user sees of a document that is wrong: every problem, each with key path and place.

use snakepit_config::{Code, Config, PoolConfig, Position};

type Found = (Code, String, Option<(usize, usize)>);

fn problems(text: &str) -> Vec<Found> {
    let error = Config::from_toml(text).expect_err("the document is wrong");
    let place = |at: Position| (at.line, at.column);
    let problems = error.problems().iter();
    problems.map(|p| (p.code, p.path.clone(), p.position.map(place))).collect()
}

#[test]
fn all_problems_of_a_document_come_at_once_in_its_order() {
    let found = problems(
        r#"[pool.default]
profile = "thred"
workers = 0
pyhton = "python3"
heartbeat = "2"
max_payload = 5

[pool.other]
adapter = "bad name"
[pool.other.timeouts]
profile = "balancd"
call = "0s"
[pool.other.env]
"A=B" = "x"
"#,
    );
    let expected = [
        (Code::MissingRequiredFields, "default.adapter", (1, 7)),
        (Code::InvalidProfile, "default.profile", (2, 11)),
        (Code::InvalidPoolSize, "default.workers", (3, 11)),
        (Code::UnknownKey, "default.pyhton", (4, 1)),
        (Code::InvalidValue, "default.heartbeat", (5, 13)),
        (Code::InvalidValue, "default.max_payload", (6, 15)),
        (Code::InvalidValue, "other.adapter", (9, 11)),
        (Code::InvalidValue, "other.timeouts.profile", (11, 11)),
        (Code::InvalidValue, "other.timeouts.call", (12, 8)),
        (Code::InvalidValue, "other.env.A=B", (14, 9)),
    ];
    let expected = expected.map(|(code, path, place)| (code, format!("pool.{path}"), Some(place)));
    assert_eq!(found, expected);
}

#[test]
fn limits_of_a_worker_that_make_no_sense_are_named() {
    let found = problems(
        r#"[pool.default]
adapter = "a.py"
[pool.default.lifecycle]
ttl = "1ms"
max_requests = 0
max_memory = "1KiB"
memory_interval = "1d"
jitter = 0.6
max_surge = 0
max_request = 5
"#,
    );
    let expected = [
        (Code::InvalidWorkerTtl, "ttl", (4, 7)),
        (Code::InvalidWorkerMaxRequests, "max_requests", (5, 16)),
        (Code::InvalidValue, "max_memory", (6, 14)),
        (Code::InvalidValue, "memory_interval", (7, 19)),
        (Code::InvalidValue, "jitter", (8, 10)),
        (Code::InvalidValue, "max_surge", (9, 13)),
        (Code::UnknownKey, "max_request", (10, 1)),
    ];
    let path = |key| format!("pool.default.lifecycle.{key}");
    assert_eq!(found, expected.map(|(code, key, place)| (code, path(key), Some(place))));

    let found = problems(
        "[pool.default]\nadapter='a.py'\nlifecycle={ttl='soon',max_requests='x',jitter='much'}",
    );
    let codes: Vec<_> = found.into_iter().map(|(code, ..)| code).collect();
    assert_eq!(codes, [Code::InvalidWorkerTtl, Code::InvalidWorkerMaxRequests, Code::InvalidValue]);
}

#[test]
fn a_wrong_start_is_not_taken_for_the_default() {
    let error = Config::from_toml("[pool.default]\nadapter='a.py'\nstart='fork'").unwrap_err();
    assert_eq!(
        error.to_string(),
        "3:7: pool.default.start: workers are not started by `fork` here (known are: zygote, spawn)"
    );
}

#[test]
fn a_wrong_profile_names_those_that_exist() {
    let error = Config::from_toml("[pool.default]\nadapter='a.py'\nprofile='fibre'").unwrap_err();
    assert_eq!(
        error.to_string(),
        "3:9: pool.default.profile: there is no profile named `fibre` (known are: process, thread)"
    );
}

#[test]
fn settings_of_a_profile_that_the_pool_does_not_have_are_named() {
    let found = problems(
        r#"[pool.default]
adapter = "a.py"
threads = 4
gil = "warn"
[pool.shared]
adapter = "a.py"
profile = "thread"
threads = 65
gil = "on"
start = "zygote"
"#,
    );
    let expected = [
        ("default.threads", (3, 11)),
        ("default.gil", (4, 7)),
        ("shared.threads", (8, 11)),
        ("shared.gil", (9, 7)),
        ("shared.start", (10, 9)),
    ];
    let expected =
        expected.map(|(path, place)| (Code::InvalidValue, format!("pool.{path}"), Some(place)));
    assert_eq!(found, expected);
}

#[test]
fn syntax_errors_keep_line_and_column() {
    let error = Config::from_toml("[pool.default]\nadapter = \n").unwrap_err();
    let problem = &error.problems()[0];
    assert_eq!((problem.code, problem.position.unwrap().line), (Code::Syntax, 2));
}

#[test]
fn a_value_of_the_wrong_type_is_one_problem_not_two() {
    assert_eq!(
        problems("[pool.default]\nadapter = 5"),
        [(Code::InvalidValue, "pool.default.adapter".to_owned(), Some((2, 11)))]
    );
}

#[test]
fn a_document_without_pools_says_how_to_write_one() {
    let error = Config::from_toml("").unwrap_err();
    assert_eq!(error.problems()[0].code, Code::NoPoolsConfigured);
    assert!(error.to_string().contains("[pool.default]"), "{error}");
    assert_eq!(problems("poll = 1")[0].0, Code::UnknownKey);
    let error = Config::from_toml("[pools.default]\nadapter = 'a.py'").unwrap_err();
    assert!(error.to_string().contains("`[pool.NAME]`"), "it is the original's key: {error}");
    assert_eq!(problems("pool = 1")[0].0, Code::InvalidValue);
    assert_eq!(problems("[[pool]]\nname = 'a'")[0].0, Code::InvalidValue);
}

#[test]
fn two_pools_of_one_name_are_refused() {
    let pool = || PoolConfig::builder("default").adapter("a.py").build().unwrap();
    let error = Config::new([pool(), pool()]).unwrap_err();
    assert_eq!(error.problems()[0].code, Code::DuplicatePoolNames);
}

#[test]
fn a_file_is_named_in_its_problems_and_is_the_base_of_relative_paths() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pools.toml");
    let error = Config::from_file(&file).unwrap_err();
    assert_eq!(error.problems()[0].code, Code::Unreadable);
    assert!(error.to_string().contains("pools.toml: cannot read"), "{error}");

    std::fs::write(&file, "[pool.default]\nadapter = 'a.py:C'\npython = 'python3'\ncwd = 'work'")
        .unwrap();
    let config = Config::from_file(&file).unwrap();
    let pool = config.pool("default").unwrap();
    assert_eq!(pool.adapter().file().unwrap(), dir.path().join("a.py"));
    assert_eq!(pool.adapter().class(), Some("C"));
    assert_eq!(pool.cwd().unwrap(), dir.path().join("work"));
    assert_eq!(pool.python().unwrap().to_str(), Some("python3"), "a name is looked up in PATH");
}
