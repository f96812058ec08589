defmodule Relgraph.Config do
  @moduledoc "Evaluates `config/config.exs` and writes each application's part to a file of its own."

  @doc "Writes `APP.etf` (external term format of `{app, pairs}`) for each application configured into `request.out`."
  @spec run(map) :: map
  def run(request) do
    # Mix loads the project first; a configuration may ask it.
    Relgraph.Describe.load_project("mix.exs")

    config =
      if File.regular?(request.config_path) or request.config_path != "config/config.exs" do
        opts = [env: request.env, target: request.target]
        {config, _files} = Config.Reader.read_imports!(request.config_path, opts)
        config
      else
        []
      end

    File.mkdir_p!(request.out)

    for {app, pairs} <- config do
      File.write!(Path.join(request.out, "#{app}.etf"), :relgraph_terms.encode({app, pairs}))
    end

    File.write!(
      Path.join(request.out, "order"),
      Enum.map(config, fn {app, _} -> [Atom.to_string(app), ?\n] end)
    )

    %{applications: Enum.map(config, &elem(&1, 0))}
  end
end
