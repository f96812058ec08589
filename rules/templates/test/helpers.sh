# Checks and a little driving, for cli_test.sh. `run` leaves its findings in STATUS, OUT and ERR.
# shellcheck shell=sh disable=SC2034

ok () { echo "ok $1"; }

not_ok () {
  echo "not ok $1"
  FAILED=$((FAILED + 1))
}

run () {
  STATUS=0
  "$@" > "$WORK/out" 2> "$WORK/err" < /dev/null || STATUS=$?
  OUT=$(cat "$WORK/out")
  ERR=$(cat "$WORK/err")
}

is () { # TEXT FOUND EXPECTED
  if [ "$2" = "$3" ]; then
    ok "$1"
  else
    not_ok "$1"
    printf '# found:    %s\n# expected: %s\n' "$2" "$3"
  fi
}

like () { # TEXT FOUND PATTERN
  # shellcheck disable=SC2254
  case $2 in
    $3) ok "$1" ;;
    *)
      not_ok "$1"
      printf '# found:    %s\n# expected: %s\n' "$2" "$3"
      ;;
  esac
}

# Fails without an error from the shell itself, with a message like $2.
refused () { # TEXT PATTERN
  like "$1: message" "$ERR" "ERROR: $2"
  is "$1: status" "$STATUS" 1
}

# Runs a command as somebody who may not write everywhere.
unprivileged () {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
  else
    "$@"
  fi
}

wait_for () { # SECONDS COMMAND...
  LEFT=$(($1 * 5))
  shift
  until "$@" > /dev/null 2>&1; do
    LEFT=$((LEFT - 1))
    [ "$LEFT" -gt 0 ] || return 1
    sleep 0.2
  done
}

# Every process of this test has the node's name on its command line; none may outlive it.
cleanup () {
  for PID in ${STARTED:-}; do kill -KILL "$PID" 2> /dev/null; done
  chmod -R u+w "$WORK" 2> /dev/null
  rm -rf "$WORK"
}
STARTED=
trap cleanup EXIT
trap 'exit 130' INT TERM
