#!/bin/sh
# Starts and controls the release @@NAME@@. Every RELEASE_* variable below can be set from outside or in env.sh.
set -e

# Follows links to the script itself, whether they are absolute or relative to the link.
SELF=$0
while [ -h "$SELF" ]; do
  LINK=$(readlink "$SELF")
  case $LINK in
    /*) SELF=$LINK ;;
    *) SELF=$(dirname "$SELF")/$LINK ;;
  esac
done
RELEASE_ROOT=$(CDPATH='' cd "$(dirname "$SELF")/.." && pwd -P)
RELEASE_NAME=${RELEASE_NAME:-@@NAME@@}
RELEASE_PROG=${RELEASE_PROG:-${0##*/}}

fail () {
  echo "ERROR: $1" >&2
  exit 1
}

# ---- apply: a patch of plain files ------------------------------------------------------------------------------------------
# `apply FILE [--activate]` makes a new version beside those that are here, from what `relgraph diff OLD NEW --patch FILE --plain`
# wrote (docs/formats/patch.md). All is verified and made in a folder beside the others first. Then folders that no version has
# yet are renamed into their places, the version itself last; what other versions consist of is not touched.

# Verifies the list of SHA-256 sums $2 in the folder $1. What does not fit is left in MISFITS.
patch_sums () {
  MISFITS=
  [ -s "$2" ] || return 0
  if command -v sha256sum > /dev/null 2>&1; then
    MISFITS=$(cd "$1" && sha256sum -c "$2" 2> /dev/null) && return 0
  else
    MISFITS=$(cd "$1" && shasum -a 256 -c "$2" 2> /dev/null) && return 0
  fi
  MISFITS=$(printf '%s\n' "$MISFITS" | grep -v ': OK$' | sed 's/: FAILED.*//' | head -n 5 | tr '\n' ' ')
  return 1
}

patch_fail () {
  echo "ERROR: $1" >&2
  echo "ERROR: the patch was not applied, and nothing was changed" >&2
  exit 1
}

# Whether each line names something below: after the sum and two spaces ($1 = 67), or alone ($1 = 1).
patch_paths () {
  awk -v begin="$1" '
    {
      number = split(substr($0, begin), part, "[/\t]")
      if (number > 200 || length($0) < begin) wrong = 1
      for (i = 1; i <= number; i++) if (part[i] == "" || part[i] == "." || part[i] == "..") wrong = 1
    }
    END { exit wrong }'
}

# Whether each symlink leads down, or up along no more folders than it lies in.
patch_links () {
  awk -F '\t' '
    {
      above = split($1, part, "/") - 1
      number = split($2, part, "/")
      if ($1 == "" || $2 == "" || part[1] == "") wrong = 1
      for (i = 1; i <= number && part[i] == ".."; i++) above--
      for (; i <= number; i++) if (part[i] == "..") wrong = 1
      if (above < 0) wrong = 1
      number = split($1, part, "/")
      for (i = 1; i <= number; i++) if (part[i] == "" || part[i] == "." || part[i] == "..") wrong = 1
    }
    END { exit wrong }'
}

# What the patch says of $1.
patch_info () {
  sed -n "s/^$1 //p" "$STAGE/patch/info"
}

