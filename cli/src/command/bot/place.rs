//! Where a bot is in the journal: kept on disk under the bot's name, so that a bot that was killed
//! goes on where it was.
//!
//! The file holds a number, no names and no texts. It is replaced in one step, and only after what
//! it counts as done is stored; one bot of a name runs at a time.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use klatch_node::api::private_folder;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::error::{Report, exit};
use crate::output::visible;

/// A name is a file name.
const NAME_BYTES_MAX: usize = 64;

/// What the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    journal: u64,
}

/// A bot's place.
#[derive(Debug)]
pub struct Place {
    file: PathBuf,
    /// Everything up to this journal number is done. `None`: this bot never ran.
    pub journal: Option<u64>,
    saved: Option<u64>,
    /// Held while the bot runs.
    _lock: File,
}

impl Place {
    /// Opens the place of the bot of that name.
    pub fn open(folder: &Path, name: &str) -> Result<Self, Report> {
        private_folder(folder)?;
        let path = folder.join(format!("{name}.lock"));
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(|e| Report::io("open", &path, &e))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            let cause = format!("a bot called {name} runs already in this profile");
            Report::new(
                "KLATCH-BOT-RUNNING",
                cause,
                "stop it, or give this one a name of its own: --as NAME",
                exit::USAGE,
            )
        })?;
        let file = folder.join(format!("{name}.json"));
        let journal = match std::fs::read(&file) {
            Ok(bytes) => Some(read(&bytes, &file)?.journal),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(Report::io("read", &file, &e)),
        };
        Ok(Self { file, journal, saved: journal, _lock: lock })
    }

    /// Writes it down, if there is anything new.
    pub fn save(&mut self) -> Result<(), Report> {
        let (Some(journal), true) = (self.journal, self.journal != self.saved) else {
            return Ok(());
        };
        let new = self.file.with_extension("new");
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            writeln!(file, "{}", serde_json::to_string(&Saved { journal })?)?;
            file.sync_all()?;
            std::fs::rename(&new, &self.file)?;
            File::open(self.file.parent().unwrap_or(Path::new(".")))?.sync_all()
        })();
        written.map_err(|e: std::io::Error| Report::io("write", &self.file, &e))?;
        self.saved = Some(journal);
        Ok(())
    }
}

fn read(bytes: &[u8], file: &Path) -> Result<Saved, Report> {
    serde_json::from_slice(bytes).map_err(|e| {
        let cause = format!("{} does not say where this bot was: {e}", file.display());
        Report::new(
            "KLATCH-BOT-PLACE",
            cause,
            "remove it, and say where to begin: --after now",
            exit::FAILED,
        )
    })
}

/// The name under which a bot is kept: what the user says, or after its program.
pub fn name(asked: Option<&str>, program: &str) -> Result<String, Report> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(name) = asked {
        let good = !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && !name.starts_with('.')
            && name.chars().all(fine);
        let hint = "1 to 64 letters, digits, `-`, `_` or `.`, not starting with `.`";
        let wrong =
            || Report::usage(format!("`{}` cannot be the name of a bot", visible(name)), hint);
        return good.then(|| name.to_owned()).ok_or_else(wrong);
    }
    let name: String =
        program.chars().map(|c| if fine(c) { c } else { '-' }).take(NAME_BYTES_MAX).collect();
    let name = name.trim_start_matches('.');
    Ok(if name.is_empty() { "bot".to_owned() } else { name.to_owned() })
}

/// Which messages are in work, in the order of the journal. Several may be; the place moves only
/// past what is done.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Journal numbers and whether they are done. Neighbours that need no work are one entry, so
    /// this stays as short as there are jobs.
    open: VecDeque<(u64, bool)>,
}

impl Ledger {
    /// This one is in work.
    pub fn begin(&mut self, journal: u64) {
        self.open.push_back((journal, false));
    }

    /// This one needs no work.
    pub fn pass(&mut self, journal: u64) {
        match self.open.back_mut() {
            Some((last, true)) => *last = journal,
            _ => self.open.push_back((journal, true)),
        }
    }

    /// This one is done.
    pub fn done(&mut self, journal: u64) {
        if let Some(entry) = self.open.iter_mut().find(|(j, _)| *j == journal) {
            entry.1 = true;
        }
    }

    /// Up to where everything is done now, if that has moved.
    pub fn upto(&mut self) -> Option<u64> {
        let mut upto = None;
        while let Some((journal, true)) = self.open.front() {
            upto = Some(*journal);
            self.open.pop_front();
        }
        upto
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_and_belongs_to_one_bot_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let bots = folder.path().join("bots");
        let mut place = Place::open(&bots, "echo").unwrap();
        assert_eq!(place.journal, None);
        assert_eq!(Place::open(&bots, "echo").unwrap_err().code, "KLATCH-BOT-RUNNING");
        let other = Place::open(&bots, "other").unwrap();
        assert_eq!(other.journal, None);
        for journal in [7, 9] {
            place.journal = Some(journal);
            place.save().unwrap();
        }
        drop(place);
        assert_eq!(Place::open(&bots, "echo").unwrap().journal, Some(9));
        std::fs::write(bots.join("echo.json"), "half").unwrap();
        assert_eq!(Place::open(&bots, "echo").unwrap_err().code, "KLATCH-BOT-PLACE");
    }

    #[test]
    fn the_place_moves_past_what_is_done_only() {
        let mut ledger = Ledger::default();
        ledger.pass(1);
        assert_eq!(ledger.upto(), Some(1));
        ledger.begin(2);
        for n in 3..1_000 {
            ledger.pass(n);
        }
        ledger.begin(1_000);
        assert_eq!((ledger.upto(), ledger.open.len()), (None, 3));
        ledger.done(1_000);
        assert_eq!(ledger.upto(), None);
        ledger.done(2);
        assert_eq!((ledger.upto(), ledger.open.len()), (Some(1_000), 0));
    }

    #[test]
    fn a_bot_is_named_after_its_program() {
        assert_eq!(name(None, "echo.sh").unwrap(), "echo.sh");
        assert_eq!(name(None, ".a b\u{1b}").unwrap(), "a-b-");
        assert_eq!(name(None, "").unwrap(), "bot");
        assert!(
            name(Some("../x"), "").is_err()
                && name(Some(""), "").is_err()
                && name(Some("ok-1"), "").is_ok()
        );
    }
}
