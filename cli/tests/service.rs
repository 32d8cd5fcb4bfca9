//! A node as a service, and homes as they come: what the service manager hears, what is promised to
//! stay on this machine, and folders whose names are no text.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Home, PATIENCE};

/// A child that never outlives its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// What the manager hears next.
fn heard(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 500];
    let read = manager.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..read].to_vec()).unwrap()
}

fn service(home: &Home, socket: &OsStr, watchdog: &str) -> Process {
    let mut run = home.command(&["node", "run", "--no-mdns", "--listen", "127.0.0.1:0"]);
    run.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", watchdog);
    run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Process(run.spawn().unwrap())
}

#[test]
fn the_service_manager_hears_when_it_is_ready_lives_and_stops() {
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    let path = home.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let node = service(&home, path.as_os_str(), "400000");
    assert_eq!(heard(&manager), "READY=1\nSTATUS=alice");
    home.ok(&["status"]);
    for _ in 0..3 {
        assert_eq!(heard(&manager), "WATCHDOG=1");
    }
    // A process that does not run says nothing, and does not make up for it afterwards.
    signal(node.0.id(), "-STOP");
    manager.set_nonblocking(true).unwrap();
    while manager.recv(&mut [0; 500]).is_ok() {}
    manager.set_nonblocking(false).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
    assert!(manager.recv(&mut [0; 500]).is_err());
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    signal(node.0.id(), "-CONT");
    assert_eq!(heard(&manager), "WATCHDOG=1");
    signal(node.0.id(), "-TERM");
    let begun = Instant::now();
    while heard(&manager) != "STOPPING=1\nSTATUS=stopping" {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!({ node }.0.wait().unwrap().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_manager_without_a_file_is_told_too_and_a_missing_one_is_no_reason_to_end() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    let name = format!("klatch-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let node = service(&home, OsStr::new(&format!("@{name}")), "0");
    assert!(heard(&manager).starts_with("READY=1\n"));
    drop(manager);
    home.ok(&["status"]);
    home.ok(&["down"]);
    assert_eq!({ node }.0.wait().unwrap().code(), Some(0));
    // `klatch up` returns by itself: it is no service, nor is the node that it starts.
    let silent = UnixDatagram::bind_addr(&address).unwrap();
    silent.set_nonblocking(true).unwrap();
    let mut up = home.command(&["up"]);
    up.env("NOTIFY_SOCKET", format!("@{name}"));
    assert!(common::finish(up, "").status.success());
    assert!(silent.recv(&mut [0; 9]).is_err());
}

#[test]
fn the_unit_starts_this_program_for_this_profile_and_says_what_was_asked() {
    let home = Home::new();
    let mut print =
        home.command(&["--profile", "work", "node", "unit", "--listen", "0.0.0.0:4001"]);
    print.env_remove("KLATCH_LOOPBACK_ONLY").env("KLATCH_HOME", home.path().join("a b"));
    let output = common::finish(print, "");
    assert!(output.status.success(), "{output:?}");
    let unit = String::from_utf8(output.stdout).unwrap();
    let line = |start: &str| unit.lines().find(|l| l.starts_with(start)).unwrap_or_default();
    let run = line("ExecStart=");
    assert!(run.contains("--profile work --no-input node run --listen 0.0.0.0:4001"), "{run}");
    assert!(line("Environment=").contains("/a b\""), "{unit}");
    for wanted in ["Type=notify", "WatchdogSec=60", "WantedBy=default.target", "Restart=on-failure"]
    {
        assert_eq!(line(wanted), wanted);
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "it is only printed");
}

/// Where a node listens, and whether it looks for neighbours.
fn listens(status: &str) -> (Vec<String>, String) {
    let status: serde_json::Value = serde_json::from_str(status).unwrap();
    let list = status["listening"].as_array().unwrap();
    let listening = list.iter().map(|a| a.as_str().unwrap().to_owned()).collect();
    (listening, status["discovery"]["mdns"].as_str().unwrap().to_owned())
}

#[test]
fn every_command_keeps_the_promise_to_stay_on_this_machine() {
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    for args in [&["api", "serve", "--http"][..], &["api", "serve", "--stdio"], &["events"]] {
        let mut command = home.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process(command.spawn().unwrap());
        let begun = Instant::now();
        let status = loop {
            let output = home.run(&["status", "--json"], "");
            if output.status.success() {
                break String::from_utf8(output.stdout).unwrap();
            }
            assert!(begun.elapsed() < PATIENCE, "{args:?}: {output:?}");
        };
        let (listening, mdns) = listens(&status);
        assert!(!listening.is_empty() && mdns == "off", "{args:?}: {status}");
        assert!(listening.iter().all(|a| a.starts_with("/ip4/127.")), "{args:?}: {listening:?}");
        // What holds a node for itself ends when that is told to stop.
        let down: serde_json::Value =
            serde_json::from_str(&home.ok(&["--timeout", "10s", "down", "--json"])).unwrap();
        assert_eq!(down["stopped"], true, "{args:?}");
        let begun = Instant::now();
        while process.0.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "{args:?} has not ended");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_home_whose_name_is_no_text_works() {
    let home = Home::new();
    let odd = home.path().join(OsStr::from_bytes(b"caf\xe9"));
    let runtime = home.path().join(OsStr::from_bytes(b"r\xfcn"));
    for folder in [&odd, &runtime] {
        std::fs::create_dir(folder).unwrap();
    }
    let man = odd.join("man");
    // By the variable that moves everything, and as a plain home folder.
    for own in [true, false] {
        let run = |args: &[&OsStr]| {
            let mut command = home.command(&[]);
            command.args(args).env("HOME", &odd).env("XDG_RUNTIME_DIR", &runtime);
            if own {
                command.env("KLATCH_HOME", &odd);
            } else {
                command.env_remove("KLATCH_HOME");
            }
            let output = common::finish(command, "");
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!error.contains("panicked") && !error.contains("KLATCH-BUG"), "{error}");
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), error)
        };
        let walk: &[&[&str]] = &[
            &["--json", "init", "--name", "alice", "--no-passphrase"],
            &["join", "#garden"],
            &["send", "#garden", "seeds"],
            &["up"],
            &["--json", "status"],
            &["send", "#garden", "more seeds"],
            &["--json", "log", "#garden"],
            &["log", "#garden", "--search", "seeds"],
            &["token", "create", "bot", "--scope", "read"],
            &["down"],
            &["rooms"],
            &["node", "unit"],
        ];
        for args in walk {
            let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
            let (code, _, error) = run(&args);
            assert_eq!(code, Some(0), "{args:?}: {error}");
        }
        for args in [&["--json", "doctor"][..], &["doctor"]] {
            let (_, text, error) = run(&args.iter().map(OsStr::new).collect::<Vec<_>>());
            assert!(text.contains("identity"), "{text} {error}");
        }
        let (code, _, error) = run(&[OsStr::new("--json"), OsStr::new("man"), man.as_os_str()]);
        assert_eq!(code, Some(0), "{error}");
        assert!(pages(&man) > 0);
    }
}

fn pages(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}
