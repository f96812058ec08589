#!/bin/sh
# Builds code bases that no one here wrote, from the sources of Debian's packages, boots them and asks them; writes what
# came of it to docs/real.md. Arguments go to the tests: `ejabberd` runs those of ejabberd alone.
set -eu

cd "$(dirname "$0")/.."
scripts/packages.sh mix=elixir erl=erlang-nox rebar3 bwrap=bubblewrap dpkg-source=dpkg-dev \
  make gcc g++ autoconf aclocal=automake python3

# Headers have no program to look for.
missing=
for package in erlang-dev libssl-dev libyaml-dev libexpat1-dev zlib1g-dev; do
  dpkg -s "$package" > /dev/null 2>&1 || missing="$missing nothing=$package"
done
# Not quoted: one word per package.
# shellcheck disable=SC2086
[ -z "$missing" ] || scripts/packages.sh $missing

target=${CARGO_TARGET_DIR:-target}
rm -rf "$target/tmp/real"
export RELGRAPH_TEST_REAL=1
cargo test --locked --test real -- --include-ignored --test-threads 1 "$@"

# With some of them left out, what came of the others stays as it was.
[ $# = 0 ] || exit 0
{
  echo "# Code that no one here wrote"
  echo
  echo "What \`make test-real\` said the last time: code bases from the source packages of Debian, unchanged, with a"
  echo "release.yaml beside them. Written by scripts/test-real.sh."
  echo
  for file in "$target"/tmp/real/*.md; do sed 's/^/- /' "$file"; done
} > docs/real.md
