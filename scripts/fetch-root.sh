#!/bin/sh
# Makes a folder with packages of a release of Debian, and all that they need, without being root and without touching apt's
# configuration: what another machine would have below /.
#
#   fetch-root.sh [--alone] FOLDER RELEASE[/ARCHITECTURE] PACKAGE...
#
# With --alone, what the packages need is left out; RELEASE may be `-` for that of the machine. The packages come from the repositories that the machine installs its own from. They are unpacked, not set up: no
# script of theirs runs, nothing is installed. A folder that is there already is left as it is. FOLDER.packages lists what is
# in it, one `NAME VERSION` a line.
set -eu

alone=
if [ "$1" = --alone ]; then
  alone=yes
  shift
fi
folder=$1
release=${2%/*}
architecture=$(dpkg --print-architecture)
case $2 in */*) architecture=${2#*/} ;; esac
shift 2
[ ! -d "$folder" ] || exit 0
mkdir -p "$(dirname "$folder")"
folder=$(cd "$(dirname "$folder")" && pwd)/$(basename "$folder")

# shellcheck source=apt.sh
. "$(dirname "$0")/apt.sh"
new=$folder.new-$$
apt_state "$new/state"
trap 'rm -rf "$new"' EXIT

more=$release
[ "$release" != - ] || more=
# Not quoted: no word where there is no other release.
# shellcheck disable=SC2086
if ! list_repositories deb $more; then
  echo "apt knows no repository of Debian, so that no packages of another system can be fetched" >&2
  echo "hint: look at what \`apt-get update\` says on this machine" >&2
  exit 1
fi
if [ -n "$more" ]; then
  # Packages of this release alone: those of the machine are another's.
  grep " $release " "$list" | sort -u > "$list.one"
  mv "$list.one" "$list"
fi
: > "$new/state/status"
foreign() {
  listed -o Dir::State="$new/state" -o Dir::State::status="$new/state/status" -o APT::Architecture="$architecture" \
    -o APT::Architectures::="$architecture" -o APT::Default-Release= -o Debug::NoLocking=1 "$@"
}
if ! foreign update; then
  echo "the lists of packages of $release ($architecture) could not be fetched" >&2
  exit 1
fi
if [ -n "$alone" ]; then
  (cd "$new/state/archives" && foreign download "$@" > /dev/null)
else
  foreign install --download-only --no-install-recommends -y "$@" > /dev/null
fi

# Since Debian 13 these are links, and no package brings them before others have made folders of them.
root=$new/root
for name in bin sbin lib lib64; do
  mkdir -p "$root/usr/$name"
  ln -s "usr/$name" "$root/$name"
done
for package in "$new"/state/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink --no-same-owner -C "$root"
  # Not for the shell: dpkg-deb fills these in.
  # shellcheck disable=SC2016
  dpkg-deb -W --showformat '${Package} ${Version}\n' "$package" >> "$new/packages"
done
mv "$new/packages" "$folder.packages"
mv "$root" "$folder"
