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

  test "labels" do
    assert Sequence.Label.label(7) == "number 7"
    assert "number " <> _ = Sequence.next_label()
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
