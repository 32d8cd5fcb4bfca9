#!/usr/bin/env bash
# crossterm: when a key and a change of the window's size are both there at its next look, the one
# that came first is reported and the other stays unread: `poll` says that there is nothing, for
# seconds, while the byte lies in the terminal, until the next key or size brings it along. The usual
# source on Unix asks an edge-triggered epoll, and leaves the loop over its answers at the first.
# With the feature `use-dev-tty` (poll, level-triggered) both are reported. But there
# `poll(Duration::ZERO)` reports nothing that was not read before, whatever is there.
#
# Matters to whoever types while a window is dragged or a phone turns, on a busy machine above all.
#
# Seen with crossterm 0.29.0 on Linux. Types into a terminal of its own; exit code 0: still so; 1: changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "beside"
version = "0.0.0"
edition = "2024"

[dependencies]
crossterm = "=0.29.0"

[features]
asks-tty = ["crossterm/use-dev-tty"]

[workspace]
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::time::Duration;

use crossterm::event::{Event, poll, read};

fn main() {
    crossterm::terminal::enable_raw_mode().unwrap();
    // Sets the handler of the signal.
    let at_first = poll(Duration::from_millis(1)).unwrap();
    assert!(!at_first, "nothing was typed yet");
    println!("ready");
    std::thread::sleep(Duration::from_secs(1));
    let at_once = poll(Duration::ZERO).unwrap();
    let mut seen = Vec::new();
    while poll(Duration::from_secs(2)).unwrap() {
        match read().unwrap() {
            Event::Key(_) => seen.push("key"),
            Event::Resize(..) => seen.push("size"),
            _ => seen.push("other"),
        }
    }
    crossterm::terminal::disable_raw_mode().unwrap();
    println!("zero sees: {at_once}; seen: {};", seen.join(" "));
}
RUST
for feature in "" asks-tty; do
    cargo build --quiet --manifest-path "$folder/Cargo.toml" --features "$feature" --target-dir "$folder/target"
    cp "$folder/target/debug/beside" "$folder/beside-$feature"
done
python3 - "$folder" <<'PYTHON'
import fcntl
import os
import pty
import re
import struct
import sys
import termios
import time


def what_is_seen(feature, first):
    """A key and a size, one right after the other while nobody reads; what is reported of them."""
    program = f"{sys.argv[1]}/beside-{feature}"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(program, [program])
    said = ""
    try:
        while "ready" not in said:
            said += os.read(terminal, 1000).decode()
        time.sleep(0.2)
        for what in [first, "size" if first == "key" else "key"]:
            if what == "key":
                os.write(terminal, b"a")
            else:
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
            time.sleep(0.2)
        while not re.search(r"seen: .*;", said):
            said += os.read(terminal, 1000).decode()
    except OSError:
        sys.exit(f"the program ended early: {said}")
    os.waitpid(pid, 0)
    zero, seen = re.search(r"zero sees: (\w+); seen: (.*);", said).groups()
    print(f"{feature or 'usual source':12} {first:4} first: zero sees {zero:5}  seen within 2 s: {seen}")
    return zero, sorted(seen.split())


seen = [what_is_seen(feature, first) for feature in ("", "asks-tty") for first in ("size", "key")]
both = ["key", "size"]
if seen != [("true", ["size"]), ("true", ["key"]), ("false", both), ("false", both)]:
    sys.exit("this is not what was seen before")
PYTHON