# Whether nothing on the way to $1 is a symlink, which could lead anywhere.
patch_inside () {
  WAY=$1
  while [ "$WAY" != "${WAY%/*}" ]; do
    WAY=${WAY%/*}
    [ ! -h "$RELEASE_ROOT/$WAY" ] || return 1
  done
}

# releases/RELEASES with the new version in it: unpacked, or permanent where it is to be started.
patch_releases () {
  awk -v start="{release,\"$(patch_info name)\",\"$(patch_info new)\"," -v activate="$ACTIVATE" '
    NR == FNR { entry = $0; next }
    /^%%/ { next }
    { sub(/^[ \t]+/, ""); text = text $0 }
    END {
      if (!index(text, start)) sub(/^\[/, "[" (text ~ /^\[\]/ ? "@ENTRY@" : "@ENTRY@,"), text)
      if (at = index(text, "@ENTRY@")) text = substr(text, 1, at - 1) entry substr(text, at + 7)
      if (activate != "") {
        gsub(/\],permanent\}/, "],old}", text)
        at = index(text, start)
        rest = substr(text, at)
        sub(/\],[a-z_]+\}/, "],permanent}", rest)
        text = substr(text, 1, at - 1) rest
      }
      print "%% coding: utf-8\n" text
    }' "$STAGE/patch/RELEASES" "$RELEASE_ROOT/releases/RELEASES"
}

# Unpacks the patch into STAGE, and looks at what it says.
patch_unpack () {
  case $(head -n 1 "$1" 2> /dev/null | tr -d '\0') in
    "relgraph patch "*) patch_fail "$1 is for \`relgraph apply\`; with --plain, relgraph makes one for this script" ;;
  esac
  gzip -t "$1" 2> /dev/null || patch_fail "$1 is damaged, or not a patch"
  # Plain files in two folders, and nothing else.
  tar -tzf "$1" > "$STAGE/names" 2> /dev/null || patch_fail "$1 is damaged, or not a patch"
  tar -tvzf "$1" > "$STAGE/kinds" 2> /dev/null || patch_fail "$1 is damaged, or not a patch"
  if grep -q -v '^-' "$STAGE/kinds" || grep -q -e ' -> ' -e ' link to ' "$STAGE/kinds" ||
    grep -q -v -e '^patch/' -e '^new/' "$STAGE/names" || ! patch_paths 1 < "$STAGE/names"; then
    patch_fail "$1 is no patch of plain files"
  fi
  # Nobody's but the caller's, whoever packed it.
  tar -C "$STAGE" -xzof "$1" || patch_fail "$1 could not be unpacked"
  [ "$(head -n 1 "$STAGE/patch/info" 2> /dev/null)" = "format relgraph plain patch 1" ] ||
    patch_fail "$1 is no patch that this script knows"
  for LIST in old.sha256 new.sha256 shared.sha256 shared-old.sha256; do
    patch_paths 67 < "$STAGE/patch/$LIST" || patch_fail "$1 leads out of the release"
  done
  for LIST in copies directories executables folders; do
    [ -e "$STAGE/patch/$LIST" ] || : > "$STAGE/patch/$LIST"
    patch_paths 1 < "$STAGE/patch/$LIST" || patch_fail "$1 leads out of the release"
  done
  patch_links < "$STAGE/patch/links" || patch_fail "$1 leads out of the release"
  if grep -q -v -e '^lib/[^/]*$' -e '^releases/[^/]*$' -e '^erts-[^/]*$' "$STAGE/patch/folders" ||
    grep -q -x -e 'releases/COOKIE' -e 'releases/RELEASES' -e 'releases/start_erl.data' "$STAGE/patch/folders"; then
    patch_fail "$1 leads out of the release"
  fi
}

# Makes everything of the new version in STAGE/new, and verifies it.
patch_stage () {
  mkdir -p "$STAGE/new" || return 1
  while IFS= read -r NEW; do mkdir -p "$STAGE/new/$NEW" || return 1; done < "$STAGE/patch/directories"
  while IFS="$(printf '\t')" read -r OLD NEW; do
    mkdir -p "$STAGE/new/${NEW%/*}" || return 1
    cp "$RELEASE_ROOT/$OLD" "$STAGE/new/$NEW" || return 1
  done < "$STAGE/patch/copies"
  for LIST in new.sha256 shared.sha256; do
    patch_sums "$STAGE/new" "$STAGE/patch/$LIST" || patch_fail "$1 does not hold what it announces: $MISFITS"
  done
  find "$STAGE/new" -type d -exec chmod 755 {} + || return 1
  find "$STAGE/new" -type f -exec chmod 644 {} + || return 1
  while IFS= read -r NEW; do chmod 755 "$STAGE/new/$NEW" || return 1; done < "$STAGE/patch/executables"
  while IFS="$(printf '\t')" read -r NEW OLD; do ln -s "$OLD" "$STAGE/new/$NEW" || return 1; done < "$STAGE/patch/links"
}

# Which of what all versions share has to be replaced: names in STAGE/replace.
patch_shared () {
  : > "$STAGE/replace"
  while IFS= read -r LINE; do
    NEW=${LINE#*  }
    printf '%s\n' "$LINE" > "$STAGE/one"
    patch_inside "$NEW" || patch_fail "$RELEASE_ROOT/$NEW lies behind a symlink"
    if [ -e "$RELEASE_ROOT/$NEW" ] || [ -h "$RELEASE_ROOT/$NEW" ]; then
      if patch_sums "$RELEASE_ROOT" "$STAGE/one"; then continue; fi
      awk -v name="$NEW" 'substr($0, 67) == name' "$STAGE/patch/shared-old.sha256" > "$STAGE/one"
      if [ ! -s "$STAGE/one" ] || [ -h "$RELEASE_ROOT/$NEW" ] || ! patch_sums "$RELEASE_ROOT" "$STAGE/one"; then
        patch_fail "$RELEASE_ROOT/$NEW is not as $(patch_info old) had it"
      fi
    fi
    printf '%s\n' "$NEW" >> "$STAGE/replace"
  done < "$STAGE/patch/shared.sha256"
}

patch_move () {
  mkdir -p "$RELEASE_ROOT/${1%"${1##*/}"}" || return 1
  mv -f "$STAGE/new/$1" "$RELEASE_ROOT/$1"
}

