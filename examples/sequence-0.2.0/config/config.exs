import Config

config :sequence, step: 1, keep: 10
