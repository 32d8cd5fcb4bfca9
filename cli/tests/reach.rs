//! Which node answers: the one of this very profile, from whatever environment one asks, however
//! often its socket is taken away; and it ends when that is asked for, or it is said that it did not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use common::{Home, PATIENCE};
use serde_json::Value;

/// A login of a person: a home folder, perhaps a runtime folder, and nothing else in common.
struct Login {
    home: PathBuf,
    runtime: Option<PathBuf>,
    more: Vec<(&'static str, PathBuf)>,
}

impl Login {
    fn new(home: &Path, runtime: Option<&Path>) -> Self {
        let (home, runtime) = (home.to_owned(), runtime.map(Path::to_owned));
        Self { home, runtime, more: Vec::new() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_klatch"));
        command.args(args).env_clear().env("HOME", &self.home).env("TZ", "UTC");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("KLATCH_LOOPBACK_ONLY", "1");
        command.envs(self.runtime.iter().map(|r| ("XDG_RUNTIME_DIR", r)));
        command.envs(self.more.iter().map(|(key, value)| (key, value)));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        common::finish(self.command(args), "")
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.ok(&["status", "--json"])).unwrap()
    }
}

/// Stops what a test leaves behind when it fails.
struct Down<'a>(&'a Login);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let _ = self.0.command(&["-q", "down", "--yes"]).output();
    }
}

fn folder(path: PathBuf) -> PathBuf {
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
    path
}

fn pid_of(status: &Value) -> u32 {
    u32::try_from(status["pid"].as_u64().unwrap()).unwrap()
}

fn alive(pid: u32) -> bool {
    // A child of nobody's here: it is gone, or waits for init, when it has no command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// The lock is free when files are closed and keys are gone; the process ends right after that.
fn ends(pid: u32) -> bool {
    let begun = Instant::now();
    while alive(pid) {
        if begun.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    true
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

fn error_of(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|l| l.starts_with('{')).unwrap_or_else(|| panic!("{text}"));
    serde_json::from_str::<Value>(line).unwrap()["error"].take()
}

#[test]
fn cron_and_other_sessions_reach_the_node_of_the_login() {
    let temp = tempfile::tempdir().unwrap();
    let (home, run) = (folder(temp.path().join("a")), folder(temp.path().join("run")));
    let login = Login::new(&home, Some(&run));
    login.ok(&["init", "--name", "alice", "--no-passphrase"]);
    login.ok(&["up"]);
    let _down = Down(&login);
    login.ok(&["join", "#garden"]);
    let pid = pid_of(&login.status());
    let other = folder(temp.path().join("other"));
    for session in [Login::new(&home, None), Login::new(&home, Some(&other))] {
        let begun = Instant::now();
        assert_eq!(pid_of(&session.status()), pid);
        assert!(begun.elapsed().as_secs() < 5, "it is found, not waited for");
        session.ok(&["send", "#garden", "from cron"]);
        assert!(session.ok(&["up"]).contains(&format!("pid {pid}")));
    }
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0, "nothing is made there");
    Login::new(&home, None).ok(&["down"]);
    assert!(ends(pid));
    assert!(login.ok(&["log", "#garden"]).contains("from cron"));
    assert!(!home.join(".local/share/klatch/default/running").exists());
}

#[test]
fn one_name_in_two_homes_is_two_people_and_two_nodes() {
    let temp = tempfile::tempdir().unwrap();
    let run = folder(temp.path().join("run"));
    let work = Login::new(&folder(temp.path().join("work")), Some(&run));
    let private = Login::new(&folder(temp.path().join("private")), Some(&run));
    let mut nix = Login::new(&work.home, Some(&run));
    nix.more.push(("XDG_DATA_HOME", folder(temp.path().join("data"))));
    for (login, name) in [(&work, "work"), (&private, "private"), (&nix, "nix")] {
        login.ok(&["init", "--name", name, "--no-passphrase"]);
    }
    work.ok(&["up"]);
    let _down = Down(&work);
    for login in [&private, &nix] {
        assert_eq!(login.run(&["status"]).status.code(), Some(5), "not theirs");
        assert!(login.ok(&["join", "#garden"]).contains("#garden"));
        login.ok(&["down"]);
    }
    assert_eq!(work.status()["rooms"].as_array().unwrap().len(), 0);
    private.ok(&["up"]);
    let _private = Down(&private);
    let (a, b) = (work.status(), private.status());
    assert!(a["name"] == "work" && b["name"] == "private" && pid_of(&a) != pid_of(&b));
    private.ok(&["down"]);
    assert!(alive(pid_of(&a)) && ends(pid_of(&b)));
}

#[test]
fn a_node_whose_runtime_folder_is_removed_is_reached_and_ends_when_told() {
    let temp = tempfile::tempdir().unwrap();
    let (home, run) = (folder(temp.path().join("a")), folder(temp.path().join("run")));
    let login = Login::new(&home, Some(&run));
    login.ok(&["init", "--name", "alice", "--no-passphrase"]);
    login.ok(&["up"]);
    let _down = Down(&login);
    let pid = pid_of(&login.status());
    // What happens at the last logout, and the login after it.
    std::fs::remove_dir_all(&run).unwrap();
    folder(run.clone());
    assert_eq!(pid_of(&login.status()), pid);
    let made_again = || std::fs::read_dir(run.join("klatch/peers")).is_ok_and(|d| d.count() > 0);
    let begun = Instant::now();
    while !made_again() {
        assert!(begun.elapsed() < PATIENCE, "others on this machine do not find it");
    }
    // Not even the place for it is there.
    std::fs::remove_dir_all(&run).unwrap();
    std::fs::write(&run, "in the way").unwrap();
    let status = login.status();
    assert_eq!(pid_of(&status), pid);
    let socket = status["socket"].as_str().unwrap().to_owned();
    assert!(socket.starts_with(home.to_str().unwrap()), "{socket}");
    login.ok(&["lock"]);
    assert!(ends(pid) && !Path::new(&socket).exists());
}

#[test]
fn a_removed_socket_does_not_keep_a_locked_profile_open() {
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    home.ok(&["up"]);
    let status: Value = serde_json::from_str(&home.ok(&["status", "--json"])).unwrap();
    std::fs::remove_file(status["socket"].as_str().unwrap()).unwrap();
    home.ok(&["lock"]);
    assert!(ends(pid_of(&status)));
}

#[test]
fn a_program_that_takes_the_sockets_path_is_neither_asked_nor_harmed() {
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    let socket = home.path().join("default/run/api.sock");
    let taken = || {
        let _ = std::fs::remove_file(&socket);
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        UnixListener::bind(&socket).unwrap()
    };
    let nobody_came = |listener: &UnixListener| {
        listener.set_nonblocking(true).unwrap();
        let mut said = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            std::io::Read::read_to_end(&mut stream, &mut said).unwrap();
        }
        said.is_empty()
    };
    // Before the node starts.
    let other = taken();
    home.ok(&["up"]);
    let status: Value = serde_json::from_str(&home.ok(&["status", "--json"])).unwrap();
    assert_ne!(status["socket"].as_str().unwrap(), socket.to_str().unwrap());
    home.ok(&["down"]);
    assert!(nobody_came(&other) && socket.exists());
    drop(other);
    // And while it runs.
    home.ok(&["up"]);
    let other = taken();
    home.ok(&["join", "#garden"]);
    home.ok(&["send", "#garden", "secret"]);
    let status: Value = serde_json::from_str(&home.ok(&["status", "--json"])).unwrap();
    home.ok(&["down"]);
    assert!(ends(pid_of(&status)));
    assert!(nobody_came(&other) && socket.exists(), "what was said went to the node alone");
}

