defprotocol Sequence.Label do
  @moduledoc """
  How a value is written for people.
  """

  @spec label(t) :: String.t()
  def label(value)
end

defimpl Sequence.Label, for: Integer do
  def label(number), do: "number #{number}"
end
