//! The program's doors: which ports it listens on, and who is let in at the socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::{Home, PATIENCE};
use serde_json::Value;

/// Ports that a process listens on, from the kernel: (address in hexadecimal, port).
fn listeners(pid: u32) -> Vec<(String, u16)> {
    let own: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
        .filter_map(|link| {
            Some(link.to_string_lossy().strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
        })
        .collect();
    let mut found = Vec::new();
    for (table, listening) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")) else {
            continue;
        };
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            if columns[3] == listening && own.iter().any(|inode| inode == columns[9]) {
                let (address, port) = columns[1].split_once(':').unwrap();
                found.push((address.to_owned(), u16::from_str_radix(port, 16).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn port(address: &str) -> u16 {
    address.rsplit([':', '/']).find_map(|part| part.parse().ok()).unwrap()
}

#[test]
fn the_node_listens_where_it_says_and_nowhere_else() {
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    let args =
        ["node", "run", "--listen", "127.0.0.1:0", "--no-quic", "--no-mdns", "--http", "--json"];
    let mut node =
        home.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let mut line = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let (status, http) = (line(), line());
    let network = port(status["listening"][0].as_str().unwrap());
    let address = http["address"].as_str().unwrap().to_owned();
    let mut said = vec![("0100007F".to_owned(), network), ("0100007F".to_owned(), port(&address))];
    said.sort();
    assert_eq!(listeners(node.id()), said);
    let token = std::fs::read_to_string(http["token_file"].as_str().unwrap()).unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"node.stop"}"#;
    let mut stream = TcpStream::connect(&address).unwrap();
    let head = format!(
        "POST /rpc HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n",
        token.trim()
    );
    write!(
        stream,
        "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("stopping"), "{answer}");
    assert!(node.wait().unwrap().success());
    assert!(
        !std::path::Path::new(http["token_file"].as_str().unwrap()).exists(),
        "the token ends with the server"
    );
}

#[test]
fn http_is_served_by_the_running_node_until_the_command_ends() {
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    home.ok(&["up"]);
    let mut serving = home
        .command(&["api", "serve", "--http", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(serving.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address =
        serde_json::from_str::<Value>(&line).unwrap()["address"].as_str().unwrap().to_owned();
    assert!(TcpStream::connect(&address).is_ok());
    let pid = rustix::process::Pid::from_raw(i32::try_from(serving.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(serving.wait().unwrap().success());
    let begun = Instant::now();
    while TcpStream::connect(&address).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "closed with the command");
    }
    home.ok(&["status"]);
}

/// Another user, even one whom the files would let in, is refused by name of the connecting
/// process. Needs root to become somebody else, and Python to connect.
#[test]
fn another_user_is_refused_at_the_socket() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let python =
        Command::new("python3").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !rustix::process::geteuid().is_root() || !python.is_ok_and(|s| s.success()) {
        eprintln!("skipped: this needs root and python3");
        return;
    }
    let home = Home::new();
    home.ok(&["init", "--name", "alice", "--no-passphrase"]);
    home.ok(&["up"]);
    let run = home.path().join("default/run");
    // The node may have refused and closed before the request is sent: what it said is read all the
    // same.
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\ntry:\n  \
                  s.sendall(b'{\"id\":1,\"method\":\"node.status\"}\\n')\nexcept OSError: pass\nprint(s.makefile().readline())";
    let connect = || {
        let mut command = Command::new("python3");
        command
            .args(["-c", script])
            .arg(run.join("api.sock"))
            .uid(65_534)
            .gid(65_534)
            .current_dir("/");
        command.output().unwrap()
    };
    assert!(!connect().status.success(), "the folder keeps others out");
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for folder in [home.path().to_owned(), home.path().join("default"), run.clone()] {
        open(&folder, 0o755);
    }
    open(&run.join("api.sock"), 0o777);
    let answer = String::from_utf8(connect().stdout).unwrap();
    assert!(answer.contains("KLATCH-API-USER") && !answer.contains("alice"), "{answer}");
    for folder in [run.clone(), home.path().join("default")] {
        open(&folder, 0o700);
    }
}
