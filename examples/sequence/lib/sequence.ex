defmodule Sequence do
  @moduledoc """
  Hands out numbers, each of them once.
  """

  alias Sequence.{Label, Server}

  @doc """
  The next number.
  """
  @spec next() :: integer()
  def next, do: Server.next(Server)

  @doc """
  The next number, written for people.
  """
  @spec next_label() :: String.t()
  def next_label, do: Label.label(next())
end
