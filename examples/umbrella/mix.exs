defmodule Polls.MixProject do
  use Mix.Project

  def project do
    [
      apps_path: "apps",
      version: "0.1.0",
      start_permanent: Mix.env() == :prod,
      deps: [],
      releases: [
        polls: [applications: [front: :permanent, tally: :permanent]],
        tally: [applications: [tally: :permanent]]
      ]
    ]
  end
end
