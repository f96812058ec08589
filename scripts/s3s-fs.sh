#!/bin/sh
# Builds the S3 server that the tests start, under target/tools, unless it is there. Takes two minutes, once.
set -eu

cd "$(dirname "$0")/.."
version=0.14.1
root=target/tools/s3s-fs-$version
[ -x "$root/bin/s3s-fs" ] || cargo install --locked "s3s-fs@$version" --features binary \
  --root "$root" --target-dir target/tools/build
