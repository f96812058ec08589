#!/bin/sh
# Runs bin/NAME of a release of examples/sequence through every command it has.
#
#   cli_test.sh RELEASE          puts ../cli.sh in the place of bin/NAME, and compares with that one, which is Mix's
#   cli_test.sh RELEASE as-is    tests the bin/NAME that is there
#
# Prints a line `ok TEXT` or `not ok TEXT` for each check, and fails when one of them did. The release is copied first.
# shellcheck disable=SC2034
set -u

RELEASE=$(cd "$1" && pwd -P) || exit 2
HERE=$(cd "$(dirname "$0")" && pwd -P)
WORK=$(mktemp -d)
R="$WORK/with a space/sequence"
NAME=sequence
FAILED=0
mkdir -p "$WORK/with a space" "$WORK/home"
cp -a "$RELEASE" "$R"
rm -rf "$R/releases/COOKIE" "$R/tmp"
VSN=$(cut -d' ' -f2 "$R/releases/start_erl.data")
CLI=$R/bin/$NAME
if [ "${2:-}" != as-is ]; then
  cp "$CLI" "$WORK/mix-cli"
  sed "s/@@NAME@@/$NAME/g; s/@@MODE@@/-mode/g" "$HERE/../cli.sh" > "$CLI"
fi
unset RELEASE_ROOT RELEASE_NAME RELEASE_VSN RELEASE_COOKIE RELEASE_MODE RELEASE_NODE RELEASE_TMP RELEASE_VM_ARGS
unset RELEASE_REMOTE_VM_ARGS RELEASE_DISTRIBUTION RELEASE_BOOT_SCRIPT RELEASE_BOOT_SCRIPT_CLEAN RELEASE_SYS_CONFIG
unset RELEASE_PROG RELEASE_COMMAND
export HOME="$WORK/home"
NODE=cli_test_$$
export SEQUENCE_START=100

# shellcheck source=helpers.sh
. "$HERE/helpers.sh"
# shellcheck source=without_vm.sh
. "$HERE/without_vm.sh"
# shellcheck source=with_vm.sh
. "$HERE/with_vm.sh"

[ "$FAILED" = 0 ] || echo "$FAILED checks failed"
[ "$FAILED" = 0 ]
