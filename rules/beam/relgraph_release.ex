defmodule Relgraph.Release do
  @moduledoc """
  Runs the functions among the `steps:` of a release, each with what the one before it returned, as `mix release` does.

  Those before `:assemble` run where boot scripts are made, those after it in a VM of their own, with the assembled release
  in the place in which Mix assembles it. What the first hand to the others is a file.
  """

  # Stands for the folder that steps work in, which may differ from VM to VM.
  @place "@relgraph@"

  @doc "Runs the functions that stand before `:assemble`."
  @spec before(Mix.Release.t()) :: Mix.Release.t()
  def before(release) do
    settle()

    case run_functions(release) do
      %{steps: [:assemble | _]} = release ->
        release

      %{steps: steps} ->
        Mix.raise(
          "The :steps of the release have lost :assemble, what is left is: #{inspect(steps)}"
        )
    end
  end

  @doc "What such a function changed and is not followed."
  @spec warnings(Mix.Release.t(), Mix.Release.t()) :: [String.t()]
  def warnings(given, release) do
    for {option, key} <- [strip_beams: "strip", cookie: "cookie"],
        given.options[option] != release.options[option] do
      "a function among the steps of the release changes #{inspect(option)}, which comes too late here: " <>
        "say it in the release's options, or by `#{key}:` in release.yaml"
    end
  end

  @doc """
  What Mix does last when it assembles: overlays, which a function may have made, go to `overlays` in `request.out`. What
  there is to know for the functions after `:assemble` goes to `handed/release`.
  """
  @spec assembled(Mix.Release.t(), Mix.Release.t(), map) :: :ok
  def assembled(%{steps: [:assemble | steps]} = release, given, request) do
    target = Path.join(request.out, "overlays")
    File.mkdir_p!(target)
    default = Mix.Release.rel_templates_path(release, "overlays")
    default = if File.dir?(default), do: [default], else: []

    files =
      (default ++ List.wrap(release.options[:overlays]))
      |> Enum.flat_map(&File.cp_r!(&1, target))
      |> Enum.uniq()
      |> List.delete(target)
      |> Enum.map(&Path.relative_to(&1, target))

    # Functions of mix.exs are found again by where they stand, and the cookie, which is stored nowhere, by asking again.
    declared = tail(given)
    steps = if steps == declared, do: :declared, else: steps
    options = Keyword.delete(release.options, :cookie)
    release = %{release | steps: steps, options: options, overlays: files ++ release.overlays}
    folder = Path.join(request.out, "handed")
    File.mkdir_p!(folder)

    File.write!(
      Path.join(folder, "release"),
      release |> moved(request.prefix, @place) |> :relgraph_terms.encode()
    )
  end

  @doc "Runs the functions that stand after `:assemble`, on the release that lies at its place."
  @spec run(map) :: map
  def run(request) do
    given = Relgraph.Boot.release(request)
    settle()

    release =
      request.handed |> File.read!() |> :erlang.binary_to_term() |> moved(@place, request.prefix)

    steps = if release.steps == :declared, do: tail(given), else: release.steps
    options = Keyword.merge(release.options, Keyword.take(given.options, [:cookie]))
    run_functions(%{release | steps: steps, options: options})
    %{}
  end

  @doc "A function as people call it."
  @spec name(function) :: String.t()
  def name(function) do
    info = Function.info(function)
    name = Atom.to_string(info[:name])

    cond do
      info[:type] == :external -> inspect(function)
      captured = Regex.run(~r"^-fun\.(.+)/1-$", name) -> "&#{Enum.at(captured, 1)}/1"
      String.starts_with?(name, "-") -> "fn in #{inspect(info[:module])}"
      true -> "&#{name}/1"
    end
  end

  defp tail(%{steps: steps}), do: steps |> Enum.drop_while(&(&1 != :assemble)) |> Enum.drop(1)

  defp run_functions(%{steps: [step | steps]} = release) when is_function(step, 1) do
    case call(step, %{release | steps: steps}) do
      %Mix.Release{} = release ->
        run_functions(release)

      other ->
        Mix.raise(
          "Expected step #{inspect(step)} to return a Mix.Release, got: #{inspect(other)}"
        )
    end
  end

  defp run_functions(release), do: release

  defp call(step, release) do
    step.(release)
  catch
    kind, reason ->
      IO.puts(:stderr, "the release step #{name(step)} failed (#{place(step, __STACKTRACE__)})")
      :erlang.raise(kind, reason, __STACKTRACE__)
  end

  # Where it was when it failed; a call that comes last in a function leaves no trace of it.
  defp place(step, stack) do
    module = Function.info(step)[:module]

    Enum.find_value(stack, fn
      {^module, _, _, location} -> location[:line] && "#{location[:file]}:#{location[:line]}"
      _ -> nil
    end) || definition(step, module)
  end

  defp definition(step, module) do
    if module == Mix.Project.get() do
      "mix.exs:#{line(File.read!("mix.exs"), Function.info(step)[:name])}"
    else
      to_string(module.module_info(:compile)[:source] || inspect(module))
    end
  end

  defp line(text, name) do
    {_, line} =
      Macro.prewalk(Code.string_to_quoted!(text), 1, fn
        {kind, meta, [{^name, _, _} | _]} = code, 1 when kind in [:def, :defp] ->
          {code, meta[:line]}

        {:steps, steps} = code, 1 ->
          {code, first_line(steps)}

        code, line ->
          {code, line}
      end)

    line
  end

  defp first_line(quoted) do
    {_, line} =
      Macro.prewalk(quoted, 1, fn
        {_, meta, _} = code, 1 when is_list(meta) -> {code, meta[:line] || 1}
        code, line -> {code, line}
      end)

    line
  end

  # `mix release` compiles first: whoever asks for it afterwards is told that there is nothing to do. Mix has no public
  # way to say so.
  defp settle do
    done(Mix.Project.get())

    if Mix.Project.umbrella?() do
      for dep <- Mix.Dep.Umbrella.cached(),
          do: Mix.Dep.in_dependency(dep, &done/1)
    end
  end

  @doc "Makes Mix take a project as compiled, and its dependencies as loaded."
  @spec done(module) :: :ok
  def done(project) do
    mark(project, loaded() ++ compiled() ++ ["loadconfig", "release"])
  end

  @doc """
  What `mix` does first in a step of the user that is given the toolchain: it finds compiled what is compiled.

  The command line reads a file of relgraph's in the place of `mix.exs`, which reads that and calls this.
  """
  @spec task() :: :ok
  def task do
    Hex.start()
    config = Mix.Project.config()
    lib = Path.join(Mix.Project.build_path(config), "lib")
    compiled = Path.wildcard(Path.join(lib, "*/ebin"))
    for path <- compiled, do: Code.prepend_path(path)
    own = Path.join([lib, to_string(config[:app]), "ebin"])

    cond do
      compiled == [] ->
        :ok

      Mix.Project.umbrella?(config) or own in compiled ->
        mark(Mix.Project.get(), loaded() ++ compiled())

      true ->
        mark(Mix.Project.get(), loaded())
    end
  end

  defp loaded, do: ~w(loadpaths deps.loadpaths deps.precompile deps.check archive.check)

  defp compiled do
    compilers = Mix.Project.config()[:compilers] || Mix.compilers()
    ["compile", "compile.all", "compile.protocols"] ++ Enum.map(compilers, &"compile.#{&1}")
  end

  defp mark(project, tasks) do
    if Code.ensure_loaded?(Mix.TasksServer) and function_exported?(Mix.TasksServer, :run, 1) do
      for task <- tasks do
        Mix.TasksServer.run({:task, task, project})
        Mix.TasksServer.run({:alias, task, project})
      end
    end

    :ok
  end

  # The same term with the paths in it below another folder.
  defp moved(text, from, to) when is_binary(text) do
    if text == from or String.starts_with?(text, from <> "/"),
      do: String.replace_prefix(text, from, to),
      else: text
  end

  defp moved([first | _] = list, from, to) when is_integer(first) do
    case List.ascii_printable?(list) && to_string(list) do
      text when is_binary(text) -> text |> moved(from, to) |> String.to_charlist()
      false -> list
    end
  rescue
    _ in [ArgumentError, FunctionClauseError, UnicodeConversionError] -> list
  end

  defp moved([head | tail], from, to), do: [moved(head, from, to) | moved(tail, from, to)]

  defp moved(tuple, from, to) when is_tuple(tuple),
    do: tuple |> Tuple.to_list() |> moved(from, to) |> List.to_tuple()

  defp moved(map, from, to) when is_map(map),
    do: :maps.map(fn _, value -> moved(value, from, to) end, map)

  defp moved(term, _from, _to), do: term
end
