#!/usr/bin/env bash
# A LAN in network namespaces: do two nodes that know nothing of each other find each other by multicast DNS, and what does
# `klatch doctor` say when the network carries no multicast?
#
#     testnet/netlab/lan.sh [PROGRAM]        PROGRAM is klatch, default target/release/klatch; needs root and `ip`
#     testnet/netlab/lan.sh --can            only says whether it can run here, and why not
#
# Two hosts and the bridge between them are namespaces of their own, named after this process and removed at its end; nothing
# appears in the machine's own network, and no host has a way out. Exit code 77: it cannot run here.
set -eu

lab="klatch-$$"
hosts="alice bob"

cannot() {
    echo "$1"
    exit 77
}

[ "$(id -u)" = 0 ] || cannot "making network namespaces needs root"
command -v ip >/dev/null || cannot "there is no \`ip\` (Debian: apt-get install iproute2)"
ip netns add "$lab-switch" 2>/dev/null || cannot "this system lets nobody make network namespaces"
trap 'ip netns del "$lab-switch"' EXIT
ip -n "$lab-switch" link add lan type bridge mcast_snooping 0 2>/dev/null || cannot "this kernel has no bridges"
[ "${1:-}" != --can ] || exit 0
klatch=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/release/klatch}")
[ -x "$klatch" ] || { echo "there is no $klatch: cargo build --release -p klatch"; exit 1; }
home=$(mktemp -d "${TMPDIR:-/tmp}/klatch-lan.XXXXXX")

clean_up() {
    for host in $hosts; do
        # Asked to end; whatever does not is ended with its namespace's other processes, which are all ours.
        on "$host" down >/dev/null 2>&1 || true
        for pid in $(ip netns pids "$lab-$host" 2>/dev/null); do kill -9 "$pid" 2>/dev/null || true; done
        ip netns del "$lab-$host" 2>/dev/null || true
    done
    ip netns del "$lab-switch" 2>/dev/null || true
    rm -rf "$home"
}

# klatch on a host: a home of its own, so that no address file is shared.
on() {
    local host=$1
    shift
    ip netns exec "$lab-$host" env -u KLATCH_LOOPBACK_ONLY -u KLATCH_PROFILE KLATCH_HOME="$home/$host" \
        XDG_RUNTIME_DIR="$home/$host" timeout 90 "$klatch" "$@"
}

fail() {
    echo "FAILED: $1"
    for host in $hosts; do
        echo "-- $host:"
        on "$host" status || true
        tail -n 20 "$home/$host/default/node.log" 2>/dev/null || true
    done
    exit 1
}

says() { # TEXT PATTERN WHAT
    grep -Eq -- "$2" <<<"$1" || fail "$3: $1"
}

trap clean_up EXIT
trap 'exit 130' INT TERM

# ---- the LAN ---------------------------------------------------------------------------------------------------------

ip -n "$lab-switch" link set lan up
number=0
for host in $hosts; do
    number=$((number + 1))
    ip netns add "$lab-$host"
    ip -n "$lab-switch" link add "to-$host" type veth peer name eth0 netns "$lab-$host"
    ip -n "$lab-switch" link set "to-$host" master lan up
    ip -n "$lab-$host" link set lo up
    ip -n "$lab-$host" addr add "192.168.77.$number/24" dev eth0
    ip -n "$lab-$host" link set eth0 up
    # There is no default route, so multicast needs one of its own.
    ip -n "$lab-$host" route add 224.0.0.0/4 dev eth0
done

multicast() { # on|off: the switch passes it on, or not
    for host in $hosts; do ip -n "$lab-switch" link set "to-$host" type bridge_slave mcast_flood "$1"; done
}

start() {
    for host in $hosts; do on "$host" up >/dev/null || fail "$host does not start"; done
}

stop() {
    for host in $hosts; do on "$host" down >/dev/null 2>&1 || fail "$host does not stop"; done
}

# ---- with multicast --------------------------------------------------------------------------------------------------

begun=$SECONDS
for host in $hosts; do on "$host" -q init --name "$host" --no-passphrase >/dev/null; done
start
for host in $hosts; do on "$host" -q join '#lan' >/dev/null; done
on alice wait 'room:#lan' --timeout 30s >/dev/null || fail "they did not find each other"
found=$((SECONDS - begun))
on alice send '#lan' 'hello over there' --wait delivered --timeout 30s >/dev/null || fail "not delivered"
says "$(on bob log '#lan')" 'alice: hello over there' "bob has not read it"
says "$(on alice status --json)" '"path":"lan"' "the way is not the LAN"
says "$(on alice doctor 2>&1 || true)" 'multicast +ok +1 neighbour' "the doctor heard nobody"
echo "found each other by multicast DNS within $found s; a message was delivered"
stop

# ---- without ---------------------------------------------------------------------------------------------------------

multicast off
# Only what multicast tells: addresses from before would lead them together.
for host in $hosts; do
    rm -rf "${home:?}/$host"
    on "$host" -q init --name "$host" --no-passphrase >/dev/null
done
start
for host in $hosts; do on "$host" -q join '#lan' >/dev/null; done
! on alice wait 'room:#lan' --timeout 12s >/dev/null 2>&1 || fail "they found each other, so multicast is not off"
verdict=$(on alice doctor 2>&1 || true)
says "$verdict" 'multicast +(unknown|warn) ' "the doctor does not doubt multicast"
echo "without multicast: $(grep -E 'multicast' <<<"$verdict" | head -n 1)"
stop

# What the doctor recommends then: an address.
on bob up --listen /ip4/192.168.77.2/tcp/4001 >/dev/null || fail "bob does not listen"
on alice up --peer /ip4/192.168.77.2/tcp/4001 >/dev/null || fail "alice does not dial"
on alice wait 'room:#lan' --timeout 30s >/dev/null || fail "they did not meet by address"
echo "by address they meet all the same"
stop
