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

  @doc """
  The numbers handed out last, newest first.
  """
  @spec recent() :: [integer()]
  def recent, do: Server.recent(Server)

  @doc """
  The numbers handed out last, written for people.
  """
  @spec recent_label() :: String.t()
  def recent_label, do: Label.label(recent())
end
