#!/usr/bin/env bash
# A testnet on this machine, for people:  testnet/up.sh [--nodes N] [--room '#name']   and   testnet/up.sh down
# Builds the program, starts N real nodes in one room, and prints a line to attach to each.
set -eu
cd "$(dirname "$0")/.."
testnet="${CARGO_TARGET_DIR:-target}/release/klatch-testnet"
case "${1:-}" in
    down) ;;
    *)
        set -- up "$@"
        cargo build --locked --release -p klatch -p klatch-testnet
        ;;
esac
exec "$testnet" "$@"
