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
    System.put_env(Map.get(request, :system_env, []))

    case request do
      %{command: false} -> structure(request)
      %{command: command} when is_binary(command) -> command(request, command)
      %{manager: :mix} -> mix(request)
      %{manager: :rebar3} -> rebar3(request)
      %{manager: :make} -> make(request)
    end

    %{}
  end

  # Logger reads its options when it starts; Mix starts it with the configuration loaded.
  defp load_configured(_request), do: :ok

  defp mix(%{root: true} = request) do
    Mix.Project.in_project(request.app, request.dest, [consolidate_protocols: false], fn module ->
      Relgraph.Dependencies.put(module, request)
      Mix.Task.run("compile", @options)
    end)
  end

  defp mix(request) do
    Relgraph.Dependencies.in_dependency(request, fn ->
      Mix.Task.run("compile", @options ++ ["--no-warnings-as-errors"])
    end)
  end

  defp rebar3(request) do
    structure(request)
    config = request.dest |> Mix.Rebar.load_config() |> Mix.Rebar.dependency_config()
    config_path = Path.join(request.build, "mix.rebar.config")
    File.write!(config_path, Mix.Rebar.serialize_config(config))

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
