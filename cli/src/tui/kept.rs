//! What outlives the screen: drafts and how loud each room is, in a file of the profile that only
//! its owner can read. A profile with a passphrase keeps nothing readable on disk, so there is no
//! such file then.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use klatch_core::ids::RoomId;
use klatch_core::limits::TEXT_BYTES_MAX;
use serde::{Deserialize, Serialize};

use super::fold::DRAFTS_MAX;
use super::state::Level;

/// The file in the profile's folder.
const FILE: &str = "tui-state.json";
/// All drafts at their longest, escaped, and the levels.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// What is kept.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// Texts that were begun.
    pub drafts: BTreeMap<RoomId, String>,
    /// How loud rooms are.
    pub levels: BTreeMap<RoomId, Level>,
}

/// Where it is kept, if it may be.
#[derive(Debug, Clone)]
pub struct Keeper {
    path: Option<PathBuf>,
}

impl Keeper {
    /// For a profile; one that is protected keeps nothing, and loses what it kept before it was.
    pub fn new(profile: &Path, protected: bool) -> Self {
        if protected {
            forget(profile);
        }
        Self { path: (!protected).then(|| profile.join(FILE)) }
    }

    /// What was kept. A file that is damaged or too large is as none: it holds nothing that is
    /// needed.
    pub fn read(&self) -> Kept {
        let Some(path) = &self.path else { return Kept::default() };
        let mut text = String::new();
        let read = File::open(path).and_then(|f| f.take(FILE_BYTES_MAX).read_to_string(&mut text));
        let mut kept: Kept =
            read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default();
        kept.drafts.retain(|_, draft| draft.len() <= TEXT_BYTES_MAX);
        while kept.drafts.len() > DRAFTS_MAX {
            kept.drafts.pop_first();
        }
        kept
    }

    /// Keeps it: the old file stays whole until the new one is.
    pub fn write(&self, kept: &Kept) -> std::io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let new = path.with_extension("json.new");
        // Made anew, so that it has our mode.
        let _ = std::fs::remove_file(&new);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(serde_json::to_string(kept)?.as_bytes())?;
        std::fs::rename(new, path)
    }
}

/// Removes what was kept, when a profile gets a passphrase.
pub fn forget(profile: &Path) {
    // Nothing to remove is fine.
    let _ = std::fs::remove_file(profile.join(FILE));
}

/// Removes what was begun in one place, and how loud it is. A screen that is open does the same by
/// itself, when it hears that the place was forgotten.
pub fn forget_draft(profile: &Path, room: RoomId) {
    let keeper = Keeper { path: Some(profile.join(FILE)) };
    let mut kept = keeper.read();
    let had = kept.drafts.remove(&room).is_some() | kept.levels.remove(&room).is_some();
    if had && let Err(error) = keeper.write(&kept) {
        tracing::warn!(%error, "a draft of what was forgotten is still on disk");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn drafts_survive_readable_to_their_owner_only_and_never_beside_a_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let room = RoomId([7; 16]);
        let kept = Kept {
            drafts: [(room, "half a\nthought".to_owned())].into(),
            levels: [(room, Level::None)].into(),
        };
        let keeper = Keeper::new(folder.path(), false);
        assert_eq!(keeper.read(), Kept::default());
        keeper.write(&kept).unwrap();
        keeper.write(&kept).unwrap();
        assert_eq!(keeper.read(), kept);
        forget_draft(folder.path(), RoomId([8; 16]));
        assert_eq!(keeper.read(), kept, "of another room");
        forget_draft(folder.path(), room);
        assert_eq!(keeper.read(), Kept::default());
        keeper.write(&kept).unwrap();
        assert_eq!(std::fs::metadata(folder.path().join(FILE)).unwrap().mode() & 0o777, 0o600);
        std::fs::write(folder.path().join(FILE), "{ broken").unwrap();
        assert_eq!(keeper.read(), Kept::default());
        keeper.write(&kept).unwrap();
        let protected = Keeper::new(folder.path(), true);
        assert!(!folder.path().join(FILE).exists());
        protected.write(&kept).unwrap();
        assert!(!folder.path().join(FILE).exists() && protected.read() == Kept::default());
    }
}
