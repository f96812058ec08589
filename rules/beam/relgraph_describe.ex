defmodule Relgraph.Describe do
  @moduledoc "Asks Mix what the project is: its applications, their order and options, and the releases that it declares."

  @doc "Loads `mix.exs` of the working directory and describes it. Paths are relative to that directory."
  @spec run(map) :: map
  def run(request) do
    load_project("mix.exs")
    config = Mix.Project.config()
    check_elixir(config)
    root = File.cwd!()
    deps = Mix.Dep.load_and_cache()
    known = MapSet.new(deps, & &1.app)
    built = &built(&1, config, request)

    %{
      project: %{
        app: config[:app],
        version: config[:version],
        umbrella: Mix.Project.umbrella?(config),
        umbrella_order: for(child <- Mix.Dep.Umbrella.cached(), do: child.app),
        config_path: relative(Path.expand(config[:config_path]), root),
        deps_path: relative(Mix.Project.deps_path(config), root),
        build_path: built.(Mix.Project.build_path(config)),
        build_root: config |> build_root(request) |> relative(root),
        builds_outside: outside?(config, request),
        consolidate_protocols: config[:consolidate_protocols],
        aliases: aliases(config),
        lockfile: relative(Path.expand(config[:lockfile]), root),
        default_release: config[:default_release],
        dependency_config: encode(dependency_config(config)),
        releases: Enum.map(config[:releases] || [], &Atom.to_string(elem(&1, 0)))
      },
      applications:
        deps |> Enum.map(&checked(&1, deps)) |> Enum.map(&dependency(&1, root, known, built)),
      release: release(request[:release], config, request),
      copied: copied(Path.join(request.prefix, "sample")),
      toolchain: toolchain()
    }
  end

  # Tasks that `mix release` would run and nobody here does, and that mix.exs makes do something else.
  defp aliases(config) do
    tasks = [:"deps.loadpaths", :loadpaths, :release]
    for {name, _} <- config[:aliases] || [], name in tasks, do: Atom.to_string(name)
  end

  @doc "Loads a `mix.exs` as Mix's command line does."
  @spec load_project(Path.t()) :: :ok
  def load_project(file) do
    undefined = Code.get_compiler_option(:no_warn_undefined)
    Code.put_compiler_option(:no_warn_undefined, :all)
    Code.compile_file(file)
    Code.put_compiler_option(:no_warn_undefined, undefined)
    :ok
  end

  defp check_elixir(config) do
    with requirement when is_binary(requirement) <- config[:elixir],
         false <- Version.match?(System.version(), requirement) do
      raise Mix.ElixirVersionError,
        target: config[:app] || Mix.Project.get(),
        expected: requirement,
        actual: System.version()
    end
  end

  # Where Mix builds. A folder that is not the project's own (`build_path: "/tmp/shop"`) no step fills: the usual one does.
  defp build_root(config, request),
    do:
      Path.expand(
        if(outside?(config, request), do: "_build", else: config[:build_path] || "_build")
      )

  defp outside?(config, request) do
    path = config[:build_path]
    path != nil and not String.starts_with?(Path.expand(path), request.prefix <> "/")
  end

  defp built(path, config, request) do
    root = File.cwd!()

    if outside?(config, request) do
      inside = Path.relative_to(path, Path.expand(config[:build_path]))
      relative(Path.expand(inside, build_root(config, request)), root)
    else
      relative(path, root)
    end
  end

  defp dependency(%Mix.Dep{} = dep, root, known, built) do
    %{
      app: dep.app,
      dest: relative(dep.opts[:dest], root),
      build: built.(dep.opts[:build]),
      manager: dep.manager,
      env: dep.opts[:env] || :prod,
      scm: scm(dep),
      fetchable: dep.scm.fetchable?(),
      compile: compile_option(dep.opts[:compile]),
      app_file: dep.opts[:app] != false,
      optional: dep.opts[:optional] == true,
      runtime: dep.opts[:runtime] != false,
      from_umbrella: dep.opts[:from_umbrella] == true,
      children:
        for(child <- dep.deps, MapSet.member?(known, child.app), uniq: true, do: child.app),
      system_env:
        Map.new(dep.system_env, fn {key, value} -> {to_string(key), to_string(value)} end),
      rebar_config: rebar_config(dep),
      mix: encode(mix(dep)),
      mix_below: encode(mix_below(dep)),
      problem: problem(dep)
    }
  end

  # A lock that does not fit is what Hex refuses to fetch from, and what Mix says of a compiled dependency: nothing is compiled
  # yet, so the version is the one that is locked.
  defp checked(%Mix.Dep{scm: Relgraph.SCM} = dep, deps) do
    with true <- match?({:unavailable, _}, dep.status) or problem(dep) == nil,
         version when is_binary(version) <- Relgraph.SCM.locked_version(dep.opts[:lock]),
         %Mix.Dep{} = other <- Enum.find(asking(dep, deps), &refuses?(&1, version)) do
      %{dep | requirement: other.requirement, status: {:nomatchvsn, version}}
    else
      _ -> dep
    end
  end

  defp checked(dep, _deps), do: dep

  # Who overrides a dependency decides alone.
  defp asking(%Mix.Dep{opts: opts} = dep, deps) do
    if opts[:override] do
      [dep]
    else
      [dep | for(parent <- deps, child <- parent.deps, child.app == dep.app, do: child)]
    end
  end

  defp refuses?(%Mix.Dep{requirement: requirement, app: app}, version),
    do: Mix.Dep.Loader.vsn_match(requirement, version, app) == {:ok, false}

  # As Mix gives it to rebar3: with what its script says, and what those that depend on it override.
  defp rebar_config(%Mix.Dep{manager: :rebar3, extra: config}) when is_list(config) do
    config |> Mix.Rebar.dependency_config() |> Mix.Rebar.serialize_config() |> to_string()
  end

  defp rebar_config(_dep), do: nil

  # What `Mix.Project.deps_config/1` hands down to dependencies, less the paths, which are known where it is used.
  defp dependency_config(config) do
    paths = ~w(consolidation_path deps_path env_path deps_build_path lockfile)a
    config |> Mix.Project.deps_config() |> Keyword.drop(paths)
  end

  # What Mix asks its own list of dependencies about while it compiles: `Relgraph.Dependencies` makes that list from it.
  # What a dependency is locked to is told by its sources.
  defp mix(%Mix.Dep{} = dep) do
    children = for child <- dep.deps, do: {child.app, options(child)}
    requirement = if is_binary(dep.requirement), do: dep.requirement
    {dep.app, requirement, dep.manager, dep.scm, dep.top_level, options(dep), children}
  end

  # The same for a dependency, which is compiled alike whoever asks for it: in there Mix works out anew what is at the top and
  # what is optional, and who overrides whom was settled when the list was made.
  defp mix_below(%Mix.Dep{} = dep) do
    dropped = ~w(only override targets)a
    children = for child <- dep.deps, do: {child.app, Keyword.drop(options(child), dropped)}
    options = Keyword.drop(options(dep), [:optional | dropped])
    {dep.app, unsettled_requirement(dep), dep.manager, dep.scm, false, options, children}
  end

  # What is asked of the version of a project of Mix is settled as soon as the project is read; of others it is when they are
  # compiled.
  defp unsettled_requirement(%Mix.Dep{requirement: requirement}) when not is_binary(requirement),
    do: nil

  defp unsettled_requirement(%Mix.Dep{manager: :mix} = dep) do
    with true <- File.regular?(Path.join(dep.opts[:dest], "mix.exs")),
         version when is_binary(version) <- version(dep),
         {:ok, true} <- Mix.Dep.Loader.vsn_match(dep.requirement, version, dep.app) do
      nil
    else
      _ -> dep.requirement
    end
  end

  defp unsettled_requirement(%Mix.Dep{requirement: requirement}), do: requirement

  # What a lock says of a package is asked instead of its mix.exs, which nobody has read.
  defp version(dep) do
    case Relgraph.SCM.locked_version(dep.opts[:lock]) do
      nil -> Mix.Dep.in_dependency(dep, fn _module -> Mix.Project.config()[:version] end)
      version -> version
    end
  end

  defp options(dep) do
    kept =
      ~w(app compile env from_umbrella in_umbrella manager only optional override runtime targets)a

    dep.opts |> Keyword.take(kept) |> Enum.sort()
  end

  defp encode(term), do: term |> :erlang.term_to_binary(minor_version: 2) |> Base.encode64()

  defp scm(%Mix.Dep{scm: Mix.SCM.Path} = dep),
    do: if(dep.opts[:from_umbrella], do: :umbrella, else: :path)

  defp scm(%Mix.Dep{scm: Relgraph.Git}), do: :git
  defp scm(%Mix.Dep{}), do: :hex

  defp compile_option(nil), do: nil
  defp compile_option(false), do: false
  defp compile_option(command), do: to_string(command)

  # Nothing is compiled yet, so a missing .app file or another build's leftovers are no problem here.
  defp problem(%Mix.Dep{status: {:unavailable, _}} = dep),
    do: describe_problem("unavailable", dep)

  defp problem(%Mix.Dep{status: {kind, _}} = dep)
       when kind in [
              :diverged,
              :divergedreq,
              :divergedonly,
              :divergedtargets,
              :overridden,
              :nomatchvsn
            ],
       do: describe_problem(Atom.to_string(kind), dep)

  defp problem(_dep), do: nil

  defp describe_problem(kind, dep) do
    %{kind: kind, message: dep |> Mix.Dep.format_status() |> to_string()}
  end

  defp release(nil, _config, _request), do: nil

  defp release(name, config, request) do
    declared = config[:releases] || []

    {declared?, opts} =
      case Keyword.fetch(declared, name) do
        {:ok, fun} when is_function(fun, 0) -> {true, fun.()}
        {:ok, opts} -> {true, opts}
        :error -> {false, []}
      end

    strip = Map.get(request, :strip, Keyword.get(opts, :strip_beams, true))
    steps = Keyword.get(opts, :steps, [:assemble])

    %{
      declared: declared?,
      include_erts: erts(Keyword.get(opts, :include_erts, true)),
      strip: recipe(strip),
      functions: functions(steps),
      tar: :tar in steps,
      cookie: opts[:cookie],
      applications: opts |> Keyword.get(:applications, []) |> Keyword.keys(),
      overlays: opts[:overlays] |> List.wrap() |> Enum.map(&to_string/1),
      templates: to_string(opts[:rel_templates_path] || "rel"),
      executables_for: opts[:include_executables_for] || [:unix, :windows]
    }
  end

  # By where they stand: before `:assemble`, after it, after `:tar`.
  defp functions(steps) do
    {before, rest} = Enum.split_while(steps, &(&1 != :assemble))
    {between, late} = Enum.split_while(rest, &(&1 != :tar))
    names = fn steps -> for step <- steps, is_function(step), do: Relgraph.Release.name(step) end
    %{before: names.(before), after: names.(between), late: names.(late)}
  end

  defp erts(fun) when is_function(fun, 0), do: erts(fun.())
  defp erts(value) when is_boolean(value), do: value
  defp erts(path), do: to_string(path)

  # How this Elixir strips is found by asking it: a module that has every chunk goes in, the chunks that come out, in
  # their order, are the recipe. It differs between versions.
  defp recipe(false), do: nil
  defp recipe(true), do: recipe([])

  defp recipe(options) when is_list(options) do
    keep = options[:keep] |> List.wrap() |> Enum.map(&to_string/1)
    {:ok, stripped} = Mix.Release.strip_beam(sample(keep), options)
    {:ok, _module, chunks} = :beam_lib.all_chunks(stripped)

    %{
      chunks: Enum.map(chunks, fn {id, _} -> List.to_string(id) end),
      # Elixir 1.13 always does.
      compress: binary_part(stripped, 0, 2) == <<31, 139>>
    }
  end

  # Which folders of an application Mix copies into a release (`priv`; `include` since 1.15) is found by asking it, too.
  defp copied(dir) do
    source = Path.join(dir, "source")
    for name <- ~w(ebin include priv src), do: File.mkdir_p!(Path.join(source, name))
    File.write!(Path.join(source, "ebin/sample.app"), "{application,sample,[{vsn,\"1\"}]}.\n")
    properties = [path: String.to_charlist(source), vsn: '1', otp_app?: false, mode: :permanent]

    fields = [
      name: :sample,
      version: "1",
      path: Path.join(dir, "release"),
      options: [],
      applications: %{sample: properties}
    ]

    Mix.Release.copy_app(struct(Mix.Release, fields), :sample)
    copied = File.ls!(Path.join(dir, "release/lib/sample-1"))
    File.rm_rf!(dir)
    Enum.sort(copied)
  end

  defp sample(keep) do
    forms = [{:attribute, 1, :module, :relgraph_sample}]
    {:ok, _module, binary} = :compile.forms(forms, [:debug_info])
    {:ok, _module, chunks} = :beam_lib.all_chunks(binary)
    known = ~w(Attr CInf StrT LitT LocT Line Type Meta Dbgi Docs ExCk Abst FunT ExDp)
    missing = Enum.uniq(known ++ keep) -- Enum.map(chunks, fn {id, _} -> List.to_string(id) end)

    {:ok, binary} =
      :beam_lib.build_module(chunks ++ Enum.map(missing, &{String.to_charlist(&1), "x"}))

    binary
  end

  defp toolchain do
    %{
      elixir: System.version(),
      otp: otp_version(),
      erts: :erlang.system_info(:version) |> List.to_string()
    }
  end

  defp otp_version do
    release = :erlang.system_info(:otp_release)

    case :file.read_file(:filename.join([:code.root_dir(), 'releases', release, 'OTP_VERSION'])) do
      {:ok, version} -> String.trim(version)
      _ -> List.to_string(release)
    end
  end

  defp relative(path, root) do
    Relgraph.Paths.relative(path, root)
  end
end

defmodule Relgraph.Paths do
  @moduledoc "Relative paths that may climb (`../shared`), which `Path.relative_to/2` of older versions does not make."

  @doc "`path` as seen from the folder `root`; both absolute."
  @spec relative(Path.t(), Path.t()) :: Path.t()
  def relative(path, root) do
    climb(Path.split(Path.expand(path)), Path.split(Path.expand(root)))
  end

  defp climb([same | path], [same | root]), do: climb(path, root)

  defp climb(path, root) do
    case List.duplicate("..", length(root)) ++ path do
      [] -> "."
      parts -> Path.join(parts)
    end
  end
end
