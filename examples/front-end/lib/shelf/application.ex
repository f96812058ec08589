defmodule Shelf.Application do
  @moduledoc "Serves the page and its files on 127.0.0.1, with the web server of OTP."

  use Application

  @impl true
  def start(_type, _args) do
    Supervisor.start_link([server()], strategy: :one_for_one, name: Shelf.Supervisor)
  end

  defp server do
    static = Application.app_dir(:shelf, "priv/static")
    root = Path.join(System.tmp_dir!(), "shelf-#{System.pid()}")
    File.mkdir_p!(root)
    File.cp_r!(static, root)
    File.write!(Path.join(root, "index.html"), Shelf.page())

    options = [
      port: String.to_integer(System.get_env("PORT", "4000")),
      bind_address: {127, 0, 0, 1},
      server_name: 'shelf',
      server_root: String.to_charlist(root),
      document_root: String.to_charlist(root),
      directory_index: ['index.html'],
      mime_types: [{'html', 'text/html'}, {'js', 'text/javascript'}, {'css', 'text/css'}]
    ]

    %{id: Shelf.Server, start: {:inets, :start, [:httpd, options, :stand_alone]}}
  end
end
