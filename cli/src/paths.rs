//! Where things are: the data of a profile, its socket, and the address files that all profiles of
//! a user share.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use klatch_node::api::{SOCKET, private_folder};

use crate::error::Report;

/// The kernel's limit for the path of a Unix socket, with its final zero byte.
const SOCKET_PATH_MAX: usize = 108;
/// A profile is a folder name.
const PROFILE_CHARS_MAX: usize = 32;
/// The folder of address files, beside the profiles.
const PEERS: &str = "peers";

/// The folders of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Keystore and database.
    pub data: PathBuf,
    /// The socket.
    pub runtime: PathBuf,
    /// Address files of all profiles of this user.
    pub peers: PathBuf,
    /// The log of the background node.
    pub log: PathBuf,
}

/// What the folders depend on; apart, so that tests need no environment.
#[derive(Debug, Default)]
struct Environment {
    home: Option<PathBuf>,
    runtime: Option<PathBuf>,
    data: Option<PathBuf>,
    uid: u32,
}

impl Paths {
    /// The folders of a profile, from the environment.
    pub fn new(profile: &str) -> Result<Self, Report> {
        let some = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let uid = rustix::process::geteuid().as_raw();
        let home = some("KLATCH_HOME").map(std::path::absolute).transpose();
        let home = home.map_err(|e| {
            Report::usage(format!("KLATCH_HOME is no folder: {e}"), "give an absolute path")
        })?;
        let data = etcetera::choose_base_strategy().ok().map(|s| s.data_dir());
        Self::from(
            profile,
            &Environment {
                home,
                runtime: some("XDG_RUNTIME_DIR").filter(|p| ours(p, uid)),
                data,
                uid,
            },
        )
    }

    fn from(profile: &str, env: &Environment) -> Result<Self, Report> {
        check_profile(profile)?;
        let shared = env.runtime.as_ref().map_or_else(|| fallback(env.uid), |r| r.join("klatch"));
        if let Some(home) = &env.home {
            let data = home.join(profile);
            let mut runtime = data.join("run");
            if runtime.join(SOCKET).as_os_str().len() >= SOCKET_PATH_MAX {
                // The name depends on the profile's folder alone, so every command finds the same
                // socket.
                runtime = shared.join(format!("{:016x}", fnv1a(data.as_os_str().as_bytes())));
            }
            return Ok(Self { log: data.join("node.log"), data, runtime, peers: home.join(PEERS) });
        }
        let Some(data) = &env.data else {
            return Err(Report::usage(
                "there is no home folder",
                "set HOME, or KLATCH_HOME to a folder of yours",
            ));
        };
        let data = data.join("klatch").join(profile);
        Ok(Self {
            log: data.join("node.log"),
            data,
            runtime: shared.join(profile),
            peers: shared.join(PEERS),
        })
    }

    /// The API socket.
    pub fn socket(&self) -> PathBuf {
        self.runtime.join(SOCKET)
    }

    /// Makes the folders, open to their owner only, and refuses those of others.
    pub fn create(&self) -> Result<(), Report> {
        // A fallback in /tmp must be ours as a whole: whoever owns the parent could swap what is in
        // it.
        for folder in
            [self.runtime.parent(), Some(&self.runtime), Some(&self.peers), Some(&self.data)]
        {
            private_folder(folder.unwrap_or(Path::new("/")))?;
        }
        Ok(())
    }
}

/// Not TMPDIR: two shells of one user must find the same socket.
fn fallback(uid: u32) -> PathBuf {
    Path::new("/tmp").join(format!("klatch-{uid}"))
}

/// A short name for a path, the same in every version of this program.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| {
        (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A runtime folder from the environment may belong to somebody else, after `su` for example.
fn ours(path: &Path, uid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    path.is_absolute() && std::fs::metadata(path).is_ok_and(|m| m.is_dir() && m.uid() == uid)
}

fn check_profile(profile: &str) -> Result<(), Report> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = !profile.is_empty()
        && profile.len() <= PROFILE_CHARS_MAX
        && profile.chars().all(fine)
        && !profile.starts_with('.')
        && profile != PEERS;
    if good {
        return Ok(());
    }
    Err(Report::usage(
        format!("`{profile}` cannot be a profile"),
        "1 to 32 letters, digits, `-`, `_` or `.`, not starting with `.`, and not `peers`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(home: Option<&str>) -> Environment {
        let runtime = Some("/run/user/7".into());
        Environment {
            home: home.map(PathBuf::from),
            runtime,
            data: Some("/home/a/.local/share".into()),
            uid: 7,
        }
    }

    #[test]
    fn without_klatch_home_the_user_folders_are_taken() {
        let paths = Paths::from("default", &env(None)).unwrap();
        assert_eq!(paths.data, Path::new("/home/a/.local/share/klatch/default"));
        assert_eq!(paths.socket(), Path::new("/run/user/7/klatch/default/api.sock"));
        assert_eq!(paths.peers, Path::new("/run/user/7/klatch/peers"));
    }

    #[test]
    fn klatch_home_moves_everything() {
        let paths = Paths::from("b", &env(Some("/x"))).unwrap();
        assert_eq!((paths.data, paths.runtime), ("/x/b".into(), "/x/b/run".into()));
        assert_eq!(paths.peers, Path::new("/x/peers"));
    }

    #[test]
    fn a_home_too_deep_for_a_socket_gets_a_short_path_of_its_own() {
        let deep = format!("/{}", "d".repeat(120));
        let a = Paths::from("a", &env(Some(&deep))).unwrap();
        let b = Paths::from("b", &env(Some(&deep))).unwrap();
        assert!(a.socket().as_os_str().len() < SOCKET_PATH_MAX && a.runtime != b.runtime);
        assert_eq!(a, Paths::from("a", &env(Some(&deep))).unwrap());
    }

    #[test]
    fn a_profile_cannot_leave_its_folder() {
        for bad in ["", ".", "..", "a/b", "peers", ".x", "a b", "é", &"x".repeat(33)] {
            assert!(Paths::from(bad, &env(None)).is_err(), "{bad}");
        }
    }
}
