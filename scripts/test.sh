#!/bin/sh
# Installs what the tests need, and runs all of them. Arguments go to `cargo test`.
set -eu

cd "$(dirname "$0")/.."
# Beside Erlang and Elixir: sandboxes (bwrap, setpriv), a terminal (script), the build tool that the benchmark compares
# with (ninja), the shell's own checker, what unpacks source packages, npm, whose packages
# examples/front-end bundles, and a browser for the pages that are made.
scripts/packages.sh mix=elixir erl=erlang-nox rebar3 bwrap=bubblewrap ninja=ninja-build setpriv=util-linux \
  script=bsdutils shellcheck dpkg-source=dpkg-dev npm chromium
# The servers that teams share results on, and certificates for them.
scripts/packages.sh nginx=nginx-light apache2 openssl curl radosgw ceph-mon ceph-osd
scripts/s3s-fs.sh

scripts/check.sh
cargo test --workspace --locked --no-fail-fast "$@"
