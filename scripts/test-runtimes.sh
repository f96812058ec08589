#!/bin/sh
# Runs tests with the Erlang, Elixir and rebar3 of other releases of Debian, each on a system of its own made from Debian's
# packages; writes what came of it to docs/runtimes.md. Arguments are the releases: trixie and forky, unless others are named.
# TESTS names other tests than the usual ones; where either is chosen, the page stays as it is. Root is not needed.
set -eu

cd "$(dirname "$0")/.."
scripts/packages.sh bwrap=bubblewrap dpkg-deb=dpkg
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
roots=$target/tmp/runtimes
page=docs/runtimes.md
[ $# = 0 ] && [ -z "${TESTS-}" ] || page=/dev/stdout
[ $# != 0 ] || set -- trixie forky
tests=${TESTS:-boots relx same_as_mix verify}

# The programs of the tests, built here: an older C library than those of the other systems.
for test in $tests; do named="${named-} --test $test"; done
# Not quoted: one word per test.
# shellcheck disable=SC2086
cargo test --locked --no-run $named
# shellcheck disable=SC2086
programs=$(cargo test --locked --no-run $named 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')

# What follows the root, started on its system: with this folder, its own /tmp, and the network of the machine.
on() {
  root=$1
  shift
  # Root stays root, and may do what root does: tests ask who they are.
  caps=
  [ "$(id -u)" != 0 ] || caps='--cap-add ALL'
  # shellcheck disable=SC2086
  bwrap $caps --bind "$root" / --dev /dev --proc /proc --tmpfs /tmp --bind "$PWD" "$PWD" --bind "$target" "$target" \
    --ro-bind-try /etc/passwd /etc/passwd --ro-bind-try /etc/group /etc/group --ro-bind-try /etc/hosts /etc/hosts \
    --unsetenv LD_LIBRARY_PATH --setenv PATH /usr/local/bin:/usr/bin:/bin --setenv HOME /tmp --setenv LANG C.UTF-8 \
    --die-with-parent --chdir "$PWD" "$@"
}

status=0
: > "$roots.md"
for release in "$@"; do
  root=$roots/$release
  scripts/fetch-root.sh "$root" "$release" elixir erlang-nox erlang-dev rebar3 bash dash coreutils sed grep gawk tar gzip \
    findutils diffutils procps util-linux bubblewrap git gcc libc6-dev make
  # What packages do when they are set up.
  ln -sf gawk "$root/usr/bin/awk"
  ln -sf gcc "$root/usr/bin/cc"
  otp=$(on "$root" sh -c 'cat /usr/lib/erlang/releases/*/OTP_VERSION')
  elixir=$(sed -n 's/.*{vsn,"\([^"]*\)".*/\1/p' "$root"/usr/lib/elixir/lib/elixir/ebin/elixir.app)
  rebar3=$(sed -n 's/^rebar3 \([0-9.]*\).*/\1/p' "$root.packages")
  echo "== Debian $release: OTP $otp, Elixir $elixir, rebar3 $rebar3"
  row="| $release | $otp | $elixir | $rebar3 |"
  for test in $tests; do
    program=$(echo "$programs" | grep "/$test-[0-9a-f]*\$")
    said=$roots/$release-$test.txt
    on "$root" "$program" --test-threads 1 > "$said" 2>&1 || status=1
    cat "$said"
    passed=$(sed -n 's/^test result: .* \([0-9]*\) passed.*/\1/p' "$said")
    # Not for the shell: quotes of the page.
    # shellcheck disable=SC2016
    failed=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/`\1`/p' "$said" | tr '\n' ' ')
    row="$row ${passed:-none} passed${failed:+, failed: $failed} |"
  done
  echo "$row" >> "$roots.md"
done

# What was tried by hand stays.
rest=$(sed -n '/^## /,$p' docs/runtimes.md 2> /dev/null || true)
{
  echo "# Runtimes"
  echo
  echo "What \`make test-runtimes\` said the last time: tests with the Erlang, Elixir and rebar3 of other releases of Debian, each on a"
  echo "system of its own. Written by scripts/test-runtimes.sh."
  echo
  # shellcheck disable=SC2016
  echo "| Debian | OTP | Elixir | rebar3 |$(for test in $tests; do printf ' `%s` |' "$test"; done)"
  echo "|---|---|---|---|$(for test in $tests; do printf -- '---|'; done)"
  cat "$roots.md"
  [ -z "$rest" ] || printf '\n%s\n' "$rest"
} > "$page"
exit $status
