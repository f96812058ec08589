defmodule Relgraph.SCM do
  @moduledoc """
  Takes every dependency that no built-in SCM wants (a Hex requirement) and finds it where `mix deps.get` left it.

  relgraph reads what was fetched and never fetches behind the user's back, so Hex itself is not needed to build.
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
      Keyword.put_new(opts, :hex, Atom.to_string(app))
    end
  end

  @impl true
  def checked_out?(opts), do: File.dir?(opts[:dest])

  @impl true
  def lock_status(_opts), do: :ok

  @impl true
  def equal?(one, other), do: one[:hex] == other[:hex]

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

defmodule Hex do
  @moduledoc "Answers for Hex when Mix asks whether it is installed: what is in `deps/` is taken as it is."

  @doc "Registers the SCM that finds fetched packages."
  @spec start() :: :ok
  def start do
    unless Relgraph.SCM in Mix.SCM.available(), do: Mix.SCM.append(Relgraph.SCM)
    :ok
  end

  @doc "A version that satisfies every Mix."
  @spec version() :: String.t()
  def version, do: "99.0.0"
end
