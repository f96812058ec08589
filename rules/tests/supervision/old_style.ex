defmodule Sample.OldStyle do
  import Supervisor.Spec

  def start_link do
    children = [
      worker(Sample.Bare, [[]]),
      supervisor(Sample.Tree, [[]], id: :tree, restart: :transient)
    ]

    Supervisor.start_link(children, strategy: :one_for_one, name: Sample.OldStyle)
  end
end
