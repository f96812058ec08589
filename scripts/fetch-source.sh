#!/bin/sh
# Fetches source packages of Debian and unpacks each into a folder of its own, without touching apt's configuration.
#
#   fetch-source.sh FOLDER PACKAGE[/RELEASE]...
#
# PACKAGE comes to lie in FOLDER/PACKAGE; what is there already is not fetched again. The repositories are those that the
# machine installs its packages from; RELEASE (trixie) is another release of the distribution in them. Debian's patches
# are applied where the mirror has them. Nothing is installed, and root is not needed.
set -eu

folder=$1
shift
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

missing=
releases=
for package in "$@"; do
  [ -d "$folder/${package%/*}" ] || missing="$missing $package"
  case $package in */*) releases="$releases ${package#*/}" ;; esac
done
[ -n "$missing" ] || exit 0

for program in apt-get dpkg-source; do
  if ! command -v "$program" > /dev/null 2>&1; then
    echo "$program is needed to fetch source packages and was not found" >&2
    echo "hint: on Debian and Ubuntu, scripts/packages.sh dpkg-source=dpkg-dev installs it" >&2
    exit 1
  fi
done

# Lists of packages, and what is downloaded, lie here: those of the machine belong to root.
# shellcheck source=apt.sh
. "$(dirname "$0")/apt.sh"
apt_state "$folder/.apt"

# Not quoted: one word per release.
# shellcheck disable=SC2046
if ! list_repositories deb-src $(echo "$releases" | tr ' ' '\n' | sort -u); then
  echo "apt knows no repository of Debian, so that these sources cannot be fetched:$missing" >&2
  echo "hint: look at what \`apt-get update\` says on this machine" >&2
  exit 1
fi

if ! listed update; then
  echo "the lists of source packages could not be fetched; needed:$missing" >&2
  exit 1
fi

# Fetches $1 into the folder $2 and unpacks it as `unpacked` in there.
fetch() {
  cd "$2"
  if listed source --download-only "$1" > said 2>&1; then
    dpkg-source --no-check --extract ./*.dsc unpacked > said 2>&1
  elif listed source --download-only --tar-only "$1" >> said 2>&1; then
    echo "$1: without Debian's patches, which the mirror does not have"
    mkdir unpacked
    tar -xf ./*.orig.tar.* --strip-components 1 -C unpacked
  else
    return 1
  fi
}

for package in $missing; do
  # Whoever is interrupted leaves no half of a folder behind.
  new=$folder/.new-${package%/*}-$$
  rm -rf "$new"
  mkdir -p "$new"
  if ! (fetch "$package" "$new"); then
    cat "$new/said" >&2
    echo "the source package $package could not be fetched" >&2
    rm -rf "$new"
    exit 1
  fi
  # Another test may have been faster.
  mv -T "$new/unpacked" "$folder/${package%/*}" 2> /dev/null || [ -d "$folder/${package%/*}" ]
  rm -rf "$new"
done