apply_patch () {
  FILE=
  ACTIVATE=
  for WORD in "$@"; do
    case $WORD in
      --activate) ACTIVATE=yes ;;
      -*) patch_fail "apply knows no $WORD" ;;
      *) FILE=$WORD ;;
    esac
  done
  [ -n "$FILE" ] || patch_fail "apply expects the file of a patch"
  [ -f "$FILE" ] || patch_fail "there is no file $FILE"
  case $FILE in /*) ;; *) FILE=$PWD/$FILE ;; esac
  for NEW in "$RELEASE_ROOT"/.apply-*.staging; do
    [ -d "$NEW" ] || continue
    OTHER=${NEW##*/.apply-}
    OTHER=${OTHER%.staging}
    if kill -0 "$OTHER" 2> /dev/null || [ -d "/proc/$OTHER" ]; then
      patch_fail "another patch is being applied; if not, remove $NEW"
    fi
    rm -rf "$NEW"
  done
  STAGE=$RELEASE_ROOT/.apply-$$.staging
  mkdir "$STAGE" 2> /dev/null || patch_fail "could not write to $RELEASE_ROOT"
  trap 'rm -rf "$STAGE"' EXIT
  trap 'exit 130' INT TERM HUP
  patch_unpack "$FILE"
  VERSION=$(patch_info new)
  case $(patch_info name)$VERSION in */* | '') patch_fail "$FILE leads out of the release" ;; esac
  [ "$(patch_info name)" = "@@NAME@@" ] || patch_fail "the patch is for $(patch_info name), and this is @@NAME@@"
  for NEW in lib releases; do [ ! -h "$RELEASE_ROOT/$NEW" ] || patch_fail "$RELEASE_ROOT/$NEW is a symlink"; done
  patch_sums "$RELEASE_ROOT" "$STAGE/patch/old.sha256" ||
    patch_fail "the patch is for $(patch_info old) as it was built, and these are missing or another: $MISFITS"
  : > "$STAGE/missing"
  while IFS= read -r NEW; do
    if [ -e "$RELEASE_ROOT/$NEW" ] || [ -h "$RELEASE_ROOT/$NEW" ]; then
      awk -v folder="$NEW/" 'index(substr($0, 67), folder) == 1' "$STAGE/patch/new.sha256" > "$STAGE/one"
      if [ ! -d "$RELEASE_ROOT/$NEW" ] || [ -h "$RELEASE_ROOT/$NEW" ] || ! patch_sums "$RELEASE_ROOT" "$STAGE/one"; then
        patch_fail "$RELEASE_ROOT/$NEW is there already, and is not what the patch makes"
      fi
    else
      printf '%s\n' "$NEW" >> "$STAGE/missing"
    fi
  done < "$STAGE/patch/folders"
  : > "$STAGE/replace"
  [ -z "$ACTIVATE" ] || patch_shared
  if [ -s "$STAGE/missing" ] || [ -s "$STAGE/replace" ]; then
    patch_stage "$FILE" || patch_fail "could not make $VERSION in $RELEASE_ROOT"
  fi
  RELEASES=
  if [ -f "$RELEASE_ROOT/releases/RELEASES" ] && [ -s "$STAGE/patch/RELEASES" ]; then
    patch_releases > "$STAGE/RELEASES" || patch_fail "could not read $RELEASE_ROOT/releases/RELEASES"
    RELEASES=yes
  fi
  printf '%s %s' "$(patch_info erts)" "$VERSION" > "$STAGE/start_erl.data" || patch_fail "could not write to $STAGE"
  sync
  while IFS= read -r NEW; do
    patch_move "$NEW" ||
      fail "could not put $NEW into $RELEASE_ROOT; what was there is as it was. The same command goes on with it"
  done < "$STAGE/missing"
  while IFS= read -r NEW; do
    patch_move "$NEW" || fail "could not replace $RELEASE_ROOT/$NEW"
  done < "$STAGE/replace"
  if [ -n "$RELEASES" ]; then
    mv -f "$STAGE/RELEASES" "$RELEASE_ROOT/releases/RELEASES" || fail "could not replace releases/RELEASES"
  fi
  if [ -n "$ACTIVATE" ]; then
    mv -f "$STAGE/start_erl.data" "$RELEASE_ROOT/releases/start_erl.data" ||
      fail "could not replace releases/start_erl.data"
    echo "@@NAME@@ $VERSION is started from now on"
  else
    echo "@@NAME@@ $VERSION lies beside $(patch_info old); apply it with --activate to start it from now on"
  fi
}

if [ "$1" = apply ]; then
  shift
  apply_patch "$@"
  exit 0
fi
# ---- end of apply -----------------------------------------------------------------------------------------------------------

# The file ends without a newline, which `read` reports as a failure although it has read the words.
ERTS_VSN=
BOOT_VSN=
if [ -r "$RELEASE_ROOT/releases/start_erl.data" ]; then
  read -r ERTS_VSN BOOT_VSN < "$RELEASE_ROOT/releases/start_erl.data" || true
fi
RELEASE_VSN=${RELEASE_VSN:-$BOOT_VSN}
[ -n "$RELEASE_VSN" ] || fail "no version to start in $RELEASE_ROOT/releases/start_erl.data"
REL_VSN_DIR=$RELEASE_ROOT/releases/$RELEASE_VSN
[ -d "$REL_VSN_DIR" ] || fail "there is no version $RELEASE_VSN of $RELEASE_NAME: $REL_VSN_DIR is missing"
# Another version than the one that is started by itself may have another runtime.
if [ "$RELEASE_VSN" != "$BOOT_VSN" ] && [ -r "$REL_VSN_DIR/@@NAME@@.rel" ]; then
  ERTS_VSN=$(grep -v '^%%' "$REL_VSN_DIR/@@NAME@@.rel" | tr -d ' \n\t' | sed 's/.*{erts,"\([^"]*\)"}.*/\1/')
