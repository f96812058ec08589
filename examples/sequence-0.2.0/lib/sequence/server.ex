defmodule Sequence.Server do
  @moduledoc """
  The process that hands out numbers.

  Its state is `{number, step, recent}`: the number to hand out next, the distance to the one after, and the numbers
  handed out last, newest first. At `@vsn "0"` it was `{number, step}`.
  """

  use GenServer

  alias Sequence.Stash

  @vsn "1"

  @spec start_link(integer()) :: GenServer.on_start()
  def start_link(step) do
    GenServer.start_link(__MODULE__, step, name: __MODULE__)
  end

  @spec next(GenServer.server()) :: integer()
  def next(server), do: GenServer.call(server, :next)

  @spec recent(GenServer.server()) :: [integer()]
  def recent(server), do: GenServer.call(server, :recent)

  @impl true
  def init(step), do: {:ok, {Stash.get(), step, []}}

  @impl true
  def handle_call(:next, _from, {number, step, recent}) do
    # Stashed before the reply, so that a crash never hands out a number twice.
    Stash.put(number + step)
    {:reply, number, {number + step, step, Enum.take([number | recent], keep())}}
  end

  def handle_call(:recent, _from, {_number, _step, recent} = state) do
    {:reply, recent, state}
  end

  @impl true
  def code_change("0", {number, step}, _extra), do: {:ok, {number, step, []}}
  def code_change({:down, "0"}, {number, step, _recent}, _extra), do: {:ok, {number, step}}

  defp keep, do: Application.get_env(:sequence, :keep, 10)
end
