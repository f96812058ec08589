#!/bin/sh
# Installs what the tests need, and runs all of them. Arguments go to `cargo test`.
set -eu

cd "$(dirname "$0")/.."
# Servers lie in a folder for administrators.
PATH=$PATH:/usr/sbin
# Beside Erlang and Elixir: sandboxes (bwrap, setpriv), a terminal (script), the build tool that the benchmark compares
# with (ninja), the shell's own checker, what unpacks source packages, npm, whose packages
# examples/front-end bundles, and a browser for the pages that are made.
scripts/packages.sh mix=elixir erl=erlang-nox rebar3 bwrap=bubblewrap ninja=ninja-build setpriv=util-linux \
  script=bsdutils shellcheck dpkg-source=dpkg-dev npm chromium
# Servers that teams share results on, certificates for them, and clients of others for our own server.
scripts/packages.sh nginx=nginx-light apache2 openssl curl radosgw ceph-mon ceph-osd bazel=bazel-bootstrap ccache
scripts/s3s-fs.sh
# Servers of the Remote Execution API come from PyPI; the module of Python that fetches them has no program of its own.
python3 -c 'import ensurepip, venv' 2> /dev/null || scripts/packages.sh python3-venv
scripts/install-servers.sh "${CARGO_TARGET_DIR:-target}/tmp/servers" buildbox buildgrid

scripts/check.sh
cargo test --workspace --locked --no-fail-fast "$@"
