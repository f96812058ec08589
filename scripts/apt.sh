# shellcheck shell=sh
# apt without its configuration: the lists of packages and what is downloaded lie in a folder of the caller's, and root is
# not needed. Sourced by the scripts that fetch packages.

keys=/usr/share/keyrings/debian-archive-keyring.gpg

# Begins to keep lists in the folder $1.
apt_state() {
  state=$1
  list=$state/sources.list
  mkdir -p "$state/lists/partial" "$state/archives/partial"
}

apt() {
  apt-get -qq -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state" -o Dir::Cache::Archives="$state/archives" \
    -o APT::Sandbox::User= -o Acquire::Retries=2 "$@"
}

# The same with the repositories of the list, and no others.
listed() {
  apt -o Dir::Etc::SourceList="$list" -o Dir::Etc::SourceParts=- "$@"
}

# One line of the kind $1 (deb-src) for each repository of the distribution that packages come from; the release itself before its
# updates, whose files may be gone where the release has them, too. What follows is asked: apt-get, or apt.
repositories() {
  kind=$1
  shift
  # Not for the shell: apt fills these in.
  # shellcheck disable=SC2016
  "$@" indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    sed -n "s/^\(Debian\|Ubuntu\) /$kind /p" | sort -u -k3,3 -k2
}

# Writes the list of the machine's repositories, as lines of the kind $1, and more lines for the releases that follow; fails
# where there are none.
list_repositories() {
  of=$1
  shift
  repositories "$of" apt-get > "$list"
  if ! [ -s "$list" ]; then
    # A machine on which `apt-get update` was never run does not know.
    apt update || true
    repositories "$of" apt > "$list"
  fi
  [ -s "$list" ] || return 1
  for release in "$@"; do
    sed -n "s/^\($of [^ ]*\) [a-z]* /\1 $release /p" "$list" >> "$list.more"
  done
  [ ! -f "$list.more" ] || { cat "$list.more" >> "$list" && rm "$list.more"; }
  if [ -f "$keys" ] && grep -q /debian "$list"; then
    sed -i "s|^$of |$of [signed-by=$keys] |" "$list"
  fi
}
