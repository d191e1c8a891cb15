import Config
config :snakepit, adapter_args: ~w(--adapter a.B), worker_ttl: :infinity, x: ["a": 1, b: "\t#{y}"]
