#!/usr/bin/env bash
# The whole program on a made collection: import, catch up, size. Prints CPU
# seconds (user, sys), wall seconds and peak memory as the kernel counts them.
# Use: benches/catch-up.sh SHAPE MEGABYTES [SEED]      (needs GNU time)
set -euo pipefail
shape=$1 megabytes=$2 seed=${3:-1}
program=${AFTERACTION:-target/release/afteraction}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export AFTERACTION_ARCHIVE=$work/case
measure() { /usr/bin/time -f "$1: user %U s, sys %S s, wall %e s, peak %M KiB" "${@:2}"; }

uname -sr
"$program" --version
"$program" bench generate "$work/in" --shape "$shape" --megabytes "$megabytes" --devices 500 --seed "$seed"
measure import "$program" import --no-index "$work/in"
measure "catch-up" "$program" index
measure "catch-up again" "$program" index --rebuild
"$program" status
