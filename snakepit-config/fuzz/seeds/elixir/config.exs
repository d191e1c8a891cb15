# Everything a config file of a real program has.
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
