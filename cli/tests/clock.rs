//! A clock that was never set (1970) or counted over (2106): the node starts, says so, and nothing is
//! lost, neither while the clock is wrong nor when it is right again.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use common::Home;
use serde_json::Value;

/// Put in front of the C library, it lets one process and its children live at another time.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long long ahead(void) {
    const char *s = getenv("CLOCK_AHEAD_S");
    return s ? atoll(s) : 0;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int (*real)(clockid_t, struct timespec *) =
        (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(id, at);
    if (done == 0 && id == CLOCK_REALTIME) at->tv_sec += ahead();
    return done;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"#;

fn build(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, CLOCK).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl");
    assert!(cc.status().unwrap().success(), "building this program needs a C compiler as well");
    library
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Alice, whose clock stands where it is put.
struct Alice<'a> {
    home: &'a Home,
    library: PathBuf,
    ahead_s: i64,
}

impl Alice<'_> {
    fn run(&self, args: &[&str]) -> Output {
        let mut command = self.home.command(&[&["--profile", "alice"], args].concat());
        if self.ahead_s != 0 {
            command.env("LD_PRELOAD", &self.library);
            command.env("CLOCK_AHEAD_S", self.ahead_s.to_string());
        }
        common::finish(command, "")
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn says(&self, text: &str) {
        self.ok(&["send", "#garden", text, "--wait", "delivered", "--timeout", "60s"]);
    }

    fn clock(&self) -> Value {
        let said = self.run(&["doctor", "--json"]).stdout;
        let said: Value = serde_json::from_slice(&said).unwrap();
        let all = said["checks"].as_array().unwrap();
        all.iter().find(|check| check["name"] == "clock").unwrap().clone()
    }
}

/// What somebody reads: texts and shown times, in order.
fn read(log: &str) -> Vec<(String, i64)> {
    let lines = log.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let shown = lines.filter(|m| m["kind"] != "profile" && m["text"].is_string());
    shown.map(|m| (m["text"].as_str().unwrap().to_owned(), m["at_ms"].as_i64().unwrap())).collect()
}

#[test]
fn at_1970_and_at_2106_a_node_starts_says_so_and_loses_nothing() {
    let home = Home::new();
    let begun = now_s();
    let mut alice = Alice { home: &home, library: build(home.path()), ahead_s: 0 };
    for name in ["alice", "bob"] {
        home.ok(&["--profile", name, "init", "--name", name, "--no-passphrase"]);
    }
    home.ok(&["--profile", "bob", "up"]);
    home.ok(&["--profile", "bob", "join", "#garden"]);
    alice.ok(&["up"]);
    alice.ok(&["join", "#garden"]);
    alice.says("before");
    alice.ok(&["down"]);
    let (day_2_of_1970, feb_2106) = (86_400, 4_294_967_296);
    for (stands_s, words, text) in
        [(day_2_of_1970, "before 2025", "from 1970"), (feb_2106, "after 2099", "from 2106")]
    {
        alice.ahead_s = stands_s - now_s();
        alice.ok(&["up"]);
        alice.says(text);
        let clock = alice.clock();
        assert_eq!(clock["outcome"], "fail", "{clock}");
        assert!(clock["text"].as_str().unwrap().contains(words), "{clock}");
        alice.ok(&["down"]);
        let log = std::fs::read_to_string(home.path().join("alice/node.log")).unwrap();
        let warned = log.matches("the clock of this machine is wrong").count();
        assert_eq!(warned, if text == "from 1970" { 1 } else { 2 }, "{log}");
    }
    alice.ahead_s = 0;
    alice.ok(&["up"]);
    assert_ne!(alice.clock()["outcome"], "fail");
    home.ok(&["--profile", "bob", "send", "#garden", "answer", "--wait", "delivered"]);
    alice.says("right again");
    let texts = ["before", "from 1970", "from 2106", "answer", "right again"];
    for name in ["alice", "bob"] {
        let shown = read(&home.ok(&["--profile", name, "log", "#garden", "--json"]));
        let said: Vec<&str> = shown.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(said, texts, "{name}");
        let times = (begun * 1_000)..=((now_s() + 61) * 1_000);
        assert!(shown.iter().all(|(_, at)| times.contains(at)), "{name}: {shown:?}");
        assert!(shown.windows(2).all(|w| w[0].1 <= w[1].1), "{name}: {shown:?}");
    }
    alice.ok(&["down"]);
}
