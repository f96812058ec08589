defmodule Sequence.Stash do
  @moduledoc """
  Remembers the number to hand out next while the server is down.
  """

  use Agent

  @spec start_link(integer()) :: Agent.on_start()
  def start_link(number) do
    Agent.start_link(fn -> number end, name: __MODULE__)
  end

  @spec get() :: integer()
  def get, do: Agent.get(__MODULE__, & &1)

  @spec put(integer()) :: :ok
  def put(number), do: Agent.update(__MODULE__, fn _ -> number end)
end
