# `just` lists the recipes. Each is one line that also works without just.

default:
    @just --list

# Everything that the build machine checks, in the same order.
check:
    .ci/run

# Format all code.
fmt:
    cargo fmt --all

# The tests of one crate, for example `just test klatch-core`.
test crate:
    cargo test --locked -p {{ crate }}

# N simulated worlds, for example `just seeds 10000`.
seeds n="2000":
    cargo run --locked --release -p klatch-core --features faults --example sim -- seeds {{ n }}

# N nodes on this machine in one room, with a line to attach to each.
up n="3":
    testnet/up.sh --nodes {{ n }}

# Stop them.
down:
    testnet/up.sh down

# One scenario, for example `just run churn`.
run scenario:
    cargo run --locked --release -p klatch -p klatch-testnet --bin klatch-testnet -- run testnet/scenarios/{{ scenario }}.toml

# Side by side with a plain gossipsub peer.
bench:
    cargo run --locked --release -p klatch-testnet -- bench compare
