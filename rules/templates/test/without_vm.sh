# What bin/NAME does before it becomes a VM: `elixir` and `iex` are replaced by a program that shows what it was given.
# shellcheck shell=sh

S="$WORK/with a space/stub"
STUB=$S/bin/$NAME
mkdir -p "$S"
cp -a "$R/bin" "$R/releases" "$S/"
for PROGRAM in elixir iex; do
  cat > "$S/releases/$VSN/$PROGRAM" << 'END'
#!/bin/sh
echo "program=${0##*/}"
for ARG in "$@"; do echo "<$ARG>"; done
env | grep '^RELEASE_' | sort
END
done

cookies () {
  find "$S/releases" -iname '*cookie*' | wc -l | tr -d ' '
}

run "$STUB" version
is "version" "$OUT" "$NAME $VSN"
is "version makes no cookie" "$(cookies)" 0

run "$STUB"
like "no command: usage on stderr" "$ERR" "Usage: $NAME COMMAND*start_iex*"
is "no command: status" "$STATUS" 0
run "$STUB" nonsense
like "unknown command: usage" "$ERR" "Usage:*ERROR: Unknown command nonsense"
is "unknown command: status" "$STATUS" 1
run "$STUB" help
like "help: usage on stdout" "$OUT" "Usage: $NAME COMMAND*describe*"
for COMMAND in start start_iex daemon daemon_iex eval rpc remote restart stop pid version foreground console ping \
  attach describe remote_console releases unpack install commit upgrade downgrade remove help; do
  like "help names $COMMAND" "$OUT" "*$COMMAND*"
done

run "$STUB" describe
like "describe: name, version, node" "$OUT" "name:*$NAME*version:*$VSN*node:*$NAME (sname)*"
like "describe: no cookie yet" "$OUT" "*cookie:*none yet*"
like "describe: applications" "$OUT" "*    kernel *permanent*    sequence *$VSN *permanent*"
like "describe: start modes" "$OUT" "*    iex *none*"
is "describe: as many applications as the .rel" "$(echo "$OUT" | grep -c '^    ')" \
  "$(tr -d ' \n' < "$S/releases/$VSN/$NAME.rel" | sed 's/.*{erts,"[^"]*"},//' | tr -cd '{' | wc -c | tr -d ' ')"

# A cookie made for a command that connects could only be a wrong one.
for COMMAND in stop restart pid ping remote; do
  run "$STUB" "$COMMAND"
  refused "$COMMAND without a cookie" "there is no cookie*RELEASE_COOKIE*"
done
is "no cookie was made" "$(cookies)" 0

run "$STUB" eval
refused "eval without an expression" "EVAL expects an expression as argument"
run "$STUB" rpc
refused "rpc without an expression" "RPC expects an expression as argument"
run "$STUB" attach
refused "attach without a daemon" "no daemon*"
run env RELEASE_DISTRIBUTION=both "$STUB" start
refused "unknown distribution" "Expected RELEASE_DISTRIBUTION*both"
run env RELEASE_VSN=9.9.9 "$STUB" start
refused "unknown version" "there is no version 9.9.9*"

# Many first starts at once agree on the cookie, also where the file system has no links.
first_starts () {
  rm -f "$S/releases/COOKIE" "$WORK"/cookie.*
  for I in 1 2 3 4 5 6 7 8 9 10 11 12; do
    (umask 022 && PATH=$1 "$STUB" start 2>&1) | grep '^RELEASE_COOKIE=' > "$WORK/cookie.$I" &
  done
  wait
  sort "$WORK"/cookie.* | uniq -c | sed 's/ *\([0-9]*\) .*/\1/'
}
mkdir "$WORK/no-links"
printf '#!/bin/sh\nexit 1\n' > "$WORK/no-links/ln"
chmod +x "$WORK/no-links/ln"
is "twelve first starts without links, one cookie" "$(first_starts "$WORK/no-links:$PATH")" 12
is "without links: mode" "$(stat -c %a "$S/releases/COOKIE")" 600
is "twelve first starts, one cookie" "$(first_starts "$PATH")" 12
COOKIE=$(cat "$S/releases/COOKIE")
is "and it is the one that was kept" "$(cat "$WORK/cookie.1")" "RELEASE_COOKIE=$COOKIE"
is "cookie: mode" "$(stat -c %a "$S/releases/COOKIE")" 600
is "cookie: 32 bytes in base32, no newline" \
  "$(tr -d '\n' < "$S/releases/COOKIE" | grep -c '^[A-Z2-7]\{51\}[AQ]====$') $(wc -c < "$S/releases/COOKIE")" "1 56"
is "no drafts left" "$(cookies)" 1
run "$STUB" start
like "the cookie stays" "$OUT" "*RELEASE_COOKIE=$COOKIE*"
run env RELEASE_COOKIE=given "$STUB" start
like "a given cookie wins" "$OUT" "*<--cookie>*<given>*RELEASE_COOKIE=given*"
: > "$S/releases/COOKIE"
run "$STUB" start
refused "an empty cookie file" "*COOKIE is empty*"
rm -f "$S/releases/COOKIE"

