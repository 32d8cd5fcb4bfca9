//! Claims about the keystore, each on real files in a temporary folder.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use ciborium::Value;
use tempfile::TempDir;

use super::*;

/// As cheap as is allowed: the tests are not about guessing.
fn keystore(folder: &TempDir) -> Keystore {
    Keystore { cost: Cost::LEAST, ..Keystore::at(folder.path()) }
}

fn pass(text: &str) -> Option<Passphrase> {
    Some(Passphrase(text.to_owned()))
}

fn secrets() -> Secrets {
    Secrets::generate("alice", 77).unwrap()
}

fn same(a: &Secrets, b: &Secrets) -> bool {
    let all = |s: &Secrets| {
        let seeds = [&s.identity, &s.device, &s.transport].map(|k| *k.as_bytes());
        (*s.master.as_bytes(), seeds, s.created_ms, s.name.clone())
    };
    all(a) == all(b)
}

fn write(folder: &TempDir, bytes: &[u8]) {
    let path = folder.path().join(KEYSTORE_FILE);
    let _ = fs::remove_file(&path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

fn bytes(folder: &TempDir) -> Vec<u8> {
    fs::read(folder.path().join(KEYSTORE_FILE)).unwrap()
}

/// The file with one field changed.
fn edited(bytes: &[u8], change: impl FnOnce(&mut Vec<Value>)) -> Vec<u8> {
    let mut fields = ciborium::from_reader::<Value, _>(bytes).unwrap().into_array().unwrap();
    change(&mut fields);
    let mut out = Vec::new();
    ciborium::into_writer(&Value::Array(fields), &mut out).unwrap();
    out
}

#[test]
fn secrets_come_back_with_and_without_a_passphrase() {
    for passphrase in [None, pass("correct horse"), pass("")] {
        let folder = tempfile::tempdir().unwrap();
        let (keystore, secrets) = (keystore(&folder), secrets());
        assert!(!keystore.exists());
        keystore.create(&secrets, passphrase.as_ref()).unwrap();
        assert!(keystore.exists());
        assert_eq!(keystore.needs_passphrase().unwrap(), passphrase.is_some());
        assert!(same(&keystore.unlock(passphrase.as_ref()).unwrap(), &secrets));
        let mode =
            fs::metadata(folder.path().join(KEYSTORE_FILE)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }
}

#[test]
fn passphrase_is_asked_for_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let keystore = keystore(&folder);
    assert!(matches!(keystore.unlock(None), Err(KeystoreError::Missing { .. })));
    keystore.create(&secrets(), pass("right").as_ref()).unwrap();
    let before = bytes(&folder);
    assert!(matches!(keystore.unlock(None), Err(KeystoreError::NeedsPassphrase)));
    assert!(matches!(keystore.unlock(pass("Right").as_ref()), Err(KeystoreError::WrongPassphrase)));
    assert!(matches!(
        keystore.change_passphrase(pass("wrong").as_ref(), None),
        Err(KeystoreError::WrongPassphrase)
    ));
    assert_eq!(bytes(&folder), before);
}

#[test]
fn existing_keystore_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let keystore = keystore(&folder);
    keystore.create(&secrets(), None).unwrap();
    let before = bytes(&folder);
    assert!(matches!(keystore.create(&secrets(), None), Err(KeystoreError::Exists { .. })));
    // Also when it appears between the look and the write.
    let raced = file::create(&folder.path().join(KEYSTORE_FILE), b"other");
    assert!(matches!(raced, Err(KeystoreError::Exists { .. })));
    assert_eq!(bytes(&folder), before);
}

#[test]
fn changing_the_passphrase_keeps_the_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let (keystore, secrets) = (keystore(&folder), secrets());
    keystore.create(&secrets, None).unwrap();
    for (old, new) in [(None, pass("a")), (pass("a"), pass("b")), (pass("b"), None)] {
        keystore.change_passphrase(old.as_ref(), new.as_ref()).unwrap();
        assert!(same(&keystore.unlock(new.as_ref()).unwrap(), &secrets));
        if new.is_some() {
            assert!(keystore.unlock(old.as_ref()).is_err());
        }
    }
}

