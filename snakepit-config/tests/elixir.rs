//! The original's Elixir files: literal data is taken, all else is listed with its line.
#![cfg(feature = "elixir")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use snakepit_config::{Code, Config, RemarkKind, Translation};

const CONFIG: &str = r##"# Everything a config file of a real program has.
import Config

root = Path.expand("..", __DIR__)

config :logger, level: :info

config :snakepit,
  # one pool for requests, one for numbers
  pooling_enabled: true,
  pools: [
    %{
      name: :api,
      worker_profile: :process,
      pool_size: 1_00,
      adapter_module: Snakepit.Adapters.GRPCPython,
      adapter_args: ["--adapter", "shop.adapters.Api"],
      adapter_env: [{"PYTHONUNBUFFERED", "1"}, {"A\tB", "x\"y"}]
    },
    %{
      "name" => "numbers",
      :worker_profile => :thread,
      pool_size: 0x2,
      threads_per_worker: 16,
      worker_ttl: {3600, :seconds},
      worker_max_requests: :infinity,
      adapter_args: ~w(--adapter shop.adapters.Numbers)
    }
  ],
  grpc_port: 50051,
  python_executable: Path.join(root, "bin/python"),
  my_own_key: 5,
  default_timeout: String.to_integer(System.get_env("TIMEOUT", "1000"))

config :snakepit, :pool_queue_timeout, 5_000

if config_env() == :prod do
  config :snakepit, pool_max_queue_size: 5
end

import_config "#{config_env()}.exs"
"##;

#[test]
fn literal_data_is_taken_and_the_rest_is_listed_with_its_line() {
    let translated = Translation::of_elixir(CONFIG).unwrap_or_else(|error| panic!("{error}"));
    let config = Config::from_toml(translated.document()).unwrap();
    let [api, numbers] = config.pools() else { panic!("{}", translated.document()) };
    assert_eq!((api.name(), api.workers()), ("api", 100));
    assert_eq!(api.adapter().to_string(), "shop.adapters:Api");
    assert_eq!(api.env()["PYTHONUNBUFFERED"], "1");
    assert_eq!(api.env()["A\tB"], "x\"y");
    assert_eq!(api.timeouts().queue.unwrap().as_secs(), 5);
    assert_eq!((numbers.name(), numbers.workers()), ("numbers", 2));
    assert_eq!(numbers.profile().slots(), 16);
    assert_eq!(numbers.lifecycle().ttl.unwrap().as_secs(), 3600);
    assert_eq!(numbers.adapter().to_string(), "shop.adapters:Numbers");

    let left: Vec<_> = translated
        .remarks()
        .iter()
        .filter(|remark| remark.kind == RemarkKind::NotTakenOver)
        .map(|remark| (remark.position.unwrap().line, remark.key.as_str()))
        .collect();
    let expected = [
        (31, "python_executable"),
        (32, "my_own_key"),
        (33, "default_timeout"),
        (37, "if"),
        (41, "import_config"),
    ];
    assert_eq!(left, expected, "{:#?}", translated.remarks());
    let text = translated.remarks().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(text.contains("31:22: python_executable was not taken over: `Path.join(root, \"bin/python\")` is no literal data"), "{text}");
    assert!(text.contains("grpc_port has no meaning here"), "{text}");
}

#[test]
fn the_flat_form_with_a_computed_size_takes_the_default() {
    let translated = Translation::of_elixir(
        "import Config\nconfig :snakepit,\n  pooling_enabled: true,\n  adapter_module: Snakepit.Adapters.GRPCPython,\n  \
         pool_config: %{\n    pool_size: System.schedulers_online() * 2,\n    max_overflow: 0\n  },\n  \
         worker_ttl: {1, :hours}\n",
    )
    .unwrap();
    let config = Config::from_toml(translated.document()).unwrap();
    let pool = config.pool("default").unwrap();
    assert_eq!(pool.lifecycle().ttl.unwrap().as_secs(), 3600);
    let left = translated.remarks().iter().find(|remark| remark.key == "pool_config.pool_size");
    assert_eq!(left.unwrap().position.unwrap().line, 6);
}

#[test]
fn keys_of_later_calls_count_and_maps_replace_each_other() {
    let translated = Translation::of_elixir(
        "config :snakepit, pool_size: 2, pool_config: %{max_overflow: 5, pool_size: 3}\n\
         config :snakepit, pool_size: 4, pool_config: %{strategy: :lifo}\n",
    )
    .unwrap();
    let config = Config::from_toml(translated.document()).unwrap();
    let pool = config.pool("default").unwrap();
    assert_eq!((pool.workers(), pool.max_workers()), (4, 4));
}

#[test]
fn problems_stand_where_they_are_in_the_file() {
    let error = Translation::of_elixir(
        "import Config\nconfig :snakepit,\n  pool_size: 0,\n  worker_ttl: {0, :days}\n",
    )
    .unwrap_err();
    let found: Vec<_> = error
        .problems()
        .iter()
        .map(|problem| (problem.code, problem.position.unwrap().line))
        .collect();
    assert_eq!(found, [(Code::InvalidPoolSize, 3), (Code::InvalidWorkerTtl, 4)]);
    for (text, code) in [
        ("config :snakepit, [", Code::Syntax),
        ("defmodule X do\nend end", Code::Syntax),
        ("", Code::NoPoolsConfigured),
        ("config :other, pool_size: 3", Code::NoPoolsConfigured),
    ] {
        let error = Translation::of_elixir(text).unwrap_err();
        assert_eq!(error.problems()[0].code, code, "{text}");
    }
}

#[test]
fn no_file_costs_more_than_its_length() {
    for text in [
        format!("config :snakepit, a: {}1{}", "[".repeat(20_000), "]".repeat(20_000)),
        "[".repeat(50_000),
        "#{".repeat(20_000),
        format!("x = {}1", "-".repeat(20_000)),
    ] {
        assert!(Translation::of_elixir(&text).is_err(), "{}", &text[..20]);
    }
}
