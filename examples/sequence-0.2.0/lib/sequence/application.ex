defmodule Sequence.Application do
  @moduledoc false
  use Application

  @impl true
  def start(_type, _args) do
    children = [
      {Sequence.Stash, Application.fetch_env!(:sequence, :start)},
      {Sequence.Server, Application.fetch_env!(:sequence, :step)}
    ]

    # A server without its stash would hand out old numbers, hence the order and the strategy.
    Supervisor.start_link(children, strategy: :rest_for_one, name: Sequence.Supervisor)
  end
end
