defmodule Relgraph.Dependencies do
  @moduledoc """
  Mix's own list of dependencies, as far as one application may see it, made from what the project's description says.

  Mix asks it while it compiles: which applications stay on the code path (since Elixir 1.15), which of them are started,
  where they are built. With the list in Mix's cache, no `mix.exs` of another application has to be there to answer.
  """

  defmodule Parent do
    @moduledoc "The project that a dependency is compiled for: it hands down its configuration, as `Mix.Project.deps_config/1` does."

    @doc "As in any `mix.exs`."
    @spec project() :: keyword
    def project, do: :persistent_term.get(__MODULE__)
  end

  @doc "Puts the list into Mix's cache, for the project of that module."
  @spec put(module, map) :: :ok
  def put(module, request) do
    dependencies = Enum.map(request.dependencies, &dependency/1)

    dependencies =
      for dep <- dependencies,
          do: %{dep | deps: Enum.flat_map(dep.deps, &child(&1, dependencies))}

    # Its own entry leads to its children; it is none of its own dependencies.
    dependencies =
      if request.root, do: Enum.reject(dependencies, &(&1.app == request.app)), else: dependencies

    Mix.State.write_cache({:cached_deps, module}, {{Mix.env(), Mix.target()}, dependencies})
    :ok
  end

  @doc "Runs `fun` in the project of `request.app`, with what the parent hands down to it."
  @spec in_dependency(map, (() -> result)) :: result when result: term
  def in_dependency(request, fun) do
    :persistent_term.put(Parent, parent(request))
    Mix.Project.push(Parent, "mix.exs")
    put(Parent, request)
    dep = own(request)
    # The name of the build folder in the configuration is another one since Elixir 1.18.
    paths = [env_path: request.env_path, deps_build_path: request.env_path]
    Mix.Dep.in_dependency(dep, paths, fn _module -> fun.() end)
  after
    Mix.Project.pop()
  end

  @doc "What the list says of the application itself that is compiled."
  @spec own(map) :: Mix.Dep.t()
  def own(request) do
    request.dependencies |> Enum.map(&dependency/1) |> Enum.find(&(&1.app == request.app))
  end

  defp parent(request) do
    [app: :relgraph, deps_path: request.deps_path, lockfile: request.lockfile] ++
      decode(request.dependency_config)
  end

  defp dependency({encoded, {dest, build}}) do
    {app, requirement, manager, scm, top_level?, options, children} = decode(encoded)

    %Mix.Dep{
      app: app,
      requirement: requirement,
      manager: manager,
      scm: scm,
      top_level: top_level?,
      status: {:ok, nil},
      opts: [dest: dest, build: build] ++ options,
      deps: children
    }
  end

  defp child({app, options}, dependencies) do
    for dep <- dependencies, dep.app == app do
      %{dep | opts: Keyword.take(dep.opts, [:dest, :build]) ++ options, deps: []}
    end
  end

  defp decode(encoded), do: encoded |> Base.decode64!() |> :erlang.binary_to_term()
end
