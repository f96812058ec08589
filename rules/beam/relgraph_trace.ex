defmodule Relgraph.Trace do
  @moduledoc """
  Records what a step read: files, folders, environment variables, and programs that it started.

  Every file operation of the VM ends in `:prim_file`, every look at the environment in `:os`, every program in
  `:erlang.open_port/2`. Tracing calls of these finds inputs that nobody declared. Paths may be relative and the
  working directory may move, so events carry timestamps and are put in order before paths are resolved.
  """

  @reads %{
    {:open, 2} => :content,
    {:read_file, 1} => :content,
    {:copy, 3} => :content,
    {:read_link, 1} => :content,
    {:read_link_all, 1} => :content,
    {:list_dir, 1} => :listing,
    {:list_dir_all, 1} => :listing,
    {:list_dir, 2} => :listing,
    {:read_file_info, 1} => :kind,
    {:read_file_info, 2} => :kind,
    {:read_link_info, 1} => :kind,
    {:read_link_info, 2} => :kind
  }

  @env [{:getenv, 0}, {:getenv, 1}, {:env, 0}]

  @doc """
  Starts recording in this VM, without what happens in the folders `known`. Returns the recorder to give to `stop/1`.
  """
  @spec start([Path.t()]) :: pid
  def start(known) do
    {:ok, cwd} = :file.get_cwd()
    recorder = spawn(fn -> record(%{events: [], seen: MapSet.new(), checking: nil}) end)
    :code.ensure_loaded(:prim_file)
    pattern(:prim_file, :set_cwd, 1)

    for {name, arity} <- Map.keys(@reads),
        do: pattern(:prim_file, name, arity, silent(known, arity))

    for {name, arity} <- @env, do: pattern(:os, name, arity)
    pattern(:erlang, :open_port, 2)

    pattern(Code, :fetch_docs, 1)
    pattern(Module.ParallelChecker, :verify, 2, [{:_, [], [{:return_trace}]}])
    :erlang.trace(:all, true, [:call, :strict_monotonic_timestamp, {:tracer, recorder}])
    Process.put(:relgraph_cwd, IO.chardata_to_string(cwd))
    recorder
  end

  @doc "Stops recording; returns `%{reads: [{kind, path}], env: [name], programs: [command], docs: [module]}`."
  @spec stop(pid) :: map
  def stop(recorder) do
    :erlang.trace(:all, false, [:call, :strict_monotonic_timestamp])
    delivered = :erlang.trace_delivered(:all)

    receive do
      {:trace_delivered, :all, ^delivered} -> :ok
    end

    send(recorder, {:stop, self()})

    receive do
      {:recorded, events} -> summarize(events, Process.get(:relgraph_cwd))
    end
  end

  defp pattern(module, name, arity, spec \\ true) do
    :erlang.trace_pattern({module, name, arity}, spec, [])
  end

  # Loading the code of Erlang and Elixir makes most of the calls. The paths are character lists, whose beginning a
  # match specification can tell: these calls cost no message.
  defp silent(known, arity) do
    rest = List.duplicate(:_, arity - 1)

    quiet =
      for folder <- known do
        beginning =
          folder |> String.to_charlist() |> Enum.reverse() |> Enum.reduce(:_, &[&1 | &2])

        {[beginning | rest], [], [{:message, false}]}
      end

    quiet ++ [{:_, [], []}]
  end

  # Absolute paths come by the thousand (code loading looks through every folder): they are kept once.
  # Relative ones and moves of the working directory are all kept, with their time.
  defp record(state) do
    receive do
      {:trace_ts, _pid, :call, {Module.ParallelChecker, _, _}, _time} ->
        record(%{state | checking: []})

      {:trace_ts, _pid, :return_from, {Module.ParallelChecker, _, _}, _result, _time} ->
        unload(state.checking || [])
        record(%{state | checking: nil})

      {:trace_ts, _pid, :call, {module, name, args}, time} ->
        record(keep(state, event(module, name, args), time))

      {:stop, from} ->
        send(from, {:recorded, state.events |> Enum.sort() |> Enum.map(&elem(&1, 1))})
    end
  end

  defp keep(state, nil, _time), do: state

  defp keep(state, event, time) do
    if once?(event) and MapSet.member?(state.seen, event) do
      state
    else
      {event, checking} = checked(event, state.checking)
      seen = if once?(event), do: MapSet.put(state.seen, event), else: state.seen
      %{state | events: [{time, event} | state.events], seen: seen, checking: checking}
    end
  end

  # When all is compiled, the compiler looks at the modules that were called, for its warnings. It loads those that are
  # not Elixir's to see their exports, though nothing in them runs: what is first read then is only looked at.
  defp checked({:read, :content, path}, checking) when is_list(checking) do
    if String.ends_with?(path, ".beam"),
      do: {{:read, :checked, path}, [path | checking]},
      else: {{:read, :content, path}, checking}
  end

  defp checked(event, checking), do: {event, checking}

  # Should something call them later after all, they are read again, and that counts.
  defp unload(paths) do
    for path <- paths do
      module = path |> Path.basename(".beam") |> String.to_atom()

      # Not `:code.which/1`: of what is not loaded it finds the file, in all folders of the code path.
      with {:file, file} <- :code.is_loaded(module),
           true <- is_list(file) and List.to_string(file) == path do
        :code.purge(module)
        :code.delete(module)
      end
    end
  end

  defp once?({:cwd, _}), do: false
  defp once?({:read, _, path}), do: Path.type(path) == :absolute
  defp once?(_), do: true

  defp event(:prim_file, :set_cwd, [path]), do: {:cwd, text(path)}

  defp event(:prim_file, :open, [path, modes]) when is_list(modes) do
    # A file opened only for writing is an output.
    writes? = :write in modes or :append in modes or :exclusive in modes
    if writes? and :read not in modes, do: nil, else: {:read, :content, text(path)}
  end

  defp event(:prim_file, name, args) do
    # An open file stands for itself: it was seen when it was opened.
    case {Map.get(@reads, {name, length(args)}), hd(args)} do
      {nil, _} -> nil
      {kind, path} when is_binary(path) or is_list(path) -> {:read, kind, text(path)}
      _ -> nil
    end
  end

  defp event(:os, :getenv, [name]), do: {:env, text(name)}
  defp event(:os, _, []), do: {:env, "*"}
  defp event(:erlang, :open_port, [{:spawn, command}, _]), do: {:program, text(command)}
  defp event(:erlang, :open_port, [{:spawn_executable, file}, _]), do: {:program, text(file)}

  defp event(Code, :fetch_docs, [module]) when is_atom(module),
    do: {:docs, Atom.to_string(module)}

  defp event(_, _, _), do: nil

  defp text(binary) when is_binary(binary), do: binary
  defp text(chars) when is_list(chars), do: IO.chardata_to_string(chars)

  defp summarize(events, cwd) do
    start = %{
      cwd: cwd,
      reads: MapSet.new(),
      env: MapSet.new(),
      programs: MapSet.new(),
      docs: MapSet.new()
    }

    events
    |> Enum.reduce(start, fn
      {:cwd, path}, acc ->
        %{acc | cwd: Path.expand(path, acc.cwd)}

      {:read, kind, path}, acc ->
        %{acc | reads: MapSet.put(acc.reads, {kind, Path.expand(path, acc.cwd)})}

      {:env, name}, acc ->
        %{acc | env: MapSet.put(acc.env, name)}

      {:program, command}, acc ->
        %{acc | programs: MapSet.put(acc.programs, command)}

      {:docs, module}, acc ->
        %{acc | docs: MapSet.put(acc.docs, module)}
    end)
    |> Map.delete(:cwd)
    |> Map.new(fn {key, set} -> {key, Enum.sort(set)} end)
  end
end
