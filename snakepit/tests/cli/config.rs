//! `snakepit config`. The rules are checked in the config crate; here, that commands follow them and
//! end as they should.

use std::path::PathBuf;
use std::process::Output;

use tempfile::TempDir;

use crate::support::cli;
use crate::{json, stderr, stdout};

const DOCUMENT: &str = "[pool.default]\nadapter = \"snakepit.showcase:Showcase\"\nworkers = 2\n";

fn file(name: &str, text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

fn config(arguments: &[&str], path: &PathBuf) -> Output {
    cli().arg("config").args(arguments).arg(path).output().unwrap()
}

#[test]
fn check_ends_well_only_for_valid_settings() {
    let (_directory, path) = file("pools.toml", DOCUMENT);
    let output = config(&["check"], &path);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("1 pool, no problems: default"), "{}", stdout(&output));
    let output = config(&["--json", "check"], &path);
    assert_eq!(json(&output)["valid"], true);

    let (_directory, path) =
        file("pools.yaml", "pool:\n  default:\n    adapter: a.py\n    wrokers: 4\n");
    let output = config(&["check"], &path);
    assert_eq!(output.status.code(), Some(2));
    let shown = stderr(&output);
    assert!(
        shown.contains("pools.yaml:4:5: pool.default.wrokers: there is no such key"),
        "{shown}"
    );
    assert!(shown.contains("    wrokers: 4"), "the line itself is shown: {shown}");
    assert!(shown.contains("did you mean `workers`?"), "{shown}");
    let output = config(&["--json", "check"], &path);
    assert_eq!(output.status.code(), Some(2));
    let told: serde_json::Value = serde_json::from_str(stderr(&output)).unwrap();
    assert_eq!(told["problems"][0]["code"], "unknown_key", "{told}");
    assert_eq!(told["problems"][0]["position"]["line"], 4, "{told}");
    assert_eq!(told["error"]["kind"], "invalid_config", "{told}");
}

#[test]
fn the_environment_is_a_layer_unless_it_is_left_out() {
    let (_directory, path) = file("pools.toml", DOCUMENT);
    let with = |arguments: &[&str], value: &str| {
        let mut command = cli();
        command.arg("config").args(arguments).arg(&path);
        command.env("SNAKEPIT_POOL__DEFAULT__WORKERS", value).output().unwrap()
    };
    let output = with(&["check"], "many");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("SNAKEPIT_POOL__DEFAULT__WORKERS: pool.default.workers"));
    assert_eq!(with(&["check", "--no-env"], "many").status.code(), Some(0));

    let output = with(&["show", "--origin"], "7");
    let text = stdout(&output);
    let line = |key: &str| {
        let line =
            text.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("pool.default.workers"), "7 SNAKEPIT_POOL__DEFAULT__WORKERS");
    assert_eq!(line("pool.default.queue"), "1024 default");
    assert!(line("pool.default.adapter").ends_with("pools.toml:2:11"), "{text}");
    let output = with(&["--json", "show", "--origin"], "7");
    let settings = json(&output);
    let workers = settings.as_array().unwrap().iter().find(|s| s["path"] == "pool.default.workers");
    assert_eq!(workers.unwrap()["origin"]["layer"], "variable", "{settings}");
}

#[test]
fn show_writes_a_document_that_reads_back() {
    let (directory, path) = file("pools.toml", DOCUMENT);
    let first = config(&["show"], &path);
    for format in ["toml", "json", "yaml"] {
        let output = config(&["show", "--format", format], &path);
        let again = directory.path().join(format!("again.{format}"));
        std::fs::write(&again, &output.stdout).unwrap();
        assert_eq!(stdout(&config(&["show"], &again)), stdout(&first), "{format}");
    }
}

#[test]
fn schema_is_json() {
    let output = cli().args(["config", "schema"]).output().unwrap();
    assert_eq!(json(&output)["title"], "Snakepit settings");
}

#[test]
fn import_and_migrate_write_settings_and_list_what_became_of_each_key() {
    let (directory, path) = file(
        "config.exs",
        "import Config\n\nconfig :snakepit,\n  pooling_enabled: true,\n  pool_size: 3,\n  \
         grpc_port: 50_051,\n  worker_init_timeout: System.get_env(\"T\")\n",
    );
    let output = config(&["import"], &path);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("workers = 3"), "{}", stdout(&output));
    let told = stderr(&output);
    assert!(told.contains("config.exs:5:14: pool_size became pool.default.workers"), "{told}");
    assert!(told.contains("7:24: worker_init_timeout was not taken over"), "{told}");
    assert!(told.contains("1 of the file's settings were not taken over"), "{told}");

    let target = directory.path().join("new.toml");
    let import = ["import", "--output", target.to_str().unwrap()];
    assert_eq!(config(&import, &path).status.code(), Some(0));
    assert_eq!(config(&["check"], &target).status.code(), Some(0));
    assert_eq!(config(&import, &path).status.code(), Some(2), "an existing file is left alone");

    let (_directory, flat) = file("flat.json", r#"{"pool_size": 3, "grpc_config": {}}"#);
    let output = config(&["--json", "migrate"], &flat);
    let whole = json(&output);
    assert!(whole["document"].as_str().unwrap().contains("[pool.default]"), "{whole}");
    let kinds: Vec<_> =
        whole["remarks"].as_array().unwrap().iter().map(|r| r["kind"].clone()).collect();
    assert_eq!(kinds, ["became", "no_meaning"]);
    let (_directory, broken) = file("broken.exs", "config :snakepit, [");
    let output = config(&["import"], &broken);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("broken.exs:1:"), "{}", stderr(&output));
}

#[test]
fn init_writes_a_file_once_and_it_is_valid() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snakepit.toml");
    let output = config(&["init"], &path);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(config(&["check"], &path).status.code(), Some(0));
    assert_eq!(config(&["init"], &path).status.code(), Some(2), "it is not overwritten");
    let other = directory.path().join("other.toml");
    let output = config(&["init", "--adapter", "no adapter"], &other);
    assert_eq!(output.status.code(), Some(2));
    assert!(!other.exists());
}
