//! When what was removed leaves the search index and the write-ahead log, as a part of the driver's
//! loop: soon, in bounded parts, however busy the node is, and before it ends.

use std::time::{Duration, Instant};

use klatch_core::step::Write;

use crate::driver::{Driver, RETRY};
use crate::store::Cleaned;

/// Words of removed texts leave the index at the latest from then on, however busy the node is: a
/// part of some tens of milliseconds after each batch.
const CLEAN_AFTER: Duration = Duration::from_secs(1);
/// A reader used the log that was to be emptied: for so long it may.
const CLEAN_RETRY: Duration = Duration::from_millis(250);

impl Driver {
    /// After a commit: texts may have been taken away.
    pub(crate) fn clean_later(&mut self, writes: &[Write]) {
        if writes.iter().any(is_removal) {
            self.clean_at.get_or_insert_with(|| Instant::now() + CLEAN_AFTER);
        }
    }

    /// What was removed leaves the index and the log, if it is time.
    pub(crate) fn clean(&mut self) {
        let due = self.clean_at.is_some_and(|at| at <= Instant::now());
        if !due || self.read_only_since.is_some() {
            return;
        }
        let again = match self.store.clean() {
            Ok(Cleaned::All) => None,
            Ok(Cleaned::Part) => Some(Duration::ZERO),
            Ok(Cleaned::InUse) => Some(CLEAN_RETRY),
            Err(error) => {
                tracing::warn!(%error, "words of removed texts are still in the index");
                Some(RETRY)
            }
        };
        self.clean_at = again.map(|pause| Instant::now() + pause);
    }

    /// What was removed does not stay until the next start: a node that serves one command ends
    /// right behind it.
    pub(crate) fn clean_up(&mut self) {
        /// Far more than the index of a full room has.
        const PARTS_MAX: usize = 1_000;
        for _ in 0..PARTS_MAX {
            if self.clean_at.is_none() {
                break;
            }
            self.clean_at = Some(Instant::now());
            self.clean();
            if self.clean_at.is_some_and(|at| at > Instant::now()) {
                // A reader, or a disk that refuses: the next start does the rest.
                break;
            }
        }
    }
}

/// What takes texts away.
pub(crate) fn is_removal(write: &Write) -> bool {
    matches!(
        write,
        Write::DropBody { .. }
            | Write::DropDirect { .. }
            | Write::ForgetRoom { .. }
            | Write::ForgetDirect { .. }
    )
}
