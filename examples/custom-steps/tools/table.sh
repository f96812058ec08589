#!/bin/sh
# Turns lines of `language: greeting` into the rows of a C table.
set -eu

echo "/* Made from $1. */"
sed -n 's/^\([a-z][a-z]\): \(.*\)$/GREETING("\1", "\2")/p' "$1"
