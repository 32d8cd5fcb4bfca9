//! The whole way of a key: into a pseudo terminal, through the real program and its node, and back
//! as the sign that the program draws. What a person gets, less their terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use klatch_core::query::Status;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};

use super::{COLUMNS, ROWS, figures};
use crate::args::TuiBench;
use crate::client::Client;
use crate::error::{Report, exit};

/// Signs that stand in no escape sequence and nowhere else on the screen: each key is one of them.
const SIGNS: &str = "αβγδεζηθικλμνξοπρστυφχψω";
/// People type no faster for long; the program has become quiet by then.
const BETWEEN: Duration = Duration::from_millis(150);
/// The screen is quiet when nothing was drawn for so long.
const QUIET: Duration = Duration::from_millis(600);
/// A key that is not drawn by then is lost.
const LOST: Duration = Duration::from_secs(20);
/// Sends without an answer while the room is filled.
const IN_FLIGHT: u64 = 200;
/// Pieces of output that wait to be looked at.
const PIECES_MAX: usize = 1_024;

/// Presses keys in an idle room, and again with so many messages in it.
pub async fn measure(args: &TuiBench) -> Result<Value, Report> {
    let folder = tempfile::Builder::new().prefix("klatch-bench-").tempdir().map_err(failed)?;
    let klatch = Klatch { home: folder.path() };
    klatch.run(&["--name", "bench", "up", "--loopback-only"])?;
    let measured = keys_in_both(&klatch, args).await;
    let stopped = klatch.run(&["down"]);
    let measured = measured?;
    stopped.map(|_| measured)
}

async fn keys_in_both(klatch: &Klatch<'_>, args: &TuiBench) -> Result<Value, Report> {
    klatch.run(&["join", "garden"])?;
    let idle = klatch.keys(args.pty_keys)?;
    klatch.fill(args.messages).await?;
    let full = klatch.keys(args.pty_keys)?;
    Ok(json!({"idle": idle, "full": full}))
}

fn failed(error: impl std::fmt::Display) -> Report {
    Report::new(
        "KLATCH-BENCH",
        format!("cannot be measured: {error}"),
        "try again on a machine with less to do",
        exit::FAILED,
    )
}

/// This program, with a home of its own.
struct Klatch<'a> {
    home: &'a Path,
}

impl Klatch<'_> {
    fn command(&self) -> Result<Command, Report> {
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home).env("KLATCH_HOME", self.home);
        command.env("TERM", "xterm-256color").env("TZ", "UTC").env("KLATCH_LOOPBACK_ONLY", "1");
        command.args(["--profile", "bench", "--no-input"]);
        Ok(command)
    }

    /// Runs a command to its end; gives back what it printed.
    fn run(&self, args: &[&str]) -> Result<String, Report> {
        let output = self.command()?.args(args).stdin(Stdio::null()).output().map_err(failed)?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Says so many things in the room, as fast as the node takes them.
    async fn fill(&self, messages: u64) -> Result<(), Report> {
        let status: Status =
            serde_json::from_str(&self.run(&["status", "--json"])?).map_err(failed)?;
        let socket = status.socket.ok_or_else(Report::no_node)?;
        let mut client = Client::connect(Path::new(&socket)).await.map_err(failed)?;
        let mut waiting = 0;
        for n in 0..messages {
            let text = super::text(n);
            client.begin("message.send", json!({"room": "#garden", "text": text})).await?;
            waiting += 1;
            if waiting >= IN_FLIGHT {
                client.answer().await?.1?;
                waiting -= 1;
            }
        }
        for _ in 0..waiting {
            client.answer().await?.1?;
        }
        Ok(())
    }

    /// Opens the full screen and presses keys, one at a time.
    fn keys(&self, keys: usize) -> Result<Value, Report> {
        let mut terminal = Terminal::open(self.command()?)?;
        terminal.settle()?;
        let mut taken = Vec::with_capacity(keys);
        for (n, sign) in SIGNS.chars().cycle().take(keys).enumerate() {
            std::thread::sleep(BETWEEN);
            if n > 0 && n.is_multiple_of(40) {
                // A line like those that people write.
                terminal.press("\u{15}")?;
                terminal.settle()?;
            }
            taken.push(terminal.key(sign)?);
        }
        terminal.end()?;
        Ok(figures(taken))
    }
}

/// A pseudo terminal with the program in it.
struct Terminal {
    child: Child,
    keys: File,
    drawn: Receiver<(Instant, Vec<u8>)>,
}

impl Terminal {
    fn open(mut command: Command) -> Result<Self, Report> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).map_err(failed)?;
        grantpt(&master).map_err(failed)?;
        unlockpt(&master).map_err(failed)?;
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).map_err(failed)?;
        let name = ptsname(&master, Vec::new()).map_err(failed)?;
        let slave = File::options()
            .read(true)
            .write(true)
            .open(name.to_string_lossy().as_ref())
            .map_err(failed)?;
        let [input, output] = [slave.try_clone(), slave.try_clone()];
        command.args(["chat", "garden", "--no-mouse"]);
        command.stdin(input.map_err(failed)?).stdout(output.map_err(failed)?).stderr(slave);
        let child = command.spawn().map_err(failed)?;
        // The command holds the program's side of the terminal; without it the end can be read.
        drop(command);
        let keys = File::from(master);
        let out = keys.try_clone().map_err(failed)?;
        let (pieces, drawn) = sync_channel(PIECES_MAX);
        std::thread::spawn(move || read(out, &pieces));
        Ok(Self { child, keys, drawn })
    }

    fn press(&mut self, keys: &str) -> Result<(), Report> {
        self.keys.write_all(keys.as_bytes()).map_err(failed)
    }

    /// Waits until nothing is drawn any more.
    fn settle(&mut self) -> Result<(), Report> {
        let begun = Instant::now();
        let mut any = false;
        loop {
            match self.drawn.recv_timeout(QUIET) {
                Ok(_) => any = true,
                Err(RecvTimeoutError::Timeout) if any => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(failed("the program ended")),
            }
            if begun.elapsed() > LOST {
                return Err(failed("the screen does not become quiet"));
            }
        }
    }

    /// One key, until it is drawn. Microseconds.
    fn key(&mut self, sign: char) -> Result<u64, Report> {
        while self.drawn.try_recv().is_ok() {}
        let wanted = sign.to_string().into_bytes();
        let begun = Instant::now();
        self.press(&sign.to_string())?;
        let mut seen = Vec::new();
        while let Some(left) = LOST.checked_sub(begun.elapsed()) {
            let Ok((at, piece)) = self.drawn.recv_timeout(left) else { break };
            seen.extend(piece);
            if seen.windows(wanted.len()).any(|w| w == wanted) {
                let taken = at.saturating_duration_since(begun);
                return Ok(u64::try_from(taken.as_micros()).unwrap_or(u64::MAX));
            }
        }
        Err(failed("a key was never drawn"))
    }

    fn end(mut self) -> Result<(), Report> {
        self.press("\u{3}\u{3}")?;
        let begun = Instant::now();
        while begun.elapsed() < LOST {
            while self.drawn.try_recv().is_ok() {}
            if self.child.try_wait().map_err(failed)?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(failed("the program does not end"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the program draws, with the time at which it came.
fn read(mut out: File, pieces: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = [0; 65_536];
    while let Ok(n @ 1..) = out.read(&mut buffer) {
        let piece = buffer.get(..n).unwrap_or_default().to_vec();
        if pieces.send((Instant::now(), piece)).is_err() {
            return;
        }
    }
}