fi

# Other names of the same commands become the usual ones here, because env.sh may look at the command.
case $1 in
  foreground) shift; set -- start "$@" ;;
#<elixir
  console) shift; set -- start_iex "$@" ;;
#elixir>
  remote_console) shift; set -- remote "$@" ;;
esac
RELEASE_COMMAND=$1
export RELEASE_ROOT RELEASE_NAME RELEASE_VSN RELEASE_PROG RELEASE_COMMAND

#<elixir
# shellcheck source=/dev/null
. "$REL_VSN_DIR/env.sh"
#elixir>

COOKIE_FILE=$RELEASE_ROOT/releases/COOKIE
RELEASE_MODE=${RELEASE_MODE:-embedded}
RELEASE_NODE=${RELEASE_NODE:-$RELEASE_NAME}
RELEASE_TMP=${RELEASE_TMP:-$RELEASE_ROOT/tmp}
RELEASE_VM_ARGS=${RELEASE_VM_ARGS:-$REL_VSN_DIR/vm.args}
RELEASE_REMOTE_VM_ARGS=${RELEASE_REMOTE_VM_ARGS:-$REL_VSN_DIR/remote.vm.args}
RELEASE_DISTRIBUTION=${RELEASE_DISTRIBUTION:-sname}
RELEASE_BOOT_SCRIPT=${RELEASE_BOOT_SCRIPT:-start}
RELEASE_BOOT_SCRIPT_CLEAN=${RELEASE_BOOT_SCRIPT_CLEAN:-start_clean}
export RELEASE_MODE RELEASE_NODE RELEASE_TMP RELEASE_VM_ARGS RELEASE_REMOTE_VM_ARGS
export RELEASE_DISTRIBUTION RELEASE_BOOT_SCRIPT RELEASE_BOOT_SCRIPT_CLEAN

