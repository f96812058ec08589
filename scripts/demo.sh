#!/bin/sh
# Builds examples/sequence, boots it, asks it for a number, and stops it again, whatever happens in between.
#
# What it builds lies in examples/sequence/_build, and the store in target/demo unless RELGRAPH_CACHE_DIR says otherwise.
set -eu

cd "$(dirname "$0")/.."
scripts/packages.sh mix=elixir erl=erlang-nox

target=${CARGO_TARGET_DIR:-target}
export RELGRAPH_CACHE_DIR="${RELGRAPH_CACHE_DIR:-$PWD/target/demo/store}"

say() {
  printf '\n$ %s\n' "$*"
}

say cargo build --release --locked
cargo build --release --locked

say relgraph build examples/sequence/release.yaml
"$target/release/relgraph" build examples/sequence/release.yaml

release=examples/sequence/_build/relgraph/prod/sequence
node=$release/bin/sequence
# A name of its own, so that it meets no other node on this machine.
export RELEASE_NODE="relgraph_demo_$$"

# The Erlang name server outlives the nodes that start it. One that was there before is left alone.
epmd=$(echo "$release"/erts-*/bin/epmd)
if "$epmd" -names > /dev/null 2>&1; then epmd=true; fi

started=no
stop() {
  status=$?
  trap - EXIT
  # Now it is told to stop, whoever is impatient.
  trap '' INT TERM
  if [ "$started" = yes ]; then
    # It may have been on its way only.
    wait_until "the node does not answer, so it was not told to stop" "$node" ping || status=1
    pid=$("$node" pid) || status=1
    say bin/sequence stop
    "$node" stop || status=1
    wait_until "the node is still there: process $pid" gone || status=1
  fi
  "$epmd" -kill > /dev/null 2>&1 || true
  exit "$status"
}

# Tries a command for half a minute; $1 is what is wrong when it never succeeds.
wait_until() {
  problem=$1
  shift
  tries=0
  until "$@" > /dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ]; then
      echo "error: $problem" >&2
      return 1
    fi
    sleep 0.5
  done
}

# A node answers before its applications are started, hence the question after the server.
up() { [ "$("$node" rpc 'IO.puts(is_pid(Process.whereis(Sequence.Server)))')" = true ]; }
gone() { ! kill -0 "$pid"; }

trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say bin/sequence daemon
started=yes
"$node" daemon
wait_until "the release did not start; its log is in $release/tmp/log" up

say "bin/sequence rpc 'IO.puts(Sequence.next())'"
number=$("$node" rpc 'IO.puts(Sequence.next())')
echo "$number"
case $number in
  '' | *[!0-9]*)
    echo "error: that is not a number" >&2
    exit 1
    ;;
esac
