//! Where things are: the data of a profile, its socket, and the address files that all profiles of
//! a user share.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use klatch_node::api::{SOCKET, folder_name, private_folder, user_folder};

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
                // Cron, sudo and old sessions lack the variable; the folder is there all the same.
                runtime: some("XDG_RUNTIME_DIR")
                    .or_else(|| Some(Path::new("/run/user").join(uid.to_string())))
                    .filter(|p| ours(p, uid)),
                data,
                uid,
            },
        )
    }

    fn from(profile: &str, env: &Environment) -> Result<Self, Report> {
        check_profile(profile)?;
        let shared =
            env.runtime.as_ref().map_or_else(|| user_folder(env.uid), |r| r.join("klatch"));
        let (data, mut runtime, peers) = if let Some(home) = &env.home {
            let data = home.join(profile);
            let runtime = data.join("run");
            (data, runtime, home.join(PEERS))
        } else {
            let Some(data) = &env.data else {
                return Err(Report::usage(
                    "there is no home folder",
                    "set HOME, or KLATCH_HOME to a folder of yours",
                ));
            };
            let data = data.join("klatch").join(profile);
            // Two profiles of one name, in two homes of one user, have a folder each.
            let runtime = shared.join(format!("{profile}-{}", folder_name(&data)));
            (data, runtime, shared.join(PEERS))
        };
        if runtime.join(SOCKET).as_os_str().len() >= SOCKET_PATH_MAX {
            runtime = shared.join(folder_name(&data));
        }
        if runtime.join(SOCKET).as_os_str().len() >= SOCKET_PATH_MAX {
            runtime = user_folder(env.uid).join(folder_name(&data));
        }
        Ok(Self { log: data.join("node.log"), data, runtime, peers })
    }

    /// Where the API socket usually is; where it really is, the node says ([`crate::reach`]).
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
        let run = paths.runtime.to_str().unwrap().to_owned();
        assert!(run.starts_with("/run/user/7/klatch/default-"), "{run}");
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
    fn one_name_in_two_homes_has_two_sockets_and_one_home_has_one() {
        let temp = tempfile::tempdir().unwrap();
        let of = |home: &Path| {
            let data = Some(home.to_owned());
            Paths::from("work", &Environment { data, ..env(None) }).unwrap().socket()
        };
        let (a, b) = (temp.path().join("a"), temp.path().join("b"));
        std::fs::create_dir(&a).unwrap();
        assert_ne!(of(&a), of(&b));
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(&a, &link).unwrap();
        assert_eq!(of(&a), of(&link), "however it is written");
        let before = of(&b);
        std::fs::create_dir_all(b.join("klatch/work")).unwrap();
        assert_eq!(of(&b), before, "there or not yet");
    }

    #[test]
    fn the_longest_profile_in_the_longest_runtime_folder_has_a_socket() {
        let runtime = Some(PathBuf::from(format!("/run/{}", "r".repeat(90))));
        let paths = Paths::from(&"p".repeat(32), &Environment { runtime, ..env(None) }).unwrap();
        assert!(paths.socket().as_os_str().len() < SOCKET_PATH_MAX);
    }

    #[test]
    fn a_profile_cannot_leave_its_folder() {
        for bad in ["", ".", "..", "a/b", "peers", ".x", "a b", "é", &"x".repeat(33)] {
            assert!(Paths::from(bad, &env(None)).is_err(), "{bad}");
        }
    }
}
