//! What is logged, how much, and where: stderr, the memory of the full screen, or the file of a
//! background node, which is capped while it runs. Lines of other crates are provoked by strangers,
//! so their warnings are counted instead of written one by one.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::tui::terminal;

/// A log that grows beyond this is put aside, and the one that was put aside before goes: enough
/// for weeks of an ordinary node, and twice this is the most that it takes.
pub const FILE_BYTES_MAX: u64 = 8 << 20;
/// Warnings of one foreign crate that are written within [`WINDOW`]; the others are counted.
const FOREIGN_MAX: u32 = 3;
/// For so long.
const WINDOW: Duration = Duration::from_secs(60);
/// What the targets of this program begin with.
const OURS: &str = "klatch";

/// What is logged if `KLATCH_LOG` does not say. Of gossipsub only errors, unless asked for: it
/// warns of each message whose verdict comes when it has forgotten the message, which happens under
/// load and means nothing, since sync delivers.
fn default_filter(verbose: u8, quiet: bool, to_file: bool) -> &'static str {
    match (quiet, verbose) {
        (true, 0) => "error",
        (false, 0) if to_file => {
            "warn,libp2p_gossipsub=error,klatch=info,klatch_node=info,klatch_core=info"
        }
        (false, 0) => "warn,libp2p_gossipsub=error",
        (_, 1) => "info",
        (..) => "klatch=debug,klatch_node=debug,klatch_core=debug,info",
    }
}

/// Starts logging. `file` is the log of a background node, whose stderr leads there already. The
/// node logs no texts at any level.
pub fn start(verbose: u8, quiet: bool, file: Option<PathBuf>) {
    let asked = EnvFilter::try_from_env("KLATCH_LOG").ok();
    // Whoever asks for the lines of a crate gets them all.
    let throttle = asked.is_none().then(Throttle::default);
    let default = default_filter(verbose, quiet, file.is_some());
    let filter = asked.unwrap_or_else(|| EnvFilter::new(default));
    match file.and_then(|path| LogFile::open(path).ok()) {
        Some(file) => {
            // A fault's last words belong into the file that is read, whichever it is by then.
            std::panic::set_hook(Box::new(|fault| tracing::error!(target: "klatch", "{fault}")));
            install(file, filter, throttle);
        }
        None => install(terminal::Log, filter, throttle),
    }
}

fn install<W>(writer: W, filter: EnvFilter, throttle: Option<Throttle>)
where
    W: for<'a> MakeWriter<'a> + Clone + Send + Sync + 'static,
{
    let lines = fmt::layer()
        .with_writer(writer.clone())
        .with_ansi(false)
        // A log that cannot be written (its disk is full) must not end the node.
        .log_internal_errors(false);
    let counted = Counted { throttle, writer };
    // Fails only if there is one already.
    let _ = tracing_subscriber::registry().with(filter).with(lines.with_filter(counted)).try_init();
}

/// Lets lines through, and says how many it did not.
struct Counted<W> {
    throttle: Option<Throttle>,
    writer: W,
}

impl<S: Subscriber, W: for<'a> MakeWriter<'a>> Filter<S> for Counted<W> {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let meta = event.metadata();
        let Some(throttle) = self.throttle.as_ref().filter(|_| is_foreign(meta)) else {
            return true;
        };
        let source = meta.target().split("::").next().unwrap_or_default();
        match throttle.pass(source, Instant::now()) {
            Pass::Line { counted: 0 } => true,
            Pass::Line { counted } => {
                let seconds = WINDOW.as_secs();
                let _ = writeln!(
                    self.writer.make_writer(),
                    "{source}: {counted} more warnings within {seconds} s were not written"
                );
                true
            }
            Pass::Counted => false,
        }
    }
}