# A release that cannot be written to.
chmod 755 "$WORK" "$WORK/with a space"
chmod -R a-w,a+rX "$S"
run unprivileged "$STUB" start
refused "read-only, no cookie" "could not make*Set RELEASE_COOKIE*"
run unprivileged env RELEASE_COOKIE=given "$STUB" start
like "read-only, cookie given" "$OUT" "*<given>*"
run unprivileged env RELEASE_DISTRIBUTION=none "$STUB" start
is "read-only, no distribution: status" "$STATUS" 0
like "read-only, no distribution: no cookie" "$OUT" "program=elixir
<--erl>*"
run unprivileged "$STUB" eval "1 + 1"
like "read-only, eval" "$OUT" "*<--eval>
<1 + 1>*"
run unprivileged env RELEASE_COOKIE=given "$STUB" daemon
refused "read-only, daemon" "Cannot start the daemon*Set RELEASE_TMP*"
chmod -R u+w "$S"
sed 's/RUNTIME_CONFIG=false/RUNTIME_CONFIG=true/' "$R/releases/$VSN/sys.config" > "$S/releases/$VSN/sys.config"
chmod -R a-w "$S"
run unprivileged env RELEASE_COOKIE=given "$STUB" start
refused "read-only, runtime configuration" "Cannot start release because*Set RELEASE_TMP*"
mkdir "$WORK/tmp" && chmod 777 "$WORK/tmp"
run unprivileged env RELEASE_COOKIE=given "RELEASE_TMP=$WORK/tmp" "$STUB" start
like "runtime configuration in RELEASE_TMP" "$OUT" "*<--erl-config>
<$WORK/tmp/$NAME-$VSN-*.runtime>*RELEASE_SYS_CONFIG=$WORK/tmp/*.runtime*"
is "runtime configuration: mode" "$(stat -c %a "$WORK"/tmp/*.runtime.config)" 600
chmod -R u+w "$S"
cp "$R/releases/$VSN/sys.config" "$S/releases/$VSN/sys.config"

# However it is called.
mkdir -p "$WORK/links/a" "$WORK/links/b"
ln -s "$STUB" "$WORK/links/a/absolute"
ln -s ../a/absolute "$WORK/links/b/chain"
ln -s "../../with a space/stub/bin/$NAME" "$WORK/links/b/relative"
cd "$WORK/links" || exit 2
for CALL in a/absolute b/chain b/relative "$WORK/links/b/relative" "../with a space/stub/bin/$NAME"; do
  run env CDPATH="$WORK" "$CALL" start
  like "called as $CALL" "$OUT" "*RELEASE_PROG=${CALL##*/}
*RELEASE_ROOT=$S
*"
done
run env PATH="$WORK/links/b:$PATH" relative version
is "found on PATH" "$OUT" "$NAME $VSN"
cd / || exit 2

# env.sh decides, and sees the usual name of the command.
cp "$S/releases/$VSN/env.sh" "$WORK/env.sh"
cat > "$S/releases/$VSN/env.sh" << 'END'
export SEEN="$RELEASE_COMMAND $1 $RELEASE_NAME $RELEASE_VSN $RELEASE_PROG"
echo "env.sh: $SEEN"
export RELEASE_NODE=from_env_sh
export RELEASE_MODE=interactive
END
run "$STUB" foreground
like "env.sh: foreground is start" "$OUT" "env.sh: start start $NAME $VSN $NAME*"
like "env.sh: node and mode" "$OUT" "*<from_env_sh>*<-mode interactive>*"
run "$STUB" console
like "env.sh: console is start_iex" "$OUT" "env.sh: start_iex start_iex*program=iex*"
run "$STUB" remote_console
like "env.sh: remote_console is remote" "$OUT" "env.sh: remote remote*program=iex*<--remsh>
<from_env_sh>*"
cp "$WORK/env.sh" "$S/releases/$VSN/env.sh"

# The same arguments and variables as Mix's script gives, but for random names and what later Elixirs no longer know.
shown () {
  sed -e '/^<--werl>$/d' -e 's/<\(rpc\|rem\)-[0-9a-f]*-/<\1-RANDOM-/' -e '/^RELEASE_PROG=/d' "$WORK/out"
}
if [ -e "$WORK/mix-cli" ]; then
  cp "$WORK/mix-cli" "$S/bin/mix"
  printf 'kept' > "$S/releases/COOKIE"
  for COMMAND in start start_iex daemon daemon_iex rpc remote restart stop pid "eval more"; do
    for SETTING in A=1 RELEASE_DISTRIBUTION=name RELEASE_NODE=other@host RELEASE_MODE=interactive RELEASE_NAME=renamed \
      RELEASE_TMP="$WORK/tmp" RELEASE_COOKIE=given RELEASE_VM_ARGS=/a RELEASE_REMOTE_VM_ARGS=/b RELEASE_BOOT_SCRIPT=c \
      RELEASE_BOOT_SCRIPT_CLEAN=d RELEASE_SYS_CONFIG="$S/releases/$VSN/sys"; do
      run env "$SETTING" "$S/bin/mix" "${COMMAND% *}" "IO.puts(\"a 'b' \$c\")"
      EXPECTED=$(shown)
      EXPECTED_STATUS=$STATUS
      run env "$SETTING" "$STUB" "${COMMAND% *}" "IO.puts(\"a 'b' \$c\")"
      # From 1.15 on, Mix hands the arguments after the expression to it.
      is "as Mix: ${SETTING%%=*} ${COMMAND% *}" "$STATUS $(shown | sed '/^<-->$/d')" "$EXPECTED_STATUS $EXPECTED"
    done
  done
  is "compared with what Mix starts" "$(echo "$EXPECTED" | grep -c '^<--eval>$')" 1
fi
