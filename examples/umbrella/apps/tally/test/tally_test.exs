defmodule TallyTest do
  use ExUnit.Case

  test "votes are counted" do
    Tally.vote("tabs")
    Tally.vote("tabs")
    assert %{"tabs" => 2} = Tally.votes()
  end
end
