defmodule Tally do
  @moduledoc "Counts votes."

  @doc "The question that is voted on."
  def question, do: Application.fetch_env!(:tally, :question)

  @doc "Counts one vote."
  def vote(choice), do: Agent.update(__MODULE__, &Map.update(&1, choice, 1, fn n -> n + 1 end))

  @doc "Votes by choice."
  def votes, do: Agent.get(__MODULE__, & &1)
end
