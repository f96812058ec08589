defmodule Tally.Application do
  @moduledoc false
  use Application

  @impl true
  def start(_type, _args) do
    children = [%{id: Tally, start: {Agent, :start_link, [fn -> %{} end, [name: Tally]]}}]
    Supervisor.start_link(children, strategy: :one_for_one, name: Tally.Supervisor)
  end
end