#<elixir
usage () {
  cat << END
Usage: $RELEASE_PROG COMMAND [ARGS]

Commands that start the system:

    start            Starts the system (also: foreground)
    start_iex        Starts the system with IEx attached (also: console)
    daemon           Starts the system as a daemon
    daemon_iex       Starts the system as a daemon with IEx attached

Commands for the running system:

    attach           Attaches to the console of the daemon (Ctrl+D detaches)
    remote           Connects to it via a remote shell (also: remote_console)
    rpc "EXPR"       Executes the given expression on it
    ping             Prints pong when it can be reached
    pid              Prints its operating system PID
    restart          Restarts it without ending the operating system process
    stop             Stops it

Commands that change the version of the running system:

    releases         Lists the versions that are here
    unpack FILE      Puts an upgrade package here (or VERSION: releases/@@NAME@@-VERSION.tar.gz)
    install VERSION  Moves the system to a version that is here; a restart brings the old one back
    commit           Makes the version that runs the one that starts
    upgrade FILE     Unpacks, installs and commits (also: VERSION)
    downgrade VERSION
                     Installs and commits a version that was there before
    remove VERSION   Removes an old version

Commands that need no running system:

    eval "EXPR"      Executes the given expression on a new, non-booted system; what follows is System.argv()
    version          Prints the name and the version to be started
    describe         Prints what the release is made of and how it would be started
    apply FILE       Makes a new version beside this one, from a patch of plain files (--activate: to be started next)
    help             Prints this text
END
}
#elixir>

# Two bytes on purpose: every name that ever connected to a node stays in its atom table.
rand () {
  dd if=/dev/urandom bs=2 count=1 2> /dev/null | od -A n -t x1 | tr -d ' \n'
}

# 32 random bytes in base32. The powers of two are added up because not every awk has them.
random_cookie () {
  dd if=/dev/urandom bs=32 count=1 2> /dev/null | od -A n -v -t u1 | awk '
    function put(digit) { text = text substr("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", digit + 1, 1) }
    BEGIN { for (power[0] = i = 1; i <= 12; i++) power[i] = power[i - 1] * 2 }
    {
      for (i = 1; i <= NF; i++) {
        value = value * 256 + $i
        for (bits += 8; bits >= 5; value %= power[bits]) { bits -= 5; put(int(value / power[bits])) }
      }
    }
    END {
      if (bits > 0) put(value * power[5 - bits])
      while (length(text) % 8 > 0) text = text "="
      printf "%s", text
    }'
}

# A complete file is linked to the name, so that of several first starts one wins and the others read its cookie.
make_cookie () {
  DRAFT=$RELEASE_ROOT/releases/.cookie.$$.$(rand)
  (umask 077 && set -C && random_cookie > "$DRAFT") 2> /dev/null || true
  if [ "$(wc -c 2> /dev/null < "$DRAFT")" -eq 56 ] && ! ln "$DRAFT" "$COOKIE_FILE" && [ ! -e "$COOKIE_FILE" ]; then
    # File systems without links: the name is still taken by one starter only.
    (umask 077 && set -C && cat "$DRAFT" > "$COOKIE_FILE") || true
  fi 2> /dev/null
  rm -f "$DRAFT"
  [ -e "$COOKIE_FILE" ]
}

# Sets RELEASE_COOKIE. With none given and none kept: makes one (`make`), makes one where possible (`optional`), or says
# that there is nothing to connect with (`existing`: one made now would be wrong).
need_cookie () {
  if [ -z "$RELEASE_COOKIE" ]; then
    if [ ! -e "$COOKIE_FILE" ]; then
      [ "$1" != existing ] || fail "there is no cookie to reach $RELEASE_NODE with: $COOKIE_FILE is made when the \
system is first started. If it was started with RELEASE_COOKIE, set RELEASE_COOKIE to the same value"
      if ! make_cookie; then
        [ "$1" != optional ] || return 0
        fail "could not make $COOKIE_FILE. Set RELEASE_COOKIE, or make the folder writable for the first start"
      fi
    fi
    [ -r "$COOKIE_FILE" ] || fail "could not read $COOKIE_FILE. Run as its owner, or set RELEASE_COOKIE"
    # Empty for a moment only, where another starter has just taken the name without a link.
    [ -s "$COOKIE_FILE" ] || sleep 1
    RELEASE_COOKIE=$(cat "$COOKIE_FILE")
    [ -n "$RELEASE_COOKIE" ] || fail "$COOKIE_FILE is empty. Remove it so that it is made again, or set RELEASE_COOKIE"
  fi
  export RELEASE_COOKIE
}

