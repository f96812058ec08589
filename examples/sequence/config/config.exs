import Config

config :sequence, step: 1
