defmodule Sequence.Server do
  @moduledoc """
  The process that hands out numbers.

  Its state is `{number, step}`: the number to hand out next and the distance to the one after.
  """

  use GenServer

  alias Sequence.Stash

  @vsn "0"

  @spec start_link(integer()) :: GenServer.on_start()
  def start_link(step) do
    GenServer.start_link(__MODULE__, step, name: __MODULE__)
  end

  @spec next(GenServer.server()) :: integer()
  def next(server), do: GenServer.call(server, :next)

  @impl true
  def init(step), do: {:ok, {Stash.get(), step}}

  @impl true
  def handle_call(:next, _from, {number, step}) do
    # Stashed before the reply, so that a crash never hands out a number twice.
    Stash.put(number + step)
    {:reply, number, {number + step, step}}
  end
end
