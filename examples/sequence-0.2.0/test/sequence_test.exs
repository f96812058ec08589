defmodule SequenceTest do
  use ExUnit.Case

  test "numbers follow each other by the configured step" do
    first = Sequence.next()
    assert Sequence.next() == first + Application.fetch_env!(:sequence, :step)
  end

  test "a crash of the server loses no number and repeats none" do
    before = Sequence.next()
    crash(Sequence.Server)
    assert Sequence.next() == before + 1
  end

  test "the numbers handed out last are remembered, and not without end" do
    numbers = Enum.map(1..12, fn _ -> Sequence.next() end)
    assert Sequence.recent() == numbers |> Enum.reverse() |> Enum.take(10)
  end

  test "labels" do
    assert Sequence.Label.label(7) == "#7"
    assert Sequence.Label.label([9, 8]) == "#9, #8"
    assert Sequence.Label.label([]) == "none"
    assert "#" <> _ = Sequence.next_label()
    assert Sequence.recent_label() =~ "#"
  end

  test "the state migrates up from version 0 and down to it" do
    assert Sequence.Server.code_change("0", {468, 10}, []) == {:ok, {468, 10, []}}
    assert Sequence.Server.code_change({:down, "0"}, {478, 10, [468]}, []) == {:ok, {478, 10}}
  end

  defp crash(name) do
    pid = Process.whereis(name)
    ref = Process.monitor(pid)
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^ref, :process, ^pid, :killed}
    wait_until(fn -> Process.whereis(name) not in [nil, pid] end)
  end

  defp wait_until(condition) do
    unless condition.() do
      Process.sleep(5)
      wait_until(condition)
    end
  end
end
