import Config

config :tally, question: "Tabs or spaces?"
config :front, greeting: "Votes so far"
