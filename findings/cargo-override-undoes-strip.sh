#!/usr/bin/env bash
# cargo: `[profile.X.package.NAME]` for the package whose program is built, with nothing but another
# `opt-level` in it, undoes the profile's `strip = true`: cargo then passes `strip=debuginfo`, and the
# program keeps its symbols. Nothing is said. The cargo book names `panic`, `lto` and `rpath` as what
# an override may not set, and says nothing of `strip`.
#
# Matters to whoever makes a program smaller by a smaller `opt-level`: ours grew by 3.7 MB and had to
# be stripped by hand to see that its code had shrunk by 3.2.
#
# Seen with cargo 1.95.0. Exit code 0: still so; 1: changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if command -v rustup >/dev/null && rustup toolchain list | grep -q '^1\.95\.0'; then
    export RUSTUP_TOOLCHAIN=1.95.0
fi
cargo --version
mkdir src
echo 'fn main() { println!("here"); }' >src/main.rs
stripped() { # OVERRIDE: what cargo tells rustc
    cat >Cargo.toml <<TOML
[package]
name = "kept"
version = "0.0.0"
edition = "2024"

[profile.release]
debug = false
strip = true
$1
[workspace]
TOML
    rm -rf target
    cargo build --release --verbose 2>&1 | grep -o 'strip=[a-z]*' | sort -u
}
plain=$(stripped '')
overridden=$(stripped '[profile.release.package.kept]
opt-level = "s"')
echo "without an override: $plain; with one for the program's own package: $overridden"
[ "$plain" = strip=symbols ] && [ "$overridden" = strip=debuginfo ]