check_distribution () {
  case $RELEASE_DISTRIBUTION in name | sname | none) return ;; esac
  fail "Expected RELEASE_DISTRIBUTION to be sname, name, or none, got: $RELEASE_DISTRIBUTION"
}

#<elixir
# A configuration that providers write to is copied first; it will hold secrets, hence the mode.
need_sys_config () {
  DEFAULT_SYS_CONFIG=${RELEASE_SYS_CONFIG:-$REL_VSN_DIR/sys}
  RELEASE_SYS_CONFIG=$DEFAULT_SYS_CONFIG
  if grep -q "RUNTIME_CONFIG=true" "$DEFAULT_SYS_CONFIG.config"; then
    RELEASE_SYS_CONFIG=$RELEASE_TMP/$RELEASE_NAME-$RELEASE_VSN-$(date +%Y%m%d%H%M%S)-$(rand).runtime
    mkdir -p "$RELEASE_TMP" 2> /dev/null || true
    if ! (umask 077 && cat "$DEFAULT_SYS_CONFIG.config" > "$RELEASE_SYS_CONFIG.config") 2> /dev/null; then
      fail "Cannot start release because it could not write $RELEASE_SYS_CONFIG.config. \
Set RELEASE_TMP to a folder that can be written to"
    fi
  fi
  export RELEASE_SYS_CONFIG
}

start () {
  PROGRAM=$1
  shift
  check_distribution
  need_sys_config
  if [ "$RELEASE_DISTRIBUTION" = none ]; then need_cookie optional; else need_cookie make; fi

  # Built from the end to the front; what comes later on a command line of the VM wins.
  set -- --erl "@@MODE@@ $RELEASE_MODE" \
    --erl-config "$RELEASE_SYS_CONFIG" \
    --boot "$REL_VSN_DIR/$RELEASE_BOOT_SCRIPT" \
    --boot-var RELEASE_LIB "$RELEASE_ROOT/lib" \
    --vm-args "$RELEASE_VM_ARGS" "$@"
  if [ "$RELEASE_DISTRIBUTION" != none ]; then set -- "--$RELEASE_DISTRIBUTION" "$RELEASE_NODE" "$@"; fi
  if [ -n "$RELEASE_COOKIE" ]; then set -- --cookie "$RELEASE_COOKIE" "$@"; fi
  exec "$REL_VSN_DIR/$PROGRAM" "$@"
}
#elixir>

#<elixir
start_daemon () {
  mkdir -p "$RELEASE_TMP/pipe" "$RELEASE_TMP/log" 2> /dev/null ||
    fail "Cannot start the daemon because it could not write $RELEASE_TMP. \
Set RELEASE_TMP to a folder that can be written to"
  start "$@" --pipe-to "$RELEASE_TMP/pipe" "$RELEASE_TMP/log"
}
#elixir>

need_connection () {
  check_distribution
  [ "$RELEASE_DISTRIBUTION" != none ] || fail "RELEASE_DISTRIBUTION is none: the running system cannot be reached"
  need_cookie existing
}

#<elixir
# Becomes elixir or iex ($1) as a hidden node whose name starts with $2.
connect () {
  need_connection
  PROGRAM=$1
  PREFIX=$2
  shift 2
  exec "$REL_VSN_DIR/$PROGRAM" \
    --hidden --cookie "$RELEASE_COOKIE" \
    "--$RELEASE_DISTRIBUTION" "$PREFIX-$(rand)-$RELEASE_NODE" \
    --boot "$REL_VSN_DIR/$RELEASE_BOOT_SCRIPT_CLEAN" \
    --boot-var RELEASE_LIB "$RELEASE_ROOT/lib" \
    --vm-args "$RELEASE_REMOTE_VM_ARGS" "$@"
}

rpc () {
  connect elixir rpc --rpc-eval "$RELEASE_NODE" "$1"
}

# For the commands whose expression is ours: once it is sent, what can go wrong is the connection.
control () {
  need_connection
  STATUS=0
  (rpc "$1") || STATUS=$?
  [ "$STATUS" = 0 ] || echo "ERROR: $RELEASE_COMMAND failed: is $RELEASE_NODE running, and with this cookie?" >&2
  exit "$STATUS"
}