#[test]
fn draft_of_a_killed_process_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let (keystore, secrets) = (keystore(&folder), secrets());
    // Killed before the first keystore was in place: there is none, and making it works.
    fs::write(folder.path().join("keystore.new"), b"half").unwrap();
    assert!(!keystore.exists());
    keystore.create(&secrets, None).unwrap();
    // Killed during a change: the old one holds, and the change can be repeated.
    fs::write(folder.path().join("keystore.new"), b"half").unwrap();
    assert!(same(&keystore.unlock(None).unwrap(), &secrets));
    keystore.change_passphrase(None, pass("new").as_ref()).unwrap();
    assert!(same(&keystore.unlock(pass("new").as_ref()).unwrap(), &secrets));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn every_shorter_file_is_called_cut_short() {
    let folder = tempfile::tempdir().unwrap();
    let keystore = keystore(&folder);
    keystore.create(&secrets(), pass("x").as_ref()).unwrap();
    let whole = bytes(&folder);
    for length in 0..whole.len() {
        write(&folder, &whole[..length]);
        let error = keystore.unlock(pass("x").as_ref()).err().unwrap();
        assert!(matches!(error, KeystoreError::Truncated { .. }), "{length}: {error}");
        assert_eq!(bytes(&folder).len(), length);
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let keystore = keystore(&folder);
    keystore.create(&secrets(), None).unwrap();
    let whole = bytes(&folder);
    for position in 0..whole.len() {
        for bit in [1, 0x80] {
            let mut changed = whole.clone();
            changed[position] ^= bit;
            write(&folder, &changed);
            assert!(keystore.unlock(None).is_err(), "{position}");
        }
    }
    write(&folder, &[&whole[..], b"more"].concat());
    assert!(matches!(keystore.unlock(None), Err(KeystoreError::Malformed { .. })));
    write(&folder, &vec![0x42; 100_000]);
    assert!(matches!(keystore.unlock(None), Err(KeystoreError::Malformed { .. })));
}

#[test]
fn newer_format_is_refused_whatever_follows() {
    let folder = tempfile::tempdir().unwrap();
    let keystore = keystore(&folder);
    write(
        &folder,
        &edited(&[0x80], |fields| {
            fields.extend([Value::from(2), Value::Text("new things".into())])
        }),
    );
    assert!(matches!(keystore.unlock(None), Err(KeystoreError::Newer { found: 2, known: 1 })));
}

#[test]
fn costs_outside_the_limits_are_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let keystore = keystore(&folder);
    keystore.create(&secrets(), pass("x").as_ref()).unwrap();
    let whole = bytes(&folder);
    for (field, value) in [
        (1, 1_u64),
        (1, 19_455),
        (1, (1 << 20) + 1),
        (1, u64::MAX),
        (2, 0),
        (2, 1_000),
        (3, 0),
        (3, 64),
    ] {
        write(
            &folder,
            &edited(&whole, |fields| {
                if let Value::Array(kdf) = &mut fields[1] {
                    kdf[field] = value.into();
                }
            }),
        );
        let error = keystore.unlock(pass("x").as_ref()).err().unwrap();
        assert!(matches!(error, KeystoreError::Malformed { .. }), "{field} = {value}: {error}");
    }
    // Within the limits, but not what was authenticated; and a header that claims there is no
    // passphrase.
    write(
        &folder,
        &edited(&whole, |fields| {
            if let Value::Array(kdf) = &mut fields[1] {
                kdf[2] = 2.into();
            }
        }),
    );
    assert!(matches!(keystore.unlock(pass("x").as_ref()), Err(KeystoreError::WrongPassphrase)));
    write(&folder, &edited(&whole, |fields| fields[1] = Value::Null));
    assert!(matches!(keystore.unlock(None), Err(KeystoreError::Malformed { .. })));
}

#[test]
fn file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keystore = keystore(&folder);
    keystore.create(&secrets(), None).unwrap();
    let path = folder.path().join(KEYSTORE_FILE);
    for mode in [0o640, 0o604, 0o620, 0o777] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = keystore.unlock(None).err().unwrap();
        assert!(
            matches!(&error, KeystoreError::Permissions { mode: found, .. } if *found == mode),
            "{error}"
        );
        assert!(error.hint().contains("chmod 600"));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(keystore.unlock(None).is_ok());
}

#[test]
fn folder_in_its_place_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(KEYSTORE_FILE)).unwrap();
    assert!(keystore(&folder).unlock(None).is_err());
    assert!(matches!(
        keystore(&folder).create(&secrets(), None),
        Err(KeystoreError::Exists { .. })
    ));
}

#[test]
fn no_seed_is_in_clear_under_a_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = secrets();
    keystore(&folder).create(&secrets, pass("x").as_ref()).unwrap();
    let file = bytes(&folder);
    for seed in [secrets.master.as_bytes(), secrets.identity.as_bytes(), secrets.device.as_bytes()]
    {
        assert!(!file.windows(8).any(|w| w == &seed[..8]));
    }
    assert!(!file.windows(5).any(|w| w == b"alice"));
}

#[test]
fn secrets_do_not_print() {
    let secrets = Secrets {
        master: MasterKey::new(Secret::from_bytes([200; 32])),
        identity: Secret::from_bytes([201; 32]),
        device: Secret::from_bytes([202; 32]),
        transport: Secret::from_bytes([203; 32]),
        created_ms: 0,
        name: String::new(),
    };
    let printed = format!("{secrets:?} {:?}", secrets.master);
    for secret in ["200", "201", "202", "203"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn keys_differ_and_database_key_is_derived() {
    let (a, b) = (secrets(), secrets());
    assert!(!same(&a, &b));
    assert_ne!(a.identity.as_bytes(), a.device.as_bytes());
    let key = a.master.database_key();
    assert_ne!(&*key, a.master.as_bytes());
    assert_ne!(*key, a.master.database_tag());
    assert_eq!(*key, *MasterKey::new(Secret::from_bytes(*a.master.as_bytes())).database_key());
}

#[test]
fn errors_say_what_to_do() {
    let path = PathBuf::from("k");
    let errors = [
        KeystoreError::WrongPassphrase,
        KeystoreError::NeedsPassphrase,
        KeystoreError::Missing { path: path.clone() },
        KeystoreError::Truncated { path: path.clone() },
        KeystoreError::Malformed { path: path.clone(), cause: "x" },
        KeystoreError::Permissions { path: path.clone(), mode: 0o644 },
        KeystoreError::Newer { found: 2, known: 1 },
        KeystoreError::Exists { path },
        KeystoreError::Resources { cause: "x" },
    ];
    for error in errors {
        assert!(
            !error.hint().is_empty() && error.code().starts_with("KLATCH-") && error.exit() > 0
        );
    }
}
