//! Runs somebody's program for one message: text on stdin, facts in the environment, what it prints
//! is the answer.
//!
//! The text never stands on a command line and passes through no shell. The program leads a process
//! group of its own, so that a time limit ends whatever it started, and its stderr reaches ours
//! without acting on a terminal.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use klatch_core::limits::TEXT_BYTES_MAX;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::error::{Report, exit};
use crate::output::{Output, visible};

/// Between the signal that asks and the one that does not.
const TERM_GRACE: Duration = Duration::from_millis(500);
/// A program that was asked to end because the bot ends may finish its answer for so long.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// What the program printed last is read this long after its end; a process that it left behind may
/// hold the pipe open.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Room for the remark that an answer was cut.
const CUT_NOTE_BYTES: usize = 80;
/// Lines of stderr shown for one message; the rest is counted.
const COMPLAINTS_MAX: usize = 20;
/// Bytes of one such line.
const COMPLAINT_BYTES_MAX: usize = 2_000;

/// A program and its fixed arguments.
#[derive(Debug)]
pub struct Script {
    program: OsString,
    args: Vec<OsString>,
    limit: Duration,
    out: Output,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Exit code 0: this is the answer, perhaps empty.
    Answer {
        /// At most 64,000 bytes, trimmed.
        text: String,
        /// It was longer.
        cut: bool,
    },
    /// Another exit code, or `None` after a signal.
    Failed(Option<i32>),
    /// It took too long.
    TimedOut,
    /// The bot ends, and it did not finish before.
    Interrupted,
}

impl Script {
    /// Looks for the program once, so that a wrong name is seen at the start and not with the first
    /// message.
    pub fn new(command: &[OsString], limit: Duration, out: Output) -> Result<Self, Report> {
        let Some((program, args)) = command.split_first() else {
            return Err(Report::usage(
                "no program to run",
                "klatch bot exec --room '#garden' -- ./script",
            ));
        };
        if !runnable(program) {
            let name = visible(&program.to_string_lossy());
            let hint = "give its path, as in ./script, and make it executable: chmod +x ./script";
            return Err(Report::new(
                "KLATCH-BOT-PROGRAM",
                format!("cannot run `{name}`"),
                hint,
                exit::USAGE,
            ));
        }
        Ok(Self { program: program.clone(), args: args.to_vec(), limit, out })
    }

    /// The last part of the program's path.
    pub fn name(&self) -> String {
        Path::new(&self.program).file_name().unwrap_or(&self.program).to_string_lossy().into_owned()
    }

