//! What the tests of the program share: a home of its own for each test, and processes that never
//! outlive it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should stop"
)]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Nothing on one machine takes longer, even when it is busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with all profiles of one test. Background nodes in it are stopped at the end.
pub struct Home {
    folder: TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program, with an environment that holds nothing of the tester's own.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_klatch"));
        command.args(args);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path()).env("TZ", "UTC");
        command.env("KLATCH_HOME", self.path()).env("KLATCH_LOOPBACK_ONLY", "1");
        command
    }

    /// Runs it to its end with this input.
    pub fn run(&self, args: &[&str], input: &str) -> Output {
        finish(self.command(args), input)
    }

    /// Runs it and expects success; gives back what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args, "");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {}: {said}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a chat that is typed into.
    pub fn chat(&self, profile: &str, room: &str, more: &[&str]) -> Chat {
        let mut args = vec!["--profile", profile, "--name", profile, "chat", room, "--plain"];
        args.extend(more);
        let mut child = self
            .command(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let printed = Arc::new(Mutex::new(Vec::new()));
        let (stdout, lines) = (child.stdout.take().unwrap(), printed.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Chat { stdin: child.stdin.take(), child, printed }
    }
}

/// Runs a command to its end with this input.
pub fn finish(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that does not read its input may close it first.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

impl Drop for Home {
    fn drop(&mut self) {
        let Ok(profiles) = std::fs::read_dir(self.path()) else { return };
        for profile in profiles.flatten() {
            if profile.path().join("running").exists() {
                let _ = self
                    .command(&["--profile", &profile.file_name().to_string_lossy(), "-q", "down"])
                    .output();
            }
        }
    }
}

/// A running chat.
pub struct Chat {
    child: Child,
    stdin: Option<ChildStdin>,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Chat {
    pub fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    pub fn lines(&self) -> Vec<String> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line that ends so.
    pub fn hear(&self, end: &str) -> String {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(line) = self.lines().into_iter().find(|l| l.ends_with(end)) {
                return line;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("never heard {end:?} among {:#?}", self.lines());
    }

    /// Waits for a line with this in it.
    pub fn hear_with(&self, part: &str) -> String {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(line) = self.lines().into_iter().find(|l| l.contains(part)) {
                return line;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("never heard {part:?} among {:#?}", self.lines());
    }

    /// Ends the input and waits for the end; gives back the exit code and every line.
    pub fn end(mut self) -> (Option<i32>, Vec<String>) {
        drop(self.stdin.take());
        let status = self.child.wait().unwrap();
        // The reading thread ends with the pipe.
        std::thread::sleep(Duration::from_millis(50));
        (status.code(), self.lines())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a terminal would act on anything in it.
pub fn acts(text: &str) -> bool {
    text.chars().any(|c| c != '\n' && c != '\t' && klatch_core::identity::is_unsafe(c))
}