ping () {
  need_connection
  [ "$(rpc "IO.puts(:pong)" 2> /dev/null)" = pong ] ||
    fail "$RELEASE_NODE does not answer: it is not running, or its cookie or its name is another"
  echo pong
}
#elixir>

# Becomes the VM.
vm () {
  ROOTDIR=$RELEASE_ROOT
  BINDIR=$RELEASE_ROOT/erts-$ERTS_VSN/bin
  if [ ! -d "$BINDIR" ]; then
    ERL=$(command -v erl) || fail "the release brings no runtime, and erl is not in PATH"
    # The boot script has the applications of Erlang in its folder.
    ROOTDIR=$("$ERL" -boot no_dot_erlang -noshell -eval 'io:put_chars(code:root_dir()), halt().')
    BINDIR=$ROOTDIR/erts-$ERTS_VSN/bin
    [ -d "$BINDIR" ] || fail "the release needs the runtime system $ERTS_VSN, which the erl in PATH does not have"
  fi
  EMU=beam
  PROGNAME=erl
  export ROOTDIR BINDIR EMU PROGNAME
  exec "$BINDIR/erlexec" "$@"
}

# A name without a host is one of this host.
NODE_NAME='
  Name = os:getenv("RELEASE_NODE"),
  Node = case lists:member($@, Name) of
    true -> list_to_atom(Name);
    false -> [_, Host] = string:split(atom_to_list(node()), "@"), list_to_atom(Name ++ "@" ++ Host)
  end,'

# The modules that change versions come with the releases that are laid out for it: in the package or version that is asked for, else
# in the one that is here. They do the rest.
VERSIONS='
  Say = fun(Text) -> io:put_chars(standard_error, ["ERROR: ", Text, "\n"]), halt(1) end,
  [Command | Given] = init:get_plain_arguments(),
  Args = case Given of
    [First | Rest] -> case filelib:is_regular(First) of true -> [filename:absname(First) | Rest]; false -> Given end;
    [] -> []
  end,
  Releases = filename:join(os:getenv("RELEASE_ROOT"), "releases"),
  Ours = fun(Name) -> lists:prefix("relgraph_upgrade", filename:basename(Name)) andalso filename:extension(Name) =:= ".beam" end,
  InPackage = fun(File) ->
    case erl_tar:table(File, [compressed]) of
      {ok, Names} ->
        case lists:filter(Ours, Names) of
          [] -> [];
          Some -> element(2, erl_tar:extract(File, [memory, compressed, {files, Some}]))
        end;
      {error, _} -> []
    end
  end,
  InFolder = fun(Folder) ->
    [{File, Text} || File <- filelib:wildcard(filename:join(Folder, "relgraph_upgrade*.beam")), {ok, Text} <- [file:read_file(File)]]
  end,
  New = case {lists:member(Command, ["upgrade", "unpack", "install"]), Args} of
    {true, [Asked | _]} ->
      [fun() -> InPackage(Asked) end, fun() -> InFolder(filename:join(Releases, Asked)) end,
       fun() -> InPackage(filename:join(Releases, os:getenv("RELEASE_NAME") ++ "-" ++ Asked ++ ".tar.gz")) end,
       fun() -> InPackage(filename:join([Releases, Asked, os:getenv("RELEASE_NAME") ++ ".tar.gz"])) end];
    _ -> []
  end,
  Here = [fun() -> InFolder(Folder) end ||
    Folder <- [filename:join(Releases, os:getenv("RELEASE_VSN")) | filelib:wildcard(filename:join(Releases, "*"))]],
  Found = lists:foldl(fun(Look, []) -> Look(); (_, Some) -> Some end, [], New ++ Here),
  Found =:= [] andalso
    Say("no version of " ++ os:getenv("RELEASE_NAME") ++ " here can be upgraded while it runs: build with `upgrades: hot`"),
  Beams = [{list_to_atom(filename:basename(File, ".beam")), File, Text} || {File, Text} <- Found],
  [{module, _} = code:load_binary(Module, File, Text) || {Module, File, Text} <- Beams],
  apply(relgraph_upgrade_client, main, [Node, Beams, Command, Args]).'

