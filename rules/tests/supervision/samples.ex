defmodule Sample.Plain do
  use Application

  @impl true
  def start(_type, _args) do
    children = [
      {Sample.Stash, Application.fetch_env!(:sample, :start)},
      {Sample.Named, Application.get_env(:sample, :step) || :one},
      Sample.Bare,
      Supervisor.child_spec({Sample.Bare, [:second]}, id: :second),
      %{id: :map, start: {Sample.Bare, :start_link, [[]]}, restart: :temporary},
      {Registry, keys: :unique, name: Sample.Registry},
      {DynamicSupervisor, name: Sample.Dynamic, strategy: :one_for_one},
      {Task.Supervisor, name: Sample.Tasks}
    ]

    Supervisor.start_link(children, strategy: :rest_for_one, name: Sample.Supervisor)
  end
end

defmodule Sample.Stash do
  use Agent

  def start_link(number), do: Agent.start_link(fn -> number end, name: __MODULE__)
end

defmodule Sample.Bare do
  use GenServer

  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  @impl true
  def init(argument), do: {:ok, argument}
end

defmodule Sample.Named do
  use GenServer, id: :other, restart: :transient, shutdown: 100

  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  @impl true
  def init(argument), do: {:ok, argument}
end

defmodule Sample.Tree do
  use Supervisor

  def start_link(options), do: Supervisor.start_link(__MODULE__, options, name: __MODULE__)

  @impl true
  def init(options) do
    children = [{Sample.Bare, options}, {Sample.Stash, options[:number]}]
    Supervisor.init(children, strategy: :one_for_all, max_restarts: 7)
  end
end

defmodule Sample.Parts do
  use Application

  def start(_type, _args) do
    if System.get_env("SAMPLE_LOUD"), do: IO.puts("starting")
    :ok = Sample.Elsewhere.prepare()

    children =
      [Sample.Bare] ++
        named([:a, :b]) ++
        for(x <- [:c, :d], do: Supervisor.child_spec({Sample.Bare, x}, id: x)) ++
        Enum.map([:e], &%{id: &1, start: {Sample.Bare, :start_link, [&1]}}) ++
        Sample.Elsewhere.more() ++
        Enum.reject([nil, Sample.Stash], &is_nil/1)

    start(children)
  end

  defp named(names) do
    for name <- names,
        name != :b,
        do: %{id: name, start: {Sample.Bare, :start_link, ["x#{name}"]}}
  end

  defp start(children) do
    options =
      Keyword.merge([strategy: :one_for_one, max_seconds: 9], name: Sample.Parts.Supervisor)

    Supervisor.start_link(children, options)
  end
end

defmodule Sample.Elsewhere do
  def prepare, do: :ok
  def more, do: [{Sample.Named, :more}]
end

defmodule Sample.Conditional do
  use Application

  def start(_type, _args) do
    children =
      if Application.get_env(:sample, :extra),
        do: [Sample.Bare, Sample.Stash],
        else: [Sample.Bare]

    Supervisor.start_link(children, strategy: :one_for_one, name: Sample.Conditional.Supervisor)
  end
end

defmodule Sample.Agreeing do
  use Application

  def start(type, _args) do
    extra =
      case type do
        :normal -> [Sample.Stash]
        {:takeover, _} -> [Sample.Stash]
      end

    argument = if type == :normal, do: 1, else: 2
    Supervisor.start_link([{Sample.Bare, argument} | extra], strategy: :one_for_one)
  end
end

defmodule Sample.Local do
  use Application

  def start(_type, args) do
    me = self()
    table = :ets.new(:table, [])

    children = [
      {Agent, fn -> args end},
      {Sample.Bare, me},
      {Sample.Stash, table},
      {Sample.Named, args},
      {Sample.Missing, []}
    ]

    Supervisor.start_link(children, strategy: :one_for_one)
  end
end

defmodule Sample.Looping do
  use Application

  def start(_type, args) do
    spin(args, 0)

    try do
      Sample.Elsewhere.prepare()
    rescue
      e -> IO.inspect(e)
    end

    receive do
      :go -> :ok
    after
      0 -> :ok
    end

    Supervisor.start_link([{Sample.Bare, key: spin(args, 1)}], strategy: :one_for_one)
  end

  defp spin([], n), do: n
  defp spin([x | rest], n), do: if(x > n, do: spin(rest, n + 1), else: spin(rest, spin(rest, n)))
end

defmodule Sample.Web do
  use Application
  require Logger

  @impl true
  def start(_type, _args) do
    topologies = Application.get_env(:cluster, :topologies, [])
    :ok = Sample.Elsewhere.prepare()
    Logger.info("starting with #{inspect(topologies)}")

    children =
      [
        {Sample.Bare, [topologies, [name: Sample.Cluster]]},
        {Sample.Named, query: Application.get_env(:sample, :query) || :ignore},
        {Sample.Stash, options: [port: port()]},
        {PartitionSupervisor, child_spec: Task.Supervisor, name: Sample.Web.Tasks},
        {Task, &Sample.Elsewhere.prepare/0}
      ] ++ pools() ++ List.flatten([Sample.Tree, [[]]])

    name = Module.concat(__MODULE__, "Name")
    last = %{id: :last, start: {Sample.Bare, :start_link, [name]}}
    options = [strategy: :one_for_one, name: Sample.Web.Supervisor]

    case Supervisor.start_link(Enum.concat(children, [last]), options) do
      {:ok, pid} ->
        Logger.info("started")
        {:ok, pid}

      other ->
        other
    end
  end

  defp port, do: "PORT" |> System.get_env("4000") |> String.to_integer()

  defp pools do
    pools =
      for index <- 1..2 do
        Supervisor.child_spec({Sample.Bare, index: index}, id: {Sample.Bare, index})
      end

    pools |> Enum.filter(& &1) |> Enum.with_index() |> Enum.map(fn {pool, _index} -> pool end)
  end
end
