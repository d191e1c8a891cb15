import Config

config :snakepit,
  pools: [%{name: :api, pool_size: 1_00}, %{"name" => "n", :worker_ttl => {3600, :seconds}}]
