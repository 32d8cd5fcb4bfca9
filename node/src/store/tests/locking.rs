//! The profile lock.

use std::os::unix::fs::PermissionsExt;

use crate::store::lock::{Hold, LOCK_FILE, LockError, ProfileLock};

#[test]
fn second_handle_is_refused_and_told_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let held = ProfileLock::acquire(folder.path()).unwrap();
    let own = std::process::id();
    match ProfileLock::acquire(folder.path()) {
        Err(error @ LockError::Held { pid }) => {
            assert_eq!(pid, Some(own));
            assert!(error.to_string().contains(&own.to_string()) && !error.hint().is_empty());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(ProfileLock::look(folder.path()).unwrap(), Hold::Held { pid: Some(own) });
    drop(held);
    assert_eq!(ProfileLock::look(folder.path()).unwrap(), Hold::Free);
    ProfileLock::acquire(folder.path()).unwrap();
}

#[test]
fn who_removes_the_file_frees_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(LOCK_FILE);
    let held = ProfileLock::acquire(folder.path()).unwrap();
    for other in [None, Some("another file\n")] {
        std::fs::remove_file(&path).unwrap();
        if let Some(text) = other {
            std::fs::write(&path, text).unwrap();
        }
        let pid = None;
        assert_eq!(ProfileLock::look(folder.path()).unwrap(), Hold::Held { pid });
        let refused = ProfileLock::acquire(folder.path());
        assert!(matches!(refused, Err(LockError::Held { pid: None })), "{refused:?}");
        let refused = ProfileLock::acquire_to_read(folder.path());
        assert!(matches!(refused, Err(LockError::Held { .. })), "{refused:?}");
        std::fs::write(&path, "").unwrap();
    }
    drop(held);
    assert_eq!(ProfileLock::look(folder.path()).unwrap(), Hold::Free);
    ProfileLock::acquire(folder.path()).unwrap();
}

#[test]
fn lock_of_another_process_is_seen_and_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    drop(ProfileLock::acquire(folder.path()).unwrap());
    let path = folder.path().join(LOCK_FILE);
    // util-linux's flock takes the same kind of lock; `echo` says when it has it.
    let child = std::process::Command::new("flock")
        .arg("--no-fork")
        .arg(&path)
        .args(["sh", "-c", "echo held; exec sleep 60"])
        .stdout(std::process::Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: no flock program here");
        return;
    };
    let mut said = [0; 5];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert!(matches!(ProfileLock::acquire(folder.path()), Err(LockError::Held { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
    ProfileLock::acquire(folder.path()).unwrap();
}

#[test]
fn folder_is_made_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("a").join("b");
    let _held = ProfileLock::acquire(&profile).unwrap();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&profile), 0o700);
    assert_eq!(mode(&profile.join(LOCK_FILE)), 0o600);
    assert!(matches!(ProfileLock::acquire(&profile.join(LOCK_FILE)), Err(LockError::Io { .. })));
}

#[test]
fn a_holder_that_could_not_write_its_number_is_a_holder() {
    let folder = tempfile::tempdir().unwrap();
    let _held = ProfileLock::acquire(folder.path()).unwrap();
    std::fs::write(folder.path().join(LOCK_FILE), "").unwrap();
    assert_eq!(ProfileLock::look(folder.path()).unwrap(), Hold::Held { pid: None });
}

#[test]
fn what_is_no_file_is_not_taken_for_a_lock() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join(LOCK_FILE);
    std::fs::create_dir(&lock).unwrap();
    for found in [
        ProfileLock::acquire(folder.path()).map(drop),
        ProfileLock::acquire_to_read(folder.path()).map(drop),
        ProfileLock::look(folder.path()).map(drop),
    ] {
        let error = found.unwrap_err();
        assert!(matches!(error, LockError::NotAFile { .. }), "{error}");
        assert!(error.to_string().ends_with("lock is a folder, and must be a file"), "{error}");
        // What it says to do is what helps.
        let hint = error.hint();
        let remedy = hint.split(" puts aside").next().unwrap();
        assert!(remedy.starts_with("mv '") && remedy.ends_with("lock.old'"), "{hint}");
    }
}

#[test]
fn every_refusal_of_the_system_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join(LOCK_FILE);
    let of = |errno: rustix::io::Errno| LockError::refused(&lock, errno.into());
    use rustix::io::Errno;
    for errno in [Errno::ROFS, Errno::NOSPC, Errno::DQUOT, Errno::ACCESS] {
        assert!(matches!(of(errno), LockError::ReadOnly { .. }), "{errno}");
        assert_eq!(of(errno).code(), "KLATCH-READ-ONLY");
    }
    assert!(matches!(of(Errno::ISDIR), LockError::NotAFile { .. }));
    assert!(matches!(of(Errno::IO), LockError::Io { .. }));
}