versions () {
  need_connection
  [ ! -e "$RELEASE_REMOTE_VM_ARGS" ] || set -- -args_file "$RELEASE_REMOTE_VM_ARGS" -extra "$@"
  [ "$1" = -args_file ] || set -- -extra "$@"
  vm -boot "$REL_VSN_DIR/$RELEASE_BOOT_SCRIPT_CLEAN" -boot_var RELEASE_LIB "$RELEASE_ROOT/lib" \
    -mode interactive -noshell -noinput -hidden -setcookie "$RELEASE_COOKIE" \
    "-$RELEASE_DISTRIBUTION" "rpc-$(rand)-$RELEASE_NODE" -dist_listen false -eval "$NODE_NAME$VERSIONS" "$@"
}

attach () {
  PIPE=$RELEASE_TMP/pipe
  [ -p "$PIPE/erlang.pipe.1.w" ] || fail "no daemon of $RELEASE_NAME was started here: there is no pipe in $PIPE"
  if [ -x "$RELEASE_ROOT/erts-$ERTS_VSN/bin/to_erl" ]; then
    exec "$RELEASE_ROOT/erts-$ERTS_VSN/bin/to_erl" "$PIPE/"
  fi
  exec to_erl "$PIPE/"
}

describe () {
  REL_FILE=$REL_VSN_DIR/@@NAME@@.rel
  [ -r "$REL_FILE" ] || fail "could not read $REL_FILE"
  ERTS=$(grep -v '^%%' "$REL_FILE" | tr -d ' \n\t' | sed 's/.*{erts,"\([^"]*\)"}.*/\1/')
  if [ -d "$RELEASE_ROOT/erts-$ERTS" ]; then ERTS_FROM="included"; else ERTS_FROM="from PATH"; fi
  if [ -n "$RELEASE_COOKIE" ]; then
    COOKIE="given by RELEASE_COOKIE"
  elif [ -e "$COOKIE_FILE" ]; then
    COOKIE="in releases/COOKIE"
  else
    COOKIE="none yet, made at the first start"
  fi
  cat << END
name:         $RELEASE_NAME
version:      $RELEASE_VSN
root:         $RELEASE_ROOT
erts:         $ERTS ($ERTS_FROM)
node:         $RELEASE_NODE ($RELEASE_DISTRIBUTION)
cookie:       $COOKIE
applications:
END
  # {Name,"Version"}, {Name,"Version",Mode} or {Name,"Version",Mode,Included}, after the ERTS tuple.
  grep -v '^%%' "$REL_FILE" | tr -d ' \n\t' | sed 's/.*{erts,"[^"]*"},//' | tr '{' '\n' |
    sed -n "s/^'*\([^',\"]*\)'*,\"\([^\"]*\)\"\(,\([a-z]*\)\)\{0,1\}.*/\1 \2 \4/p" |
    awk '{ printf "    %-24s %-12s %s\n", $1, $2, ($3 == "" ? "permanent" : $3) }'
}

#<elixir
case $1 in
  start) start elixir --no-halt ;;
  start_iex) start iex ;;
  daemon) start_daemon elixir --no-halt ;;
  daemon_iex) start_daemon iex ;;
  eval)
    [ -n "$2" ] || fail "EVAL expects an expression as argument"
    EXPR=$2
    shift 2
    need_sys_config
    need_cookie optional
    set -- --erl-config "$RELEASE_SYS_CONFIG" \
      --boot "$REL_VSN_DIR/$RELEASE_BOOT_SCRIPT_CLEAN" \
      --boot-var RELEASE_LIB "$RELEASE_ROOT/lib" \
      --vm-args "$RELEASE_VM_ARGS" --eval "$EXPR" -- "$@"
    if [ -n "$RELEASE_COOKIE" ]; then set -- --cookie "$RELEASE_COOKIE" "$@"; fi
    exec "$REL_VSN_DIR/elixir" "$@"
    ;;
  rpc)
    [ -n "$2" ] || fail "RPC expects an expression as argument"
    rpc "$2"
    ;;
  remote) connect iex rem --remsh "$RELEASE_NODE" ;;
  restart | stop) control "System.$1()" ;;
  pid) control "IO.puts System.pid()" ;;
  ping) ping ;;
  releases | unpack | install | upgrade | downgrade | commit | remove) versions "$@" ;;
  attach) attach ;;
  version) echo "$RELEASE_NAME $RELEASE_VSN" ;;
  describe) describe ;;
  help | -h | --help) usage ;;
  *)
    usage >&2
    [ -z "$1" ] || fail "Unknown command $1"
    ;;
esac
#elixir>
