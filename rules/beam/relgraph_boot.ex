defmodule Relgraph.Consolidate do
  @moduledoc "Consolidates protocols over the folders that the request names, as `mix compile.protocols` does."

  @doc "Writes the consolidated modules to `request.out`."
  @spec run(map) :: map
  def run(request) do
    for path <- request.code_paths, do: Code.prepend_path(path)
    otp = :code.lib_dir()
    paths = Enum.reject(:code.get_path(), &:lists.prefix(otp, &1))
    File.mkdir_p!(request.out)

    for protocol <- paths |> Protocol.extract_protocols() |> Enum.uniq() do
      impls = Protocol.extract_impls(protocol, paths)
      :code.purge(protocol)
      :code.delete(protocol)

      case Protocol.consolidate(protocol, impls) do
        {:ok, binary} -> File.write!(Path.join(request.out, "#{protocol}.beam"), binary)
        {:error, _} -> :ok
      end
    end

    %{}
  end
end

defmodule Relgraph.Boot do
  @moduledoc """
  Makes what Mix makes below `releases/`: boot scripts, sys.config, vm.args, env scripts, and each `.app` as it ships.

  `Mix.Release` does the work wherever it has a public function for it; the rest follows `mix release` of the same Elixir.
  """

  alias Mix.Tasks.Release.Init

  @doc "Loads the project, and makes what Mix knows of the release before its first step."
  @spec release(map) :: Mix.Release.t()
  def release(request) do
    Relgraph.Describe.load_project("mix.exs")
    for path <- request.code_paths, do: Code.prepend_path(path)
    config = Mix.Project.config()
    Mix.Release.from_config!(request.release, declared(config, request), overrides(request))
  end

  @doc "Writes into `request.out`: `version/` (goes to releases/VSN), `apps/NAME.app`, `erl` and the facts of the release."
  @spec run(map) :: map
  def run(request) do
    given = release(request)
    {shown, warnings} = if request.functions, do: before(given), else: {given, []}
    config = Mix.Project.config()
    release = %{shown | path: request.out, version_path: Path.join(request.out, "version")}
    File.mkdir_p!(release.version_path)
    {release, messages} = runtime_config(release, config)
    executables_for = executables_for(release, request)

    with :ok <- boot_scripts(release, request),
         :ok <-
           Mix.Release.make_sys_config(
             release,
             sys_config(request),
             {:system, "RELEASE_SYS_CONFIG", ".config"}
           ) do
      for name <- ["vm.args", "remote.vm.args"], do: template(release, shown, name, &vm_args/1)
      executables(release, shown, executables_for)
      app_files(release)

      protocols =
        if request.upgrades == :hot and request.consolidated, do: protocols_app(release), else: []

      Mix.Release.make_start_erl(release, Path.join(release.path, "start_erl.data"))
      releases(release, protocols)
      if release.erts_source, do: erl(release)
      if request.functions, do: Relgraph.Release.assembled(shown, given, request)

      release
      |> answer(messages)
      |> Map.merge(%{
        executables_for: executables_for,
        warnings: warnings,
        functions: Enum.any?(tl(shown.steps), &is_function/1)
      })
    else
      {:error, message} -> Mix.raise(message)
    end
  end

  # What the functions before `:assemble` make of it. A file may have been made where Mix finds its templates.
  defp before(given) do
    release = Relgraph.Release.before(given)
    {release, Relgraph.Release.warnings(given, release)}
  end

  defp executables_for(release, request) do
    request[:executables_for] || release.options[:include_executables_for] || [:unix, :windows]
  end

  # A release that mix.exs does not declare is the project's own application under the name of release.yaml.
  defp declared(config, request) do
    releases = config[:releases] || []
    extra = Map.get(request, :applications, [])

    cond do
      Keyword.has_key?(releases, request.release) and extra == [] ->
        config

      Keyword.has_key?(releases, request.release) ->
        opts = releases[request.release]
        opts = if is_function(opts, 0), do: opts.(), else: opts
        apps = Keyword.merge(Keyword.get(opts, :applications, []), extra)

        Keyword.put(config, :releases, [{request.release, Keyword.put(opts, :applications, apps)}])

      true ->
        Keyword.put(config, :releases, [{request.release, [applications: extra]}])
    end
  end

  # It is made where Mix makes it, whatever folder mix.exs names: where it goes from there is nobody's business here.
  defp overrides(request) do
    request
    |> Map.take([:include_erts, :version, :strip_beams])
    |> Map.to_list()
    |> Keyword.put(:path, request.path)
  end

  defp sys_config(request) do
    for file <- request.config, do: file |> File.read!() |> :erlang.binary_to_term()
  end

  # As mix release: runtime.exs becomes the first provider, unless :runtime_config_path says otherwise.
  defp runtime_config(release, config) do
    dir = Path.dirname(config[:config_path])
    default = Path.join(dir, "runtime.exs")
    deprecated = Path.join(dir, "releases.exs")
    option = release.options[:runtime_config_path]

    {path, reboot?} =
      cond do
        option == false -> {nil, false}
        option -> {option, false}
        File.exists?(default) -> {default, false}
        File.exists?(deprecated) -> {deprecated, true}
        true -> {nil, false}
      end

    if path do
      # A node that cannot read its configuration does not start: better said now.
      path |> File.read!() |> Code.string_to_quoted!(file: Path.relative_to_cwd(path))
      File.cp!(path, Path.join(release.version_path, "runtime.exs"))
      init = {:system, "RELEASE_ROOT", "/releases/#{release.version}/runtime.exs"}
      opts = [path: init, env: Mix.env(), target: Mix.target(), imports: :disabled]
      release = update_in(release.config_providers, &[{Config.Reader, opts} | &1])

      {update_in(release.options, &Keyword.put_new(&1, :reboot_system_after_config, reboot?)),
       path}
    else
      {release, nil}
    end
  end

  defp boot_scripts(release, request) do
    prepend = consolidated(release, request)

    Enum.reduce_while(release.boot_scripts, :ok, fn {name, modes}, :ok ->
      path = Path.join(release.version_path, Atom.to_string(name))

      case Mix.Release.make_boot_script(release, path, modes, prepend) do
        :ok when name == :start ->
          File.rename!(path <> ".rel", Path.join(release.version_path, "#{release.name}.rel"))
          {:cont, :ok}

        :ok ->
          File.rm!(path <> ".rel")
          {:cont, :ok}

        {:error, _} = error ->
          {:halt, error}
      end
    end)
  end

  # In Mix's layout consolidated protocols lie beside the boot script; for hot upgrades they are an application, so that
  # the release handler finds and replaces them.
  defp consolidated(_release, %{consolidated: false}), do: []

  defp consolidated(release, %{upgrades: :hot}),
    do: ["$RELEASE_LIB/#{protocols_name(release)}-#{release.version}/ebin"]

  defp consolidated(release, _request),
    do: ["$RELEASE_LIB/../releases/#{release.version}/consolidated"]

  defp protocols_name(release), do: :"#{release.name}_protocols"

  defp protocols_app(release) do
    name = protocols_name(release)
    version = String.to_charlist(release.version)

    # Its modules are left out of the list: each is in the list of the application that defines the protocol.
    specification =
      {:application, name,
       description: 'Consolidated protocols of #{release.name}',
       vsn: version,
       modules: [],
       registered: [],
       applications: [:kernel, :stdlib, :elixir]}

    path = Path.join([release.path, "apps", "#{name}.app"])
    File.write!(path, :unicode.characters_to_binary(:io_lib.format("~tp.~n", [specification])))

    path = Path.join(release.version_path, "#{release.name}.rel")
    {:ok, [{:release, id, erts, apps}]} = :file.consult(path)
    rel = {:release, id, erts, apps ++ [{name, version, :none}]}
    File.write!(path, consultable(rel))
    [{name, version}]
  end

  # What release_handler(3) must know of the first version to replace it later. Paths are relative to the release's root.
  defp releases(release, protocols) do
    applications =
      for {app, _mode} <- release.boot_scripts.start, do: {app, release.applications[app][:vsn]}

    libraries =
      for {app, version} <- applications ++ protocols, do: {app, version, 'lib/#{app}-#{version}'}

    name = Atom.to_charlist(release.name)
    version = String.to_charlist(release.version)
    erts = release.erts_version |> to_string() |> String.to_charlist()
    term = [{:release, name, version, erts, libraries, :permanent}]

    File.write!(Path.join(release.path, "RELEASES"), consultable(term))
  end

  # Names of applications need not be ASCII.
  defp consultable(term),
    do: :unicode.characters_to_binary(:io_lib.format("%% coding: utf-8~n~tp.~n", [term]))

  defp template(release, shown, name, default) do
    source = Mix.Release.rel_templates_path(release, name <> ".eex")
    target = Path.join(release.version_path, name)
    shown = %{release | path: shown.path, version_path: shown.version_path}

    if File.exists?(source) do
      File.write!(target, EEx.eval_file(source, assigns: [release: shown]))
    else
      File.write!(target, default.(shown))
    end
  end

  defp vm_args(release), do: built_in(:vm_args_text, release)
  defp env_sh(release), do: built_in(:env_text, release)
  defp env_bat(release), do: built_in(:env_bat_text, release)

  # The texts take no arguments, or one that says whether they are for `mix release.init`.
  defp built_in(name, release) do
    Code.ensure_loaded!(Init)

    text =
      if function_exported?(Init, name, 0),
        do: apply(Init, name, []),
        else: apply(Init, name, [false])

    EEx.eval_string(text, assigns: [release: release])
  end

  defp executables(release, shown, executables_for) do
    bin = Application.app_dir(:elixir, "../../bin")

    for os <- executables_for do
      case os do
        :unix ->
          template(release, shown, "env.sh", &env_sh/1)
          script(release, bin, "elixir", &unix_elixir(&1, release))
          script(release, bin, "iex", & &1)

        :windows ->
          template(release, shown, "env.bat", &env_bat/1)
          script(release, bin, "elixir.bat", &windows_elixir(&1, release))
          script(release, bin, "iex.bat", & &1)
      end
    end
  end

  defp script(release, bin, name, edit) do
    source = Path.join(bin, name)

    if File.regular?(source) do
      target = Path.join(release.version_path, name)
      File.write!(target, edit.(File.read!(source)))
      File.chmod!(target, 0o755)
    end
  end

  # The path of the applications is the boot script's business. How it is written differs between versions of Elixir.
  defp unix_elixir(text, release) do
    text
    |> String.replace(~s[ -pa "$SCRIPT_PATH"/../lib/*/ebin], "")
    |> String.replace(
      ~s[ -elixir_root "$SCRIPT_PATH"/../lib -pa "$SCRIPT_PATH"/../lib/elixir/ebin ],
      " "
    )
    |> erts_bin(release, ~s["$SCRIPT_PATH"/../../erts-#{release.erts_version}/bin/])
  end

  defp windows_elixir(text, release) do
    text
    |> String.replace(~s[goto expand_erl_libs], ~s[goto run])
    |> String.replace(
      ~s[ -elixir_root !SCRIPT_PATH!..\\lib -pa !SCRIPT_PATH!..\\lib\\elixir\\ebin ],
      " "
    )
    |> erts_bin(release, ~s[%~dp0\\..\\..\\erts-#{release.erts_version}\\bin\\])
  end

  defp erts_bin(text, %{erts_source: nil}, _path), do: text

  defp erts_bin(text, _release, path) do
    String.replace(text, [~s[ERTS_BIN="$ERTS_BIN"], ~s[ERTS_BIN=!ERTS_BIN!]], "ERTS_BIN=#{path}")
  end

  # An application specification is copied by Mix itself, from a folder that holds nothing else: some versions print it anew.
  defp app_files(release) do
    target = Path.join(release.path, "apps")
    File.mkdir_p!(target)
    alone = Path.join(release.path, "alone")
    scratch = Path.join(release.path, "copied")

    for {app, properties} <- release.applications do
      source = Path.join([to_string(properties[:path]), "ebin", "#{app}.app"])
      stub = Path.join([alone, Atom.to_string(app)])
      File.mkdir_p!(Path.join(stub, "ebin"))
      File.write!(Path.join([stub, "ebin", "#{app}.app"]), File.read!(source))
      properties = Keyword.merge(properties, path: String.to_charlist(stub), otp_app?: false)
      lone = %{release | path: scratch, applications: %{app => properties}}
      Mix.Release.copy_app(lone, app)
      copied = Path.join([scratch, "lib", "#{app}-#{properties[:vsn]}", "ebin", "#{app}.app"])
      File.rename!(copied, Path.join(target, "#{app}.app"))
    end

    File.rm_rf!(alone)
    File.rm_rf!(scratch)
  end

  # The launcher of the runtime is written by Mix, from an empty ERTS.
  defp erl(release) do
    empty = Path.join(release.path, "empty")
    scratch = Path.join(release.path, "erts")
    File.mkdir_p!(Path.join(empty, "bin"))
    Mix.Release.copy_erts(%{release | erts_source: String.to_charlist(empty), path: scratch})

    File.rename!(
      Path.join(scratch, "erts-#{release.erts_version}/bin/erl"),
      Path.join(release.path, "erl")
    )

    File.rm_rf!(empty)
    File.rm_rf!(scratch)
  end

  defp answer(release, runtime) do
    modes = release.boot_scripts.start

    # All that Mix knows of is copied, whatever starts.
    others =
      for {app, properties} <- Enum.sort(release.applications),
          not Keyword.has_key?(modes, app),
          do: {app, if(properties[:mode] == :included, do: :load, else: properties[:mode])}

    applications =
      for {app, mode} <- modes ++ others do
        properties = release.applications[app]

        %{
          name: app,
          version: to_string(properties[:vsn]),
          mode: mode,
          otp: properties[:otp_app?],
          path: properties[:path] |> to_string() |> Path.expand()
        }
      end

    %{
      name: release.name,
      version: release.version,
      erts_version: to_string(release.erts_version),
      applications: applications,
      runtime_config: runtime,
      reboot:
        Keyword.get(release.options, :reboot_system_after_config, false) and
          release.config_providers != [],
      cookie: release.options[:cookie],
      overlays: release.options[:overlays] |> List.wrap() |> Enum.map(&to_string/1),
      templates: to_string(release.options[:rel_templates_path] || "rel"),
      skip_mode_validation_for: List.wrap(release.options[:skip_mode_validation_for])
    }
  end
end