#[test]
fn a_node_that_does_not_respond_is_not_said_to_have_stopped() {
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    home.ok(&["up"]);
    let status: Value = serde_json::from_str(&home.ok(&["status", "--json"])).unwrap();
    let pid = pid_of(&status);
    signal(pid, "-STOP");
    for args in [&["down", "--json"][..], &["lock", "--json"]] {
        let output = home.run(args, "");
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        let error = error_of(&output);
        assert_eq!(error["code"], "KLATCH-NOT-STOPPED");
        assert!(error["message"].as_str().unwrap().contains(&pid.to_string()), "{error}");
        assert!(!error.to_string().contains("kill"), "{error}");
    }
    let args = ["--timeout", "300ms", "down", "--yes", "--json"];
    let output = home.run(&args, "");
    assert_eq!(output.status.code(), Some(6), "told, and not ended: {output:?}");
    assert!(alive(pid));
    signal(pid, "-CONT");
    home.ok(&["down"]);
    assert!(ends(pid));
    assert!(home.ok(&["rooms"]).is_empty(), "it closed its files");
}

#[test]
fn a_process_that_only_holds_the_lock_is_ended_when_that_is_wanted() {
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    let lock = home.path().join("default/lock");
    // The number in the file is that of a process that has nothing to do with it.
    std::fs::write(&lock, format!("{}\n", std::process::id())).unwrap();
    let mut holder = Command::new("flock");
    holder.arg("--no-fork").arg(&lock).args(["sh", "-c", "echo held; exec sleep 60"]);
    let Ok(mut holder) = holder.stdout(std::process::Stdio::piped()).spawn() else {
        eprintln!("skipped: no flock program here");
        return;
    };
    let mut said = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
    let output = home.run(&["down", "--yes", "--json"], "");
    assert_eq!(error_of(&output)["code"], "KLATCH-NOT-STOPPED", "not this test's: {output:?}");
    std::fs::write(&lock, format!("{}\n", holder.id())).unwrap();
    // Reaped beside it, as a shell would.
    let ended = std::thread::spawn(move || holder.wait().unwrap());
    home.ok(&["down", "--yes"]);
    assert!(!ended.join().unwrap().success());
}
