defmodule FrontTest do
  use ExUnit.Case

  test "results are shown" do
    Tally.vote("spaces")
    assert Front.show() =~ "spaces: 1"
  end
end