    /// Runs it once. `stop` turns true when the bot ends.
    pub async fn run(
        &self,
        text: &str,
        env: &[(&str, String)],
        mut stop: watch::Receiver<bool>,
    ) -> Result<End, Report> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(env.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).kill_on_drop(true).spawn().map_err(|e| {
            let cause = format!("cannot run `{}`: {e}", visible(&self.program.to_string_lossy()));
            let hint = "a script needs a first line such as #!/bin/sh and the right to be executed";
            Report::new("KLATCH-BOT-PROGRAM", cause, hint, exit::FAILED)
        })?;
        let mut group =
            Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let work = async {
            let mut printed = Printed::default();
            let status = {
                let talk = async {
                    tokio::join!(feed(stdin, text), printed.read(stdout), self.complain(stderr))
                };
                tokio::pin!(talk);
                let mut silent = false;
                let status = loop {
                    tokio::select! {
                        status = child.wait() => break status,
                        _ = &mut talk, if !silent => silent = true,
                    }
                };
                if !silent {
                    let _ = timeout(LAST_WORDS, &mut talk).await;
                }
                status
            };
            (status, printed)
        };
        tokio::pin!(work);
        let mut late = None;
        let (status, printed) = tokio::select! {
            ended = &mut work => ended,
            () = sleep(self.limit) => {
                group.signal(Signal::TERM);
                // Not looked at meanwhile: until its end is noticed, its number belongs to no other
                // process.
                sleep(TERM_GRACE).await;
                late = Some(End::TimedOut);
                group.signal(Signal::KILL);
                work.await
            }
            () = raised(&mut stop) => {
                group.signal(Signal::TERM);
                match timeout(STOP_GRACE, &mut work).await {
                    Ok(ended) => {
                        late = ended.0.as_ref().is_ok_and(|s| !s.success()).then_some(End::Interrupted);
                        ended
                    }
                    Err(_) => {
                        late = Some(End::Interrupted);
                        group.signal(Signal::KILL);
                        work.await
                    }
                }
            }
        };
        group.0 = None;
        let status = status.map_err(|e| Report::bug(&e))?;
        Ok(late.unwrap_or_else(|| {
            if status.success() { printed.answer() } else { End::Failed(status.code()) }
        }))
    }

    /// Passes the program's stderr on, line by line.
    async fn complain<R: AsyncRead + Unpin>(&self, stderr: Option<R>) {
        let Some(mut stderr) = stderr else { return };
        let mut buffer = Vec::with_capacity(COMPLAINT_BYTES_MAX);
        let mut lines = 0_usize;
        loop {
            let ended = !matches!(stderr.read_buf(&mut buffer).await, Ok(1..));
            loop {
                let at = buffer.iter().take(COMPLAINT_BYTES_MAX).position(|b| *b == b'\n');
                let rest = match at {
                    Some(at) => at + 1,
                    None if buffer.len() >= COMPLAINT_BYTES_MAX => COMPLAINT_BYTES_MAX,
                    None if ended && !buffer.is_empty() => buffer.len(),
                    None => break,
                };
                let line: Vec<u8> = buffer.drain(..rest).collect();
                lines += 1;
                if lines <= COMPLAINTS_MAX {
                    let line = String::from_utf8_lossy(&line);
                    self.out.stderr(&format!(
                        "{}: {}",
                        visible(&self.name()),
                        visible(line.trim_end())
                    ));
                }
            }
            if ended {
                break;
            }
        }
        if lines > COMPLAINTS_MAX {
            let more = lines - COMPLAINTS_MAX;
            self.out
                .stderr(&format!("{}: ({more} more lines on its stderr)", visible(&self.name())));
        }
    }
}

/// Ends when the bot is to end; so does it if nobody is left who could say so.
pub async fn raised(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|s| *s).await;
}

/// Ends the processes of a program if the bot itself is ended in the middle.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // It fails only if nobody of them is left.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

async fn feed<W: tokio::io::AsyncWrite + Unpin>(stdin: Option<W>, text: &str) {
    let Some(mut stdin) = stdin else { return };
    // A program that does not care what was said may have closed it.
    let _ = stdin.write_all(text.as_bytes()).await;
}

/// What a program printed, as much of it as an answer may hold.
#[derive(Default)]
struct Printed {
    kept: Vec<u8>,
    dropped: u64,
}

impl Printed {
    /// Reads to the end; a program that prints more than fits is not stopped by that.
    async fn read<R: AsyncRead + Unpin>(&mut self, stdout: Option<R>) {
        let Some(mut stdout) = stdout else { return };
        let mut chunk = [0_u8; 8_192];
        while let Ok(n @ 1..) = stdout.read(&mut chunk).await {
            // One byte more than fits tells that it does not.
            let room = (TEXT_BYTES_MAX + 1).saturating_sub(self.kept.len()).min(n);
            self.kept.extend_from_slice(&chunk[..room]);
            self.dropped += (n - room) as u64;
        }
    }

    fn answer(&self) -> End {
        let text = String::from_utf8_lossy(&self.kept);
        let text = text.trim();
        if self.dropped == 0 && text.len() <= TEXT_BYTES_MAX {
            return End::Answer { text: text.to_owned(), cut: false };
        }
        let end = text.floor_char_boundary(TEXT_BYTES_MAX - CUT_NOTE_BYTES);
        let all = self.kept.len() as u64 + self.dropped;
        let text = format!("{}\n… (cut here: the bot printed {all} bytes)", &text[..end]);
        End::Answer { text, cut: true }
    }
}

