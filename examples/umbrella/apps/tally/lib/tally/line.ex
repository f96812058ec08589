defprotocol Tally.Line do
  @moduledoc "How a result is written in one line. Whoever has results implements it."

  @doc "The line."
  def line(result)
end
