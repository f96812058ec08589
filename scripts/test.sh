#!/bin/sh
# Installs what the tests need, and runs all of them. Arguments go to `cargo test`.
set -eu

cd "$(dirname "$0")/.."
# Beside Erlang and Elixir: sandboxes (bwrap, setpriv), a terminal (script), the build tool that the benchmark compares
# with (ninja), the shell's own checker, what unpacks source packages, npm, whose packages
# examples/front-end bundles, and a browser for the pages that are made. For the cache server: clients of others, and what makes
# certificates.
scripts/packages.sh mix=elixir erl=erlang-nox rebar3 bwrap=bubblewrap ninja=ninja-build setpriv=util-linux \
  script=bsdutils shellcheck dpkg-source=dpkg-dev npm chromium bazel=bazel-bootstrap ccache openssl

scripts/check.sh
cargo test --workspace --locked --no-fail-fast "$@"
