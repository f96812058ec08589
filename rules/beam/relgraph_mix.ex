defmodule Relgraph.Mix do
  @moduledoc "What the driver needs of Mix: starting it, the settings of a request, and how it tells an error."

  @doc "Starts Mix, in a VM that waits for its request."
  @spec start() :: :ok
  def start do
    {:ok, _} = Application.ensure_all_started(:mix)
    :ok
  end

  @doc "Puts the settings of a request in force."
  @spec prepare(map) :: :ok
  def prepare(request) do
    Mix.env(request.env)
    Mix.target(request.target)
    Hex.start()
    if request[:rebar3], do: System.put_env("MIX_REBAR3", request.rebar3)
    for file <- Map.get(request, :config, []), do: put_config(file)
    :ok
  end

  # One application's part of the compile-time configuration, made by the config step.
  defp put_config(file) do
    {app, pairs} = file |> File.read!() |> :erlang.binary_to_term()
    Application.put_all_env([{app, pairs}], persistent: true)
  end

  @doc "Prints an error as Mix does: its own without a stack trace."
  @spec fail(:error | :exit | :throw, term, Exception.stacktrace()) :: :ok
  def fail(:error, reason, stack) do
    exception = Exception.normalize(:error, reason, stack)
    name = exception.__struct__

    if Map.get(exception, :mix, false) not in [false, nil] do
      IO.puts(:stderr, "** (#{name |> Module.split() |> hd()}) #{Exception.message(exception)}")
    else
      IO.puts(:stderr, Exception.format(:error, exception, stack))
    end
  end

  def fail(kind, reason, stack), do: IO.puts(:stderr, Exception.format(kind, reason, stack))
end
