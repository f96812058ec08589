defmodule Front do
  @moduledoc "Shows what `Tally` counts."

  defstruct [:choice, :votes]

  @greeting Application.compile_env!(:front, :greeting)

  @doc "All results, a line each."
  def show do
    lines = for {choice, votes} <- Tally.votes(), do: %Front{choice: choice, votes: votes}

    Enum.map_join(
      ["#{Tally.question()} #{@greeting}:" | Enum.map(lines, &Tally.Line.line/1)],
      "\n",
      & &1
    )
  end
end

defimpl Tally.Line, for: Front do
  def line(%{choice: choice, votes: votes}), do: "  #{choice}: #{votes}"
end
