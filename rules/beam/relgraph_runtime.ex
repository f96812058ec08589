defmodule Relgraph.Runtime do
  @moduledoc """
  Reads the configuration of a release as a node does when it starts, in a VM that has the variables of an environment file.

  `Config.Provider` does this at boot and ends the node at the first thing that is wrong. Here each provider is asked in
  the same order and with the same arguments, and what goes wrong is told.
  """

  @doc "Reads the file `request` in the folder, and writes the answer to the file `response` there, as an external term."
  @spec main(Path.t()) :: no_return
  def main(folder) do
    {:ok, terms} = :file.consult(String.to_charlist(Path.join(folder, "request")))
    request = Map.new(terms)
    answer = answer(request)
    File.write!(Path.join(folder, "response"), :erlang.term_to_binary(answer))
    :erlang.halt(0, flush: true)
  end

  defp answer(request) do
    for path <- request.code_paths, do: Code.prepend_path(path)
    {:ok, [config]} = :file.consult(String.to_charlist(request.sys_config))
    for app <- request.applications, do: Application.load(app)
    Application.put_all_env(config, persistent: true)

    case Application.fetch_env(:elixir, :config_provider_init) do
      {:ok, provider} -> providers(provider, config, request)
      :error -> %{asked: [], missing: [], errors: [], compiled: []}
    end
  end

  defp providers(provider, config, request) do
    collector = spawn_link(fn -> collect(%{}) end)
    trace(collector)
    start = Config.Reader.merge(config, provider.extra_config)
    {missing, outcome} = attempt(provider, start, request, [])
    delivered = :erlang.trace_delivered(:all)

    receive do
      {:trace_delivered, :all, ^delivered} -> send(collector, {:stop, self()})
    end

    asked =
      receive do
        {:asked, asked} -> Map.to_list(asked)
      end

    {errors, compiled} =
      case outcome do
        {:ok, final} -> {reserved(provider, config, final), compiled(provider, final)}
        {:error, error} -> {[error], []}
        :unknown -> {[], []}
      end

    %{asked: asked, missing: missing, errors: errors, compiled: compiled}
  end

  # A variable that is not set is one of several, as a rule: with something in its place, the next one is found. What goes
  # wrong after that may be the fault of what was put there, and is not told.
  defp attempt(provider, config, request, missing) do
    case run(provider, config, request) do
      {:missing, name, line} when length(missing) < 200 ->
        if List.keymember?(missing, name, 0) do
          {Enum.reverse(missing), :unknown}
        else
          System.put_env(name, "0")
          attempt(provider, config, request, [{name, line} | missing])
        end

      outcome when missing == [] ->
        {[], outcome}

      _ ->
        {Enum.reverse(missing), :unknown}
    end
  end

  defp run(provider, config, request) do
    final =
      Enum.reduce(provider.providers, config, fn {module, state}, config ->
        Process.put(:relgraph_provider, module)
        module.load(config, state)
      end)

    {:ok, final}
  rescue
    error in [System.EnvError] ->
      {:missing, error.env, asking(request, error.env)}

    error ->
      {:error, {Process.get(:relgraph_provider), line(error, request), message(error)}}
  catch
    kind, reason ->
      text = Exception.format_banner(kind, reason)
      {:error, {Process.get(:relgraph_provider), line(nil, request), text}}
  end

  # What a function was called with may be a secret, and is not in the message of its clauses.
  defp message(error), do: "(#{inspect(error.__struct__)}) #{Exception.message(error)}"

  # The line of runtime.exs that names a variable.
  defp asking(request, name) do
    {_, line} =
      Macro.prewalk(quoted(request), 0, fn
        {{:., _, [_, function]}, meta, [^name | _]} = call, 0
        when function in [:fetch_env!, :fetch_env, :get_env] ->
          {call, meta[:line] || 0}

        other, line ->
          {other, line}
      end)

    line
  end

  # The line of the expression at which it ends. Before Elixir 1.15 a stack trace does not tell: the expressions are evaluated
  # again, each time one more of them.
  defp line(%{line: line}, _request) when is_integer(line), do: line

  defp line(_error, request) do
    if Process.get(:relgraph_provider) == Config.Reader and File.regular?(request.runtime) do
      text = File.read!(request.runtime)
      starts = expressions(quoted(request))
      lines = String.split(text, "\n")
      ends = Enum.map(Enum.drop(starts, 1), &(&1 - 1)) ++ [length(lines)]

      Enum.zip(starts, ends)
      |> Enum.find_value(0, fn {first, last} ->
        contents = lines |> Enum.take(last) |> Enum.join("\n")
        if not evaluates?(request, contents), do: first
      end)
    else
      0
    end
  end

  defp evaluates?(request, contents) do
    opts = [env: request.env, target: request.target, imports: :disabled]
    Config.Reader.eval!(request.runtime, contents, opts)
    true
  rescue
    _ -> false
  catch
    _, _ -> false
  end

  defp quoted(request) do
    case File.read(request.runtime) do
      {:ok, text} ->
        case Code.string_to_quoted(text) do
          {:ok, quoted} -> quoted
          {:error, _} -> nil
        end

      {:error, _} ->
        nil
    end
  end

  defp expressions({:__block__, _, expressions}), do: Enum.flat_map(expressions, &expressions/1)
  defp expressions({_, meta, _}), do: List.wrap(meta[:line])
  defp expressions(_), do: []

  # What belongs to `kernel` and `stdlib` counts only when the system restarts after reading it.
  defp reserved(%{reboot_system_after_config: true}, _config, _final), do: []

  defp reserved(_provider, config, final) do
    for app <- [:kernel, :stdlib], config[app] != final[app] do
      {nil, 0,
       "it configures :#{app}, which counts only with `reboot_system_after_config: true` in the release's options"}
    end
  end

  defp compiled(provider, final) do
    Application.put_all_env(final, persistent: true)

    for {app, [key | path], value} = entry <- provider.validate_compile_env || [],
        not valid?(entry) do
      {app, inspect([key | path]), if(value == :error, do: nil, else: inspect(elem(value, 1)))}
    end
  end

  # Elixir prints what it does not like before it raises.
  defp valid?(entry) do
    leader = Process.group_leader()
    {:ok, quiet} = StringIO.open("")
    Process.group_leader(self(), quiet)

    try do
      Config.Provider.validate_compile_env([entry], false)
      true
    rescue
      _ -> false
    after
      Process.group_leader(self(), leader)
    end
  end

  defp trace(collector) do
    for {module, name, arity} <- [
          {System, :get_env, 1},
          {System, :get_env, 2},
          {System, :fetch_env, 1},
          {System, :fetch_env!, 1},
          {:os, :getenv, 1},
          {:os, :getenv, 2}
        ] do
      Code.ensure_loaded(module)
      :erlang.trace_pattern({module, name, arity}, true, [])
    end

    :erlang.trace(:all, true, [:call, {:tracer, collector}])
  end

  defp collect(asked) do
    receive do
      {:trace, _pid, :call, {_module, _function, [name | rest]}} ->
        asked |> add(to_string(name), rest) |> collect()

      {:stop, from} ->
        send(from, {:asked, asked})
    end
  end

  defp add(asked, name, [default]) when is_binary(default), do: Map.put(asked, name, default)

  defp add(asked, name, [default]) when is_list(default),
    do: Map.put(asked, name, to_string(default))

  defp add(asked, name, _rest), do: Map.put_new(asked, name, nil)
end
