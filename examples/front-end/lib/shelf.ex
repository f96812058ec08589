defmodule Shelf do
  @moduledoc "The page, with the names that the front end's build gave its files."

  # Made by the step `assets` of release.yaml, before this module is compiled.
  @assets Path.expand("../priv/static/assets", __DIR__)
  @names @assets |> File.ls!() |> Enum.sort()

  @doc "The names of the built files, each with a hash of its content in it."
  def names, do: @names

  @doc "The page."
  def page do
    tags =
      for name <- @names do
        case Path.extname(name) do
          ".css" -> ~s(<link rel="stylesheet" href="/assets/#{name}">)
          ".js" -> ~s(<script type="module" src="/assets/#{name}"></script>)
        end
      end

    """
    <!doctype html>
    <html lang="en">
    <head><meta charset="utf-8"><title>Shelf</title>#{Enum.join(tags)}</head>
    <body><ul id="shelf"></ul></body>
    </html>
    """
  end
end
