# What bin/NAME does with a real VM: the system is started in every way, reached, and stopped.
# shellcheck shell=sh

export RELEASE_NODE="$NODE"
export RELEASE_DISTRIBUTION=sname
# A node answers a ping before its applications are started, hence the question after the server.
up () { [ "$("$CLI" rpc 'IO.puts(is_pid(Process.whereis(Sequence.Server)))')" = true ]; }
down () { ! "$CLI" ping; }
gone () { ! kill -0 "$1"; }

# Types a line, $1 seconds after the start, then what ends the session.
typed () {
  sleep "$1"
  printf '%s\r' "$2"
  sleep 2
  # shellcheck disable=SC2059
  printf "$3"
  sleep 1
}

# Without a running system.
run "$CLI" eval 'IO.puts("hello " <> inspect(System.argv()))' one 'two words'
is "eval: output and arguments" "$STATUS $OUT" '0 hello ["one", "two words"]'
run "$CLI" eval 'IO.inspect(List.keymember?(Application.started_applications(), :sequence, 0))'
is "eval starts no application" "$OUT" false
run "$CLI" eval 'IO.inspect(Application.fetch_env!(:sequence, :start))'
is "eval sees the runtime configuration" "$OUT" 100
run "$CLI" eval 'raise "broken"'
is "eval: status of what failed" "$STATUS" 1
for COMMAND in stop restart pid; do
  run "$CLI" "$COMMAND"
  like "$COMMAND, not running: message" "$ERR" "*ERROR: $COMMAND failed: is $NODE running*"
  is "$COMMAND, not running: status" "$STATUS" 1
done
run "$CLI" ping
refused "ping, not running" "$NODE does not answer*"
run "$CLI" rpc 'Sequence.next()'
is "rpc, not running: status" "$STATUS" 1
run env RELEASE_DISTRIBUTION=none "$CLI" rpc 'Sequence.next()'
refused "rpc without distribution" "RELEASE_DISTRIBUTION is none*"

# In the foreground.
for COMMAND in start foreground; do
  "$CLI" "$COMMAND" > "$WORK/start.log" 2>&1 < /dev/null &
  PID=$!
  STARTED="$STARTED $PID"
  if wait_for 30 up; then ok "$COMMAND"; else not_ok "$COMMAND"; fi
  run "$CLI" pid
  is "$COMMAND: pid is the process itself" "$STATUS $OUT" "0 $PID"
  run "$CLI" rpc 'IO.puts(Sequence.next())'
  is "$COMMAND: SEQUENCE_START arrived" "$OUT" 100
  kill -TERM "$PID"
  if wait "$PID"; then ok "$COMMAND ends on TERM with status 0"; else not_ok "$COMMAND ends on TERM with status 0"; fi
done

# As a daemon.
run "$CLI" daemon
is "daemon: status" "$STATUS" 0
if wait_for 30 up; then ok "daemon"; else not_ok "daemon"; fi
run "$CLI" ping
is "ping" "$STATUS $OUT" "0 pong"
run "$CLI" pid
PID=$OUT
STARTED="$STARTED $PID"
run "$CLI" rpc 'IO.puts(Sequence.next()); IO.puts(Sequence.next())'
is "rpc: successive numbers" "$OUT" "100
101"
run "$CLI" rpc 'raise "broken"'
is "rpc: status of what failed" "$STATUS" 1
run env RELEASE_COOKIE=another "$CLI" ping
refused "ping with another cookie" "$NODE does not answer*"
run env -u RELEASE_NODE "$CLI" describe
like "describe: cookie" "$OUT" "*cookie:*in releases/COOKIE*"
if command -v script > /dev/null; then
  # shellcheck disable=SC2016
  typed 4 'IO.puts("remote says #{Sequence.next()} at #{node()}")' '\003a\r' |
    script -qec "'$CLI' remote" /dev/null > "$WORK/out" 2>&1
  like "remote" "$(cat "$WORK/out")" "*remote says 102 at $NODE@*"
  run "$CLI" ping
  is "leaving a remote shell leaves the system running" "$OUT" pong
else
  echo "# skipped: remote (no script command to make a terminal)"
fi
run "$CLI" restart
is "restart: status" "$STATUS" 0
numbers_restarted () { [ "$("$CLI" rpc 'IO.puts(Sequence.next())')" = 100 ]; }
TEXT="restart: the system began anew"
if wait_for 30 numbers_restarted; then ok "$TEXT"; else not_ok "$TEXT"; fi
run "$CLI" pid
is "restart: the same operating system process" "$OUT" "$PID"
run "$CLI" stop
is "stop: status" "$STATUS" 0
if wait_for 30 gone "$PID"; then ok "stop: the process ended"; else not_ok "stop: the process ended"; fi
if wait_for 10 down; then ok "stop: no ping any more"; else not_ok "stop: no ping any more"; fi

# A daemon with a console to attach to, which needs a terminal.
run "$CLI" daemon_iex
is "daemon_iex: status" "$STATUS" 0
if wait_for 30 up; then ok "daemon_iex"; else not_ok "daemon_iex"; fi
run "$CLI" pid
STARTED="$STARTED $OUT"
if command -v script > /dev/null; then
  # shellcheck disable=SC2016
  typed 1 'IO.puts("attached at #{Sequence.next() * 7}")' '\004' |
    script -qec "'$CLI' attach" /dev/null > "$WORK/out" 2>&1
  like "attach" "$(cat "$WORK/out")" "*attached at 700*"
else
  echo "# skipped: attach (no script command to make a terminal)"
fi
run "$CLI" ping
is "detaching leaves the system running" "$OUT" pong
run "$CLI" stop
if wait_for 30 down; then ok "daemon_iex stops"; else not_ok "daemon_iex stops"; fi

# Without its own Erlang: the one on PATH, as `include_erts: false` leaves it.
if command -v erl > /dev/null; then
  # shellcheck disable=SC2016
  sed 's/^ERTS_BIN="\$SCRIPT_PATH".*/ERTS_BIN="$ERTS_BIN"/' "$R/releases/$VSN/elixir" > "$WORK/elixir"
  cat "$WORK/elixir" > "$R/releases/$VSN/elixir"
  rm -rf "$R"/erts-*
  run "$CLI" describe
  like "no ERTS: describe" "$OUT" "*erts:*(from PATH)*"
  run "$CLI" eval 'IO.puts("hello")'
  is "no ERTS: eval" "$STATUS $OUT" "0 hello"
else
  echo "# skipped: no ERTS (no erl on PATH)"
fi
