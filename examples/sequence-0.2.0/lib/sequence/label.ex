defprotocol Sequence.Label do
  @moduledoc """
  How a value is written for people.
  """

  @spec label(t) :: String.t()
  def label(value)
end

defimpl Sequence.Label, for: Integer do
  def label(number), do: "##{number}"
end

defimpl Sequence.Label, for: List do
  def label([]), do: "none"
  def label(values), do: Enum.map_join(values, ", ", &Sequence.Label.label/1)
end
