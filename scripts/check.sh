#!/bin/sh
# Formatting, lints and shell scripts: each where the program for it is installed.
set -eu

cd "$(dirname "$0")/.."

skip() {
  echo "skipped: $1 is not installed"
}

if cargo fmt --version > /dev/null 2>&1; then cargo fmt --all --check; else skip rustfmt; fi
if cargo clippy --version > /dev/null 2>&1; then
  cargo clippy --workspace --all-targets --locked -- -D warnings
else
  skip clippy
fi
if command -v shellcheck > /dev/null 2>&1; then
  shellcheck -x -P SCRIPTDIR scripts/*.sh .ci/run rules/templates/test/*.sh
else
  skip shellcheck
fi
