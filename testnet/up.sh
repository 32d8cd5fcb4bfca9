#!/usr/bin/env bash
# A testnet on this machine, for people:  testnet/up.sh [--nodes N] [--room '#name']   and   testnet/up.sh down
# Builds the program, starts N real nodes in one room, and prints a line to attach to each.
set -eu
cd "$(dirname "$0")/.."
cargo build --locked --release -p klatch -p klatch-testnet
verb=up
if [ "${1:-}" = down ]; then verb=down; shift; fi
exec "${CARGO_TARGET_DIR:-target}/release/klatch-testnet" "$verb" "$@"