/// Whether the system would find and start it.
fn runnable(program: &OsString) -> bool {
    let executable = |p: PathBuf| {
        std::fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    if program.as_encoded_bytes().contains(&b'/') {
        return executable(PathBuf::from(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| executable(folder.join(program)))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use crate::output::Color;

    use super::*;

    fn sh(script: &str, limit: Duration) -> Script {
        let command = ["/bin/sh", "-c", script].map(OsString::from);
        Script::new(&command, limit, Output::new(false, true, Color::Never)).unwrap()
    }

    async fn run(script: &str, text: &str) -> End {
        let (_stop, stopped) = watch::channel(false);
        sh(script, Duration::from_secs(30))
            .run(text, &[("KLATCH_ROOM", "#g".to_owned())], stopped)
            .await
            .unwrap()
    }

    fn answer(text: &str) -> End {
        End::Answer { text: text.to_owned(), cut: false }
    }

    #[tokio::test]
    async fn the_text_comes_on_stdin_and_what_is_printed_is_the_answer() {
        let nasty = "$(touch x) `id` '; \u{1b}[2J\n second line";
        assert_eq!(run("cat", nasty).await, answer(nasty.trim()));
        assert_eq!(run("printf '  %s \n\n' \"$KLATCH_ROOM\"", "").await, answer("#g"));
        assert_eq!(run("true", "unread").await, answer(""));
        assert_eq!(run("cat >&2; exit 3", "x").await, End::Failed(Some(3)));
        assert_eq!(run("echo said; kill -9 $$", "x").await, End::Failed(None));
        assert_eq!(run("printf 'a\\377b'", "").await, answer("a\u{fffd}b"));
    }

    #[tokio::test]
    async fn a_flood_is_cut_with_a_remark_and_stderr_is_bounded() {
        let End::Answer { text, cut: true } =
            run("head -c 300000 /dev/zero | tr '\\0' x", "").await
        else {
            panic!("not cut")
        };
        assert!(
            text.len() <= TEXT_BYTES_MAX && text.ends_with("printed 300000 bytes)"),
            "{}",
            &text[63_000..]
        );
        assert_eq!(run("yes oh | head -n 100000 >&2; echo done", "").await, answer("done"));
    }

    #[tokio::test]
    async fn a_time_limit_ends_everything_that_the_program_started() {
        let folder = tempfile::tempdir().unwrap();
        let alive = folder.path().join("alive");
        let script =
            format!("trap '' TERM; (sleep 1.5; touch {}) & wait; sleep 60", alive.display());
        let (_stop, stopped) = watch::channel(false);
        let begun = Instant::now();
        assert_eq!(
            sh(&script, Duration::from_millis(200)).run("", &[], stopped).await.unwrap(),
            End::TimedOut
        );
        assert!(begun.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_secs(2).saturating_sub(begun.elapsed())).await;
        assert!(!alive.exists(), "what the program started went on");
    }

    #[tokio::test]
    async fn a_bot_that_ends_asks_the_program_to_end() {
        let (stop, stopped) = watch::channel(true);
        let limit = Duration::from_secs(30);
        assert_eq!(
            sh("sleep 60", limit).run("", &[], stopped.clone()).await.unwrap(),
            End::Interrupted
        );
        // One that tidies up first has its answer taken.
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let script = format!(
            "trap 'echo bye; exit 0' TERM; touch {}; while :; do sleep 0.05; done",
            ready.display()
        );
        stop.send_replace(false);
        let seen = async {
            while !ready.exists() {
                sleep(Duration::from_millis(10)).await;
            }
            stop.send_replace(true);
        };
        let script = sh(&script, limit);
        let (end, ()) = tokio::join!(script.run("", &[], stopped), seen);
        assert_eq!(end.unwrap(), answer("bye"));
    }

    #[tokio::test]
    async fn a_process_left_behind_holds_nothing_up() {
        let begun = Instant::now();
        assert_eq!(run("sleep 20 & echo done", "").await, answer("done"));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_wrong_program_is_seen_at_once() {
        for wrong in ["./no-such-file", "no-such-program-anywhere", "/"] {
            let command = [OsString::from(wrong)];
            let out = Output::new(false, true, Color::Never);
            assert_eq!(
                Script::new(&command, TERM_GRACE, out).unwrap_err().exit,
                exit::USAGE,
                "{wrong}"
            );
        }
    }
}
