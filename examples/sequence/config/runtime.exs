import Config

config :sequence, start: String.to_integer(System.get_env("SEQUENCE_START", "1"))
