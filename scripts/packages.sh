#!/bin/sh
# Installs what is missing of the programs named, from Debian's packages; says first what that is.
#
#   packages.sh PROGRAM[=PACKAGE]...
#
# PACKAGE is the package that has PROGRAM, unless both have the same name. With everything there, nothing is said or done.
set -eu

missing=
for wanted in "$@"; do
  program=${wanted%%=*}
  package=${wanted#*=}
  command -v "$program" > /dev/null 2>&1 || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get > /dev/null 2>&1; then
  echo "these Debian packages, or what your system has in their place, are needed and were not found:$missing" >&2
  echo "hint: install them, and start again" >&2
  exit 1
fi

if [ "$(id -u)" = 0 ]; then
  as_root=
elif command -v sudo > /dev/null 2>&1; then
  as_root=sudo
else
  echo "these Debian packages are needed:$missing" >&2
  echo "hint: install them as root (there is no sudo here): apt-get install$missing" >&2
  exit 1
fi

echo "installing from Debian's packages${as_root:+ with sudo}:$missing"
# Another apt may be at work, as on machines that have just started.
apt() {
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq "$@"
}
apt update
# Not quoted: one word per package.
# shellcheck disable=SC2086
apt install -y --no-install-recommends $missing > /dev/null
