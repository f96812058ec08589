defmodule Relgraph.Driver do
  @moduledoc """
  Runs one request inside one VM: reads the request, does the work with Mix's own code, writes the answer.

  The VM loads what every request needs and waits at the FIFO `go` until somebody writes to it. Then the request is there:
  the file `request` of Erlang terms (`{key, value}.`). The answer is one JSON object in the file that it names `response`.
  A failed request prints what Mix would print and leaves with status 1.
  """

  @operations %{
    describe: Relgraph.Describe,
    config: Relgraph.Config,
    compile: Relgraph.Compile,
    consolidate: Relgraph.Consolidate,
    boot: Relgraph.Boot
  }

  @doc "Entry point: `folder` is where the gate and the request are."
  @spec main(Path.t()) :: no_return
  def main(folder) do
    Relgraph.Preload.run()
    {:ok, _} = Application.ensure_all_started(:mix)
    {:ok, gate} = :file.open(Path.join(folder, "go"), [:read, :raw])
    {:ok, _} = :file.read(gate, 1)
    {:ok, terms} = :file.consult(String.to_charlist(Path.join(folder, "request")))
    request = Map.new(terms)
    prepare(request)

    try do
      recorder =
        Relgraph.Trace.start(for dir <- ~w(otp elixir driver), do: "#{request.prefix}/#{dir}/")

      answer = Map.fetch!(@operations, request.op).run(request)
      trace = Relgraph.Trace.stop(recorder)

      File.write!(
        request.response,
        Relgraph.JSON.encode(Map.merge(answer, facts(request, trace)))
      )
    catch
      kind, reason -> fail(kind, reason, __STACKTRACE__)
    else
      _ -> halt(0)
    end
  end

  defp prepare(request) do
    # A module in the working directory is nobody's module; looking for each of them there would be an input of every step.
    :code.del_path('.')
    Mix.env(request.env)
    Mix.target(request.target)
    Hex.start()
    if request[:rebar3], do: System.put_env("MIX_REBAR3", request.rebar3)
    if dir = request[:cwd], do: File.cd!(dir)
    for file <- Map.get(request, :config, []), do: put_config(file)
  end

  # One application's part of the compile-time configuration, made by the config step.
  defp put_config(file) do
    {app, pairs} = file |> File.read!() |> :erlang.binary_to_term()
    Application.put_all_env([{app, pairs}], persistent: true)
  end

  defp facts(request, trace) do
    prefix = request.prefix <> "/"

    # Absolute: something of the system.
    reads = for {kind, path} <- trace.reads, do: [kind, String.replace_prefix(path, prefix, "")]

    loaded =
      for {module, file} <- :code.all_loaded(),
          is_list(file),
          path = List.to_string(file),
          String.starts_with?(path, prefix) do
        [Atom.to_string(module), String.replace_prefix(path, prefix, "")]
      end

    %{
      reads: reads,
      loaded: Enum.sort(loaded),
      env: trace.env,
      programs: trace.programs,
      docs: trace.docs
    }
  end

  # Mix prints its own errors without a stack trace; so do we. A task that left with {:shutdown, 1} has said why already.
  defp fail(:exit, {:shutdown, _}, _stack), do: halt(1)

  defp fail(:error, %name{} = exception, stack) do
    mix? = Map.get(exception, :mix, false) not in [false, nil]

    if mix? do
      IO.puts(:stderr, "** (#{name |> Module.split() |> hd()}) #{Exception.message(exception)}")
    else
      IO.puts(:stderr, Exception.format(:error, exception, stack))
    end

    halt(1)
  end

  defp fail(kind, reason, stack) do
    IO.puts(:stderr, Exception.format(kind, reason, stack))
    halt(1)
  end

  # Output goes through the group leader: `init:stop/1` lets it drain, at most a moment later than halting would.
  defp halt(status) do
    :erlang.halt(status, flush: true)
  end
end
