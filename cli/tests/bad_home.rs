//! Damaged, foreign and busy profiles: a clear error with what to do, and nothing is overwritten.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::Home;

fn with_history() -> (Home, PathBuf) {
    let home = Home::new();
    home.ok(&["--name", "alice", "init", "--no-passphrase"]);
    home.ok(&["join", "#garden"]);
    home.ok(&["api", "call", "message.send", r##"{"room":"#garden","text":"precious"}"##]);
    let data = home.path().join("default");
    (home, data)
}

/// Runs a command that must fail, checks the form of the error, and gives back its code.
fn refused(home: &Home, args: &[&str], exit: i32) -> String {
    let output = home.run(&[&["--json"], args].concat(), "");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {text}");
    let line = text
        .lines()
        .find(|l| l.starts_with('{'))
        .unwrap_or_else(|| panic!("no JSON error in {text}"));
    let error: serde_json::Value = serde_json::from_str(line).unwrap();
    let (code, hint) =
        (error["error"]["code"].as_str().unwrap(), error["error"]["hint"].as_str().unwrap());
    assert!(code.starts_with("KLATCH-") && !hint.is_empty(), "{text}");
    code.to_owned()
}

#[test]
fn a_damaged_keystore_is_named_and_left_alone() {
    let (home, data) = with_history();
    let keystore = data.join("keystore");
    let whole = std::fs::read(&keystore).unwrap();
    for bytes in [&whole[..whole.len() / 2], &b""[..], &b"garbage"[..], &vec![0xff; 4_000][..]] {
        std::fs::write(&keystore, bytes).unwrap();
        assert_eq!(refused(&home, &["rooms"], 1), "KLATCH-KEYSTORE");
        refused(&home, &["up"], 1);
        refused(&home, &["init", "--no-passphrase"], 2);
        assert_eq!(std::fs::read(&keystore).unwrap(), bytes, "not touched");
    }
    std::fs::write(&keystore, whole).unwrap();
    assert!(home.ok(&["log", "#garden"]).contains("precious"));
}

#[test]
fn a_keystore_that_others_can_read_is_refused_with_the_command_that_helps() {
    let (home, data) = with_history();
    let keystore = data.join("keystore");
    std::fs::set_permissions(&keystore, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = home.run(&["rooms"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"));
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    let (home, data) = with_history();
    let database = data.join("klatch.db");
    let whole = std::fs::read(&database).unwrap();
    for bytes in [&whole[..whole.len() / 3], &b"garbage"[..]] {
        std::fs::write(&database, bytes).unwrap();
        assert_eq!(refused(&home, &["log", "#garden"], 1), "KLATCH-STORE");
        assert_eq!(std::fs::read(&database).unwrap(), bytes, "not touched");
    }
    std::fs::write(&database, whole).unwrap();
    assert!(home.ok(&["log", "#garden"]).contains("precious"));
}

#[test]
fn a_folder_in_the_place_of_a_file_is_called_one() {
    let (home, data) = with_history();
    std::fs::remove_file(data.join("bodies-00000001.seg")).unwrap();
    std::fs::create_dir(data.join("bodies-00000001.seg")).unwrap();
    for args in [&["up"][..], &["log", "#garden"], &["send", "#garden", "hi"]] {
        assert_eq!(refused(&home, args, 1), "KLATCH-STORE", "{args:?}");
        let text = String::from_utf8_lossy(&home.run(args, "").stderr).into_owned();
        assert!(text.contains("bodies-00000001.seg is a folder, and should be a file"), "{text}");
        assert!(!text.contains("read-only"), "{text}");
    }
    std::fs::remove_dir(data.join("bodies-00000001.seg")).unwrap();
    home.ok(&["log", "#garden"]);
}

#[test]
fn two_nodes_cannot_run_on_one_home() {
    let (home, _) = with_history();
    home.ok(&["up"]);
    assert_eq!(refused(&home, &["node", "run"], 1), "KLATCH-ALREADY-RUNNING");
    // Everything else talks to the one that runs.
    assert!(home.ok(&["log", "#garden"]).contains("precious"));
    home.ok(&["down"]);
}

#[test]
fn a_socket_left_by_a_killed_node_is_replaced() {
    let (home, data) = with_history();
    let pid =
        serde_json::from_str::<serde_json::Value>(&home.ok(&["up", "--json"])).unwrap()["pid"]
            .to_string();
    assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    let begun = std::time::Instant::now();
    while std::os::unix::net::UnixStream::connect(data.join("run/api.sock")).is_ok() {
        assert!(begun.elapsed() < common::PATIENCE);
    }
    assert!(data.join("run/api.sock").exists());
    assert!(home.ok(&["log", "#garden"]).contains("precious"));
}

#[test]
fn a_home_deeper_than_a_socket_path_works() {
    let home = Home::new();
    let deep = home.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    let run = |args: &[&str]| {
        let mut command = home.command(args);
        command.env("KLATCH_HOME", &deep);
        common::finish(command, "")
    };
    let joined = run(&["--name", "alice", "join", "#garden"]);
    assert!(joined.status.success(), "{joined:?}");
    let up = run(&["up"]);
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    assert!(run(&["status"]).status.success());
    assert!(run(&["down"]).status.success());
}

#[test]
fn only_a_held_lock_is_in_use_and_everything_else_says_what_it_is() {
    let (home, data) = with_history();
    let lock = data.join("lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    for args in [&["rooms"][..], &["send", "#garden", "x"], &["up"], &["down"], &["status"]] {
        assert_eq!(refused(&home, args, 1), "KLATCH-LOCK-FILE", "{args:?}");
    }
    let doctor = home.run(&["doctor"], "");
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(text.contains("lock is a folder, and must be a file"), "{text}");
    // Every check that cannot look for that reason says what helps, and nothing that does not.
    assert!(text.contains("try: mv '") && !text.contains("another process"), "{text}");
    assert!(!text.contains("klatch up") && !text.contains("klatch down"), "{text}");
    std::fs::remove_dir(&lock).unwrap();
    // A pipe would be waited for.
    assert!(std::process::Command::new("mkfifo").arg(&lock).status().unwrap().success());
    assert_eq!(refused(&home, &["rooms"], 1), "KLATCH-LOCK-FILE");
    std::fs::remove_file(&lock).unwrap();
    assert!(home.ok(&["log", "#garden"]).contains("precious"));
}

/// Runs the program as somebody who is not above permissions.
fn as_nobody(home: &Home, program: &std::path::Path, args: &[&str]) -> std::process::Output {
    use std::os::unix::process::CommandExt;
    let like = home.command(args);
    let mut command = std::process::Command::new(program);
    command.args(args).env_clear();
    command.envs(like.get_envs().filter_map(|(key, value)| Some((key, value?))));
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    common::finish(command, "")
}

/// Gives everything below to that somebody, who can reach it and the program.
fn give_away(home: &Home) -> PathBuf {
    let program = home.path().join("klatch");
    std::fs::copy(env!("CARGO_BIN_EXE_klatch"), &program).unwrap();
    if rustix::process::geteuid().is_root() {
        let done = std::process::Command::new("chown")
            .args(["-R", "65534:65534"])
            .arg(home.path())
            .status();
        assert!(done.unwrap().success());
    }
    program
}

fn set_mode(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn history_is_read_from_a_disk_that_refuses_writes() {
    for crashed in [false, true] {
        let (home, data) = with_history();
        if crashed {
            // The last words are in the write-ahead log alone, and its index is gone with the crash.
            let up = home.ok(&["up", "--json"]);
            let pid = serde_json::from_str::<serde_json::Value>(&up).unwrap()["pid"].to_string();
            home.ok(&["send", "#garden", "last words"]);
            let log = data.join("klatch.db-wal");
            assert!(log.metadata().unwrap().len() > 0);
            let kill = std::process::Command::new("kill").args(["-KILL", &pid]).status();
            assert!(kill.unwrap().success());
            let begun = std::time::Instant::now();
            while std::path::Path::new(&format!("/proc/{pid}/cmdline"))
                .exists()
                .then(|| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default())
                .is_some_and(|line| !line.is_empty())
            {
                assert!(begun.elapsed() < common::PATIENCE);
            }
            std::fs::remove_file(data.join("klatch.db-shm")).unwrap();
        }
        let program = give_away(&home);
        for file in std::fs::read_dir(&data).unwrap().flatten() {
            set_mode(&file.path(), if file.path().is_dir() { 0o500 } else { 0o400 });
        }
        set_mode(&data, 0o500);
        let before = std::fs::read_dir(&data).unwrap().count();
        let run = |args: &[&str]| as_nobody(&home, &program, args);
        let said = |args: &[&str]| {
            let output = run(args);
            assert!(output.status.success(), "{args:?}: {output:?}");
            let remarks = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!remarks.contains("WARN") && !remarks.contains("no node"), "{remarks}");
            assert!(remarks.contains("this profile cannot be written"), "{remarks}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(said(&["log", "#garden"]).contains("precious"));
        assert!(said(&["rooms"]).contains("#garden"));
        assert!(said(&["members", "#garden"]).contains("alice"));
        if crashed {
            assert!(said(&["log", "#garden"]).contains("last words"));
        }
        // What came last may not be in the index, which cannot be brought up to date.
        let search = run(&["log", "#garden", "--search", "precious"]);
        let remarks = String::from_utf8_lossy(&search.stderr).into_owned();
        assert!(remarks.contains("only those texts are searched that were indexed"), "{remarks}");
        for args in [
            &["send", "#garden", "x"][..],
            &["tail", "#garden"],
            &["log", "#garden", "--follow"],
            &["chat", "#garden", "--plain"],
            &["up"],
            &["node", "run"],
            &["join", "#shed"],
        ] {
            let refused = run(args);
            let text = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(1), "{args:?}: {text}");
            assert!(text.contains("KLATCH-READ-ONLY") && text.contains("klatch log"), "{text}");
            assert!(text.contains("cannot be written") && !text.contains("WARN"), "{text}");
        }
        let doctor = run(&["doctor"]);
        let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(text.contains("cannot be written"), "{text}");
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), before, "nothing was made");
        set_mode(&data, 0o700);
    }
}

#[test]
fn what_sudo_left_behind_is_named_with_the_command_that_helps() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make a file of somebody else's");
        return;
    }
    let (home, data) = with_history();
    let program = give_away(&home);
    let root = std::process::Command::new("chown").arg("0:0").arg(data.join("lock")).status();
    assert!(root.unwrap().success());
    for args in [&["rooms"][..], &["status"], &["down"], &["up"]] {
        let output = as_nobody(&home, &program, args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.contains("belongs to root") && text.contains("sudo chown"), "{text}");
    }
}

#[test]
fn a_node_is_not_started_for_somebody_who_does_not_exist() {
    let home = Home::new();
    for args in [&["up"][..], &["node", "run"], &["--profile", "wrok", "up"], &["unlock"]] {
        assert_eq!(refused(&home, args, 2), "KLATCH-NO-IDENTITY", "{args:?}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "nobody was made");
    home.ok(&["--name", "alice", "up"]);
    home.ok(&["down"]);
}
