defmodule Relgraph.JSON do
  @moduledoc "Writes JSON: the Elixir versions that relgraph drives do not all have a module for it."

  @doc "Encodes maps, keyword-free lists, strings, atoms, integers, booleans and nil."
  @spec encode(term) :: iodata
  def encode(nil), do: "null"
  def encode(true), do: "true"
  def encode(false), do: "false"
  def encode(atom) when is_atom(atom), do: string(Atom.to_string(atom))
  def encode(integer) when is_integer(integer), do: Integer.to_string(integer)
  def encode(binary) when is_binary(binary), do: string(binary)

  def encode(list) when is_list(list),
    do: [?[, list |> Enum.map(&encode/1) |> Enum.intersperse(?,), ?]]

  def encode(map) when is_map(map) do
    pairs =
      map
      |> Enum.sort()
      |> Enum.map(fn {key, value} -> [string(to_string(key)), ?:, encode(value)] end)

    [?{, Enum.intersperse(pairs, ?,), ?}]
  end

  defp string(binary) do
    escaped =
      for char <- String.to_charlist(valid(binary)), into: "" do
        case char do
          ?" -> "\\\""
          ?\\ -> "\\\\"
          c when c < 0x20 -> "\\u" <> String.pad_leading(Integer.to_string(c, 16), 4, "0")
          c -> <<c::utf8>>
        end
      end

    [?", escaped, ?"]
  end

  defp valid(binary), do: if(String.valid?(binary), do: binary, else: inspect(binary))
end
