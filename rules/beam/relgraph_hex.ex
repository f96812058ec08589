defmodule Relgraph.SCM do
  @moduledoc """
  Takes every dependency that no built-in SCM wants (a Hex requirement) and finds it in `deps/`, where `mix deps.get` or a
  step of relgraph has put it.

  What is there was compared with the lock before the VM was started, so Hex itself is not needed to build.
  """

  @behaviour Mix.SCM

  @impl true
  def fetchable?, do: true

  @impl true
  def format(opts), do: "Hex package #{opts[:hex]}"

  @impl true
  def format_lock(_opts), do: nil

  @impl true
  def accepts_options(app, opts) do
    if Keyword.has_key?(opts, :path) or Keyword.has_key?(opts, :in_umbrella) or
         Keyword.has_key?(opts, :git) do
      nil
    else
      opts
      |> repository()
      |> Keyword.put_new(:hex, app)
      |> Keyword.update!(:hex, &to_string/1)
    end
  end

  # An organisation is a repository by another name, and no repository is the public one.
  defp repository(opts) do
    {organization, opts} = Keyword.pop(opts, :organization)
    named = if organization, do: "hexpm:#{organization}", else: opts[:repo] || "hexpm"
    Keyword.put(opts, :repo, to_string(named))
  end

  @impl true
  def checked_out?(opts), do: File.dir?(opts[:dest])

  @impl true
  def lock_status(_opts), do: :ok

  @impl true
  def equal?(one, other), do: one[:hex] == other[:hex] and one[:repo] == other[:repo]

  @doc "The version that a lock entry names, if it is one of a package."
  @spec locked_version(term) :: String.t() | nil
  def locked_version(lock) when is_tuple(lock) and tuple_size(lock) > 2 and elem(lock, 0) == :hex,
    do: elem(lock, 2)

  def locked_version(_lock), do: nil

  # The build tools that Hex wrote into the lock decide, as they do with Hex itself: a package may hold the files of several.
  @impl true
  def managers(opts) do
    case opts[:lock] do
      lock when is_tuple(lock) and tuple_size(lock) > 4 and elem(lock, 0) == :hex -> elem(lock, 4)
      _ -> []
    end
  end

  @impl true
  def checkout(opts), do: Mix.raise("dependency #{opts[:hex]} is not in deps/; run mix deps.get")

  @impl true
  def update(opts), do: checkout(opts)
end

defmodule Relgraph.Git do
  @moduledoc """
  Git dependencies as Mix has them, found in `deps/` without asking git: no step sees more of a repository than its files
  and what versions are computed from, and what is there was compared with the lock before the VM was started.
  """

  @behaviour Mix.SCM

  @impl true
  def fetchable?, do: true

  @impl true
  defdelegate format(opts), to: Mix.SCM.Git

  @impl true
  defdelegate format_lock(opts), to: Mix.SCM.Git

  @impl true
  defdelegate accepts_options(app, opts), to: Mix.SCM.Git

  @impl true
  def checked_out?(opts), do: File.dir?(opts[:checkout] || opts[:dest])

  @impl true
  def lock_status(_opts), do: :ok

  @impl true
  defdelegate equal?(one, other), to: Mix.SCM.Git

  @impl true
  defdelegate managers(opts), to: Mix.SCM.Git

  @impl true
  def checkout(_opts), do: Mix.raise("a git dependency is not in deps/; run mix deps.get")

  @impl true
  def update(opts), do: checkout(opts)
end

defmodule Relgraph.Converger do
  @moduledoc "Tells Mix what packages depend on by what the lock says of them, as Hex does, and not by their `mix.exs`."

  @behaviour Mix.RemoteConverger

  @impl true
  def remote?(dep), do: dep.scm == Relgraph.SCM

  @impl true
  def converge(_deps, lock), do: lock

  # Without a word of the lock about it, the package is asked.
  @impl true
  def deps(dep, lock) do
    case lock[dep.app] do
      entry when is_tuple(entry) and tuple_size(entry) > 5 and elem(entry, 0) == :hex ->
        elem(entry, 5)

      _ ->
        nil
    end
  end

  @impl true
  def post_converge, do: :ok
end

defmodule Hex do
  @moduledoc "Answers for Hex when Mix asks whether it is installed: what is in `deps/` is taken as it is."

  @doc "Registers what finds fetched dependencies, and what they depend on."
  @spec start() :: :ok
  def start do
    unless Relgraph.SCM in Mix.SCM.available() do
      Mix.SCM.append(Relgraph.SCM)
      Mix.SCM.prepend(Relgraph.Git)
      Mix.RemoteConverger.register(Relgraph.Converger)
    end

    :ok
  end

  @doc "A version that satisfies every Mix."
  @spec version() :: String.t()
  def version, do: "99.0.0"
end