fn is_foreign(meta: &Metadata<'_>) -> bool {
    *meta.level() <= Level::WARN && !meta.target().starts_with(OURS)
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Pass {
    /// It is written, after the number of those that were not in the window before.
    Line { counted: u64 },
    /// It is counted.
    Counted,
}

/// How much each foreign crate has said lately. There are as many as this program is linked with.
#[derive(Debug, Default)]
struct Throttle(Mutex<BTreeMap<String, Said>>);

#[derive(Debug)]
struct Said {
    since: Instant,
    written: u32,
    counted: u64,
}

impl Throttle {
    fn pass(&self, source: &str, now: Instant) -> Pass {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(source) {
            all.insert(source.to_owned(), Said { since: now, written: 0, counted: 0 });
        }
        let Some(said) = all.get_mut(source) else { return Pass::Counted };
        let mut before = 0;
        if now.saturating_duration_since(said.since) >= WINDOW {
            before = said.counted;
            *said = Said { since: now, written: 0, counted: 0 };
        }
        if said.written >= FOREIGN_MAX {
            said.counted += 1;
            return Pass::Counted;
        }
        said.written += 1;
        Pass::Line { counted: before }
    }
}

/// The log of a background node.
#[derive(Debug, Clone)]
struct LogFile(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self(Arc::new(Mutex::new(Open { path, file, bytes, bytes_max: FILE_BYTES_MAX }))))
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Lines<'a>;

    fn make_writer(&'a self) -> Lines<'a> {
        Lines(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whoever writes to it just now.
struct Lines<'a>(MutexGuard<'a, Open>);

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.make_room(bytes.len() as u64);
        let written = self.0.file.write(bytes)?;
        self.0.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.file.flush()
    }
}

impl Open {
    fn make_room(&mut self, more: u64) {
        if self.bytes + more <= self.bytes_max {
            return;
        }
        // If the folder does not let us, the file begins anew: that it is bounded comes first.
        let moved = put_aside(&self.path).and_then(|()| open(&self.path));
        match moved {
            Ok(file) => self.file = file,
            Err(_) => drop(self.file.set_len(0)),
        }
        self.bytes = 0;
    }
}

/// Opens the log of a background node, for its owner only.
pub fn open(path: &Path) -> io::Result<File> {
    if path.metadata().is_ok_and(|m| m.len() > FILE_BYTES_MAX) {
        put_aside(path)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn put_aside(path: &Path) -> io::Result<()> {
    std::fs::rename(path, path.with_extension("log.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a subscriber wrote.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Log {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// What is logged of one line each of gossipsub, another crate and this program.
    fn logged(verbose: u8, quiet: bool, to_file: bool) -> String {
        let log = Log::default();
        let filter = EnvFilter::try_new(default_filter(verbose, quiet, to_file)).unwrap();
        let lines = fmt::layer().with_writer(log.clone());
        let subscriber = tracing_subscriber::registry().with(filter).with(lines);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "libp2p_gossipsub::behaviour", "late");
            tracing::error!(target: "libp2p_gossipsub::behaviour", "broken");
            tracing::warn!(target: "libp2p_swarm", "foreign");
            tracing::info!(target: "klatch_node::driver", "own");
        });
        let text = log.text();
        ["late", "broken", "foreign", "own"]
            .into_iter()
            .filter(|word| text.contains(word))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn late_verdicts_are_logged_only_when_asked_for() {
        assert_eq!(logged(0, false, false), "broken foreign");
        assert_eq!(logged(0, false, true), "broken foreign own");
        assert_eq!(logged(0, true, true), "broken");
        assert_eq!(logged(1, false, true), "late broken foreign own");
        assert_eq!(logged(2, false, false), "late broken foreign own");
    }

    #[test]
    fn a_stranger_who_provokes_warnings_gets_a_few_lines_and_a_number() {
        let log = Log::default();
        let counted = Counted { throttle: Some(Throttle::default()), writer: log.clone() };
        let lines = fmt::layer().with_writer(log.clone()).with_filter(counted);
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..20_000 {
                tracing::error!(target: "libp2p_gossipsub::behaviour", n, "filter error");
                tracing::warn!(target: "klatch_node::driver", n, "own");
            }
            tracing::warn!(target: "yamux::connection", "another source");
        });
        let text = log.text();
        let of = |word: &str| text.lines().filter(|l| l.contains(word)).count();
        assert_eq!((of("filter error"), of("own"), of("another source")), (3, 20_000, 1));
    }

    #[test]
    fn what_was_not_written_is_told_when_the_minute_is_over() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        let passed: Vec<Pass> = (0..10).map(|_| throttle.pass("yamux", start)).collect();
        assert!(passed[..3].iter().all(|p| *p == Pass::Line { counted: 0 }));
        assert!(passed[3..].iter().all(|p| *p == Pass::Counted));
        assert_eq!(throttle.pass("libp2p_swarm", start), Pass::Line { counted: 0 });
        let later = start + WINDOW;
        assert_eq!(throttle.pass("yamux", later), Pass::Line { counted: 7 });
        assert_eq!(throttle.pass("yamux", later + WINDOW), Pass::Line { counted: 0 });
    }

    #[test]
    fn a_log_is_capped_while_it_runs_and_one_old_one_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("node.log");
        let log = LogFile::open(path.clone()).unwrap();
        log.0.lock().unwrap().bytes_max = 1_000;
        for n in 0..1_000 {
            log.make_writer().write_all(format!("line {n}\n").as_bytes()).unwrap();
        }
        let now = std::fs::read_to_string(&path).unwrap();
        let before = std::fs::read_to_string(temp.path().join("node.log.1")).unwrap();
        assert!(now.len() <= 1_000 && before.len() <= 1_000);
        assert!(now.ends_with("line 999\n"), "the newest is there");
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 2);
        // A folder that takes no new file: still bounded.
        std::fs::remove_file(temp.path().join("node.log.1")).unwrap();
        std::fs::create_dir(temp.path().join("node.log.1")).unwrap();
        for n in 0..1_000 {
            log.make_writer().write_all(format!("line {n}\n").as_bytes()).unwrap();
        }
        assert!(path.metadata().unwrap().len() <= 1_000);
    }
}
