#!/usr/bin/env bash
# crossterm: an EventStream that was polled once without a key being there (here by `now_or_never`, as
# one does to take what has piled up) remembers that poll's waker. Awaited afterwards, it does not
# take the new waker: a key that is typed then wakes nobody, and is only seen when something else
# wakes the task. The contract of `Stream` is that the waker of the latest poll is woken.
#
# Matters to whoever empties an EventStream by hand and then waits in `select!`: keys show late. Read
# events in a task of their own that does nothing but await them.
#
# Seen with crossterm 0.29.0. Types into a terminal of its own; exit code 0: still so; 1: changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "second-waker"
version = "0.0.0"
edition = "2024"

[dependencies]
crossterm = { version = "=0.29.0", features = ["event-stream"] }
futures = "0.3"
tokio = { version = "1", features = ["rt", "macros", "time"] }

[workspace]
TOML
cat >"$folder/src/main.rs" <<'RUST'
use std::time::{Duration, Instant};

use crossterm::event::EventStream;
use futures::{FutureExt, StreamExt};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    crossterm::terminal::enable_raw_mode().unwrap();
    let mut keys = EventStream::new();
    if std::env::args().nth(1).as_deref() == Some("polled") {
        assert!(keys.next().now_or_never().is_none(), "no key is there yet");
    }
    println!("ready");
    let (begun, limit) = (Instant::now(), Duration::from_secs(4));
    // The end of the limit wakes the task, which then finds the key.
    let _ = tokio::time::timeout(limit, keys.next()).await;
    crossterm::terminal::disable_raw_mode().unwrap();
    println!("over after {} ms", begun.elapsed().as_millis());
}
RUST
cargo build --quiet --manifest-path "$folder/Cargo.toml" --target-dir "$folder/target"
python3 - "$folder/target/debug/second-waker" <<'PYTHON'
import os
import pty
import re
import sys
import time


def key_is_seen(*words):
    """Types one key half a second after the program is ready; what the program says of it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.argv[1], [sys.argv[1], *words])
    said = ""
    try:
        while "ready" not in said:
            said += os.read(terminal, 1000).decode()
        time.sleep(0.5)
        os.write(terminal, b"a")
        while not re.search(r"over after \d+ ms", said):
            said += os.read(terminal, 1000).decode()
    except OSError:
        sys.exit(f"the program ended early: {said}")
    os.waitpid(pid, 0)
    after = int(re.search(r"over after (\d+) ms", said)[1])
    print(f"{' '.join(words) or 'only awaited':13} key after 500 ms, the task went on after {after} ms")
    return after < 3000


if (key_is_seen(), key_is_seen("polled")) != (True, False):
    sys.exit("this is not what was seen before: the workaround may be unnecessary now")
PYTHON
