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
state=$folder/.apt
mkdir -p "$state/lists/partial" "$state/archives/partial"
apt() {
  apt-get -qq -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state" -o Dir::Cache::Archives="$state/archives" \
    -o APT::Sandbox::User= -o Acquire::Retries=2 "$@"
}

# One line for each repository of the distribution that packages come from; the release itself before its updates, whose
# files may be gone where the release has them, too.
repositories() {
  # Not for the shell: apt fills these in.
  # shellcheck disable=SC2016
  "$@" indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sed -n 's/^\(Debian\|Ubuntu\) /deb-src /p' | sort -u -k3,3 -k2
}

list=$state/sources.list
repositories apt-get > "$list"
if ! [ -s "$list" ]; then
  # A machine on which `apt-get update` was never run does not know.
  apt update || true
  repositories apt > "$list"
fi
if ! [ -s "$list" ]; then
  echo "apt knows no repository of Debian, so that these sources cannot be fetched:$missing" >&2
  echo "hint: look at what \`apt-get update\` says on this machine" >&2
  exit 1
fi
for release in $(echo "$releases" | tr ' ' '\n' | sort -u); do
  sed -n "s/^\(deb-src [^ ]*\) [a-z]* /\1 $release /p" "$list" >> "$list.more"
done
[ ! -f "$list.more" ] || { cat "$list.more" >> "$list" && rm "$list.more"; }
keys=/usr/share/keyrings/debian-archive-keyring.gpg
if [ -f "$keys" ] && grep -q /debian "$list"; then
  sed -i "s|^deb-src |deb-src [signed-by=$keys] |" "$list"
fi
sources() {
  apt -o Dir::Etc::SourceList="$list" -o Dir::Etc::SourceParts=- "$@"
}

if ! sources update; then
  echo "the lists of source packages could not be fetched; needed:$missing" >&2
  exit 1
fi

# Fetches $1 into the folder $2 and unpacks it as `unpacked` in there.
fetch() {
  cd "$2"
  if sources source --download-only "$1" > said 2>&1; then
    dpkg-source --no-check --extract ./*.dsc unpacked > said 2>&1
  elif sources source --download-only --tar-only "$1" >> said 2>&1; then
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
