import Config

if question = System.get_env("QUESTION") do
  config :tally, question: question
end
