defmodule Relgraph.Compile do
  @moduledoc """
  Compiles one application from its own sources, as `mix deps.compile` does a dependency and `mix compile` the project.

  What the application may see of others is on the code path that the request names, and nowhere else.
  """

  # As `mix deps.compile` has them. What the application may see is on the code path, so that nothing has to be looked for.
  @options ["--from-mix-deps-compile", "--no-archives-check"]

  @doc "Compiles `request.app`, found at `request.dest`, into `request.build`."
  @spec run(map) :: map
  def run(request) do
    for path <- request.code_paths, do: Code.prepend_path(path)
    load_configured(request)

    answer =
      case request do
        # Mix leaves it alone, too, and asks for no more than an empty place.
        %{command: false} -> File.mkdir_p!(Path.join(request.build, "ebin"))
        %{command: command} when is_binary(command) -> command(request, command)
        %{manager: :mix} -> mix(request)
        %{manager: :rebar3} -> rebar3(request)
        %{manager: :make} -> make(request)
      end

    unless request.root, do: check(request)
    if is_map(answer), do: answer, else: %{}
  end

  # What Mix looks at when a dependency was compiled: whether it is the application, in the version, that was asked for.
  defp check(request) do
    dep = Relgraph.Dependencies.own(request)

    unless dep.opts[:app] == false do
      file = dep.opts[:app] || "ebin/#{dep.app}.app"

      case status(Path.expand(file, request.build), dep) do
        {:ok, _} ->
          :ok

        status ->
          said = %{dep | status: status} |> Mix.Dep.format_status() |> to_string()
          Mix.raise("dependency #{inspect(dep.app)}: #{said}")
      end
    end
  end

  defp status(file, dep) do
    app = dep.app

    with {:ok, [{:application, ^app, properties}]} <- :file.consult(file),
         {:vsn, version} when is_list(version) <- List.keyfind(properties, :vsn, 0) do
      version = to_string(version)

      case Mix.Dep.Loader.vsn_match(dep.requirement, version, app) do
        {:ok, true} -> {:ok, version}
        {:ok, false} -> {:nomatchvsn, version}
        {:error, error} -> {error, version}
      end
    else
      {:ok, _} -> {:invalidapp, file}
      {:error, _} -> {:noappfile, {file, other(file)}}
      {:vsn, version} -> {:invalidvsn, version}
      nil -> {:invalidvsn, nil}
    end
  end

  defp other(file) do
    case file |> Path.dirname() |> Path.join("*.app") |> Path.wildcard() do
      [other] -> other
      _ -> nil
    end
  end

  # Logger reads its options when it starts; Mix starts it with the configuration loaded.
  defp load_configured(_request), do: :ok

  defp mix(%{root: true} = request) do
    # What a project builds in a folder that is not its own is built where the others are.
    elsewhere =
      if request.builds_outside, do: [build_path: Path.dirname(request.env_path)], else: []

    config = [consolidate_protocols: false] ++ elsewhere

    Mix.Project.in_project(request.app, request.dest, config, fn module ->
      Relgraph.Dependencies.put(module, request)
      Mix.Task.run("compile", options())
      no_warn_undefined(Mix.Project.config())
    end)
  end

  # The umbrella's own applications are the user's: their warnings may be errors. What else is visible than what an
  # application declares, Mix leaves on the code path of a dependency.
  defp mix(request) do
    options =
      if request.from_umbrella,
        do: @options,
        else: @options ++ ["--no-warnings-as-errors"]

    unless Map.get(request, :system_env, []) == [], do: load_with_env(request)

    Relgraph.Dependencies.in_dependency(request, fn ->
      Mix.Task.run("compile", options ++ ["--no-code-path-pruning"])
      no_warn_undefined(Mix.Project.config())
    end)
  end

  # What `:system_env` says is there when Mix loads the `mix.exs` of a dependency, and for programs; not while Mix compiles it.
  # Loaded once, the module stays in Mix's cache.
  defp load_with_env(request) do
    before = for {name, _} <- request.system_env, do: {name, System.get_env(name)}
    System.put_env(request.system_env)

    try do
      Relgraph.Dependencies.in_dependency(request, fn -> :ok end)
    after
      System.put_env(before)
    end
  end

  # What the compiler is told not to complain about when it is not there, in every module of the application.
  defp no_warn_undefined(config) do
    in_options =
      case config[:elixirc_options][:no_warn_undefined] do
        all when all in [nil, :all] -> []
        modules -> List.wrap(modules)
      end

    modules =
      for one <- List.wrap(config[:xref][:exclude]) ++ in_options, uniq: true do
        case one do
          {module, function, arity} -> "#{module}.#{function}/#{arity}"
          module -> to_string(module)
        end
      end

    %{no_warn_undefined: modules}
  end

  # An alias runs what it names, `compile` without options among it: dependencies have been looked at by then.
  defp options do
    if Keyword.has_key?(Mix.Project.config()[:aliases] || [], :compile) do
      Mix.Task.run("loadpaths", ["--no-deps-check", "--no-archives-check"])
      []
    else
      @options
    end
  end

  defp rebar3(request) do
    structure(request)

    linked =
      for dir <- ~w(include priv),
          source = Path.join(request.dest, dir),
          File.dir?(source),
          do: dir

    config_path = Path.join(request.build, "mix.rebar.config")
    File.write!(config_path, request.rebar_config)

    rebar3 =
      request[:rebar3] ||
        Mix.raise("rebar3 is needed to build #{request.app}, and is not in PATH")

    shell(
      request,
      "#{rebar3} bare compile --paths #{Path.join(request.env_path, "lib/*/ebin")}",
      [
        {"REBAR_BARE_COMPILER_OUTPUT_DIR", request.build},
        {"REBAR_CONFIG", config_path},
        {"REBAR_PROFILE", "prod"},
        {"TERM", "dumb"}
      ]
    )

    File.rm!(config_path)

    # Where Mix has a link to the sources, what rebar3 has written among them since is there as well.
    for dir <- linked,
        do: copy(Path.join(request.dest, [dir, "/."]), Path.join(request.build, dir))

    late_priv(request)
  end

  defp make(request) do
    erlang_mk? = File.regular?(Path.join(request.dest, "erlang.mk"))
    shell(request, if(erlang_mk?, do: "make clean && make", else: "make"), [{"IS_DEP", "1"}])
    structure(request)
  end

  defp command(request, command) do
    shell(request, command, [])
    structure(request)
  end

  # What Mix symlinks into _build is copied: nothing that a build writes may end in a source folder.
  defp structure(request) do
    for dir <- ~w(ebin include priv) do
      source = Path.join(request.dest, dir)
      target = Path.join(request.build, dir)
      if File.dir?(source) and not File.exists?(target), do: copy(source, target)
    end

    File.mkdir_p!(Path.join(request.build, "ebin"))
  end

  defp late_priv(request) do
    source = Path.join(request.dest, "priv")
    target = Path.join(request.build, "priv")
    if File.dir?(source) and not File.exists?(target), do: copy(source, target)
  end

  defp copy(source, target) do
    File.mkdir_p!(Path.dirname(target))
    {_, 0} = System.cmd("cp", ["-RL", source, target])
  end

  defp shell(request, command, env) do
    libs = Path.join(request.env_path, "lib")
    env = [{"ERL_LIBS", libs}] ++ Enum.to_list(Map.get(request, :system_env, [])) ++ env

    File.cd!(request.dest, fn ->
      if Mix.shell().cmd(command, env: env) != 0 do
        Mix.raise("could not compile dependency #{inspect(request.app)}: \"#{command}\" failed")
      end
    end)
  end
end
