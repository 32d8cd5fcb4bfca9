#!/usr/bin/env bash
# Builds klatch and klatch-testnet as they were at a tag or commit, to be measured beside today's:
#
#     against=$(testnet/build-at.sh 6055720)
#     target/release/klatch-testnet bench compare --against "$against"
#
# Prints the path of that klatch-testnet; klatch is beside it. What was built before is not built again.
# Everything is under target/at, the sources in a git worktree that is removed at the end.
set -eu

[ $# = 1 ] || { echo "usage: testnet/build-at.sh TAG|COMMIT" >&2; exit 2; }
cd "$(dirname "$0")/.."
commit=$(git rev-parse --verify --quiet "$1^{commit}") || { echo "git knows no commit $1" >&2; exit 2; }
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/at
built=$target/$(git rev-parse --short=12 "$commit")
if [ ! -x "$built/klatch-testnet" ]; then
    sources=$target/sources-$$
    mkdir -p "$built"
    git worktree add --quiet --detach "$sources" "$commit" >&2
    trap 'git worktree remove --force "$sources"' EXIT
    # In its own folder, so that its own .cargo/config.toml holds.
    (cd "$sources" && CARGO_TARGET_DIR="$target" \
        cargo build --quiet --locked --release -p klatch -p klatch-testnet >&2)
    cp "$target/release/klatch" "$target/release/klatch-testnet" "$built/"
fi
echo "$built/klatch-testnet"
