//! A look into a profile that no node has open: whether its files can be read, and which names and
//! ids stand in it. For diagnosis; changes nothing and reaches nobody.

use std::path::Path;

use klatch_core::command::Passphrase;
use klatch_core::identity::{Keys, fingerprint};
use libp2p::identity::Keypair;

use crate::StartError;
use crate::store::keystore::{Keystore, Secrets};
use crate::store::lock::ProfileLock;
use crate::store::{Reader, Store, StoreError};

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Rooms that are joined.
    pub rooms: usize,
    /// Names of people and rooms, as they are shown.
    pub names: Vec<String>,
    /// Ids of rooms, devices, people and the own transport.
    pub ids: Vec<String>,
}

/// Opens the keystore and reads the store. Takes most of a second with a passphrase, and holds the
/// profile for that time.
///
/// # Errors
/// [`StartError`]: what would keep a node from starting, too.
pub fn look(home: &Path, passphrase: Option<&Passphrase>) -> Result<Look, StartError> {
    let secrets = Keystore::at(home).unlock(passphrase)?;
    let _lock = ProfileLock::acquire_to_read(home)?;
    let mut seen = Look::default();
    own(&secrets, &mut seen);
    if let Some(reader) = Store::peek(home, &secrets.master)? {
        rooms(&reader, &mut seen)?;
    }
    Ok(seen)
}

fn own(secrets: &Secrets, seen: &mut Look) {
    let keys = Keys::from_seeds(
        secrets.identity.as_bytes(),
        secrets.device.as_bytes(),
        secrets.created_ms,
    );
    seen.names.push(secrets.name.clone());
    seen.ids.extend([
        keys.identity_id().to_string(),
        keys.device_id().to_string(),
        fingerprint(&keys.identity_id()),
    ]);
    let mut seed = *secrets.transport.as_bytes();
    seen.ids.extend(
        Keypair::ed25519_from_bytes(&mut seed).map(|k| k.public().to_peer_id().to_string()),
    );
}

fn rooms(reader: &Reader, seen: &mut Look) -> Result<(), StoreError> {
    for room in reader.rooms(None)? {
        seen.rooms += usize::from(!room.left);
        for device in reader.devices(room.room)? {
            seen.names.push(device.name);
            seen.ids.push(device.device.to_string());
            seen.ids.extend(device.identity.iter().flat_map(|i| [i.to_string(), fingerprint(i)]));
        }
        seen.names.push(room.name);
        seen.ids.push(room.room.to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::keystore::KeystoreError;

    fn listing(folder: &Path) -> Vec<(std::ffi::OsString, u64)> {
        let files = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap());
        let mut files: Vec<_> =
            files.map(|f| (f.file_name(), f.metadata().unwrap().len())).collect();
        files.sort();
        files
    }

    #[test]
    fn a_fresh_profile_has_only_its_owner_and_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::generate("alice", 1).unwrap();
        Keystore::at(home.path()).create(&secrets, None).unwrap();
        drop(ProfileLock::acquire(home.path()).unwrap());
        let before = listing(home.path());
        let seen = look(home.path(), None).unwrap();
        assert_eq!((seen.rooms, seen.names), (0, vec!["alice".to_owned()]));
        assert!(seen.ids.len() == 4 && seen.ids[3].starts_with("12D3"), "{:?}", seen.ids);
        let sizes: Vec<_> =
            listing(home.path()).into_iter().filter(|(name, _)| name != "lock").collect();
        assert_eq!(
            sizes,
            before.into_iter().filter(|(name, _)| name != "lock").collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_keeps_a_node_from_starting_is_told_and_nothing_is_repaired() {
        let home = tempfile::tempdir().unwrap();
        assert!(matches!(
            look(home.path(), None),
            Err(StartError::Keystore(KeystoreError::Missing { .. }))
        ));
        let secrets = Secrets::generate("alice", 1).unwrap();
        Keystore::at(home.path()).create(&secrets, None).unwrap();
        let held = ProfileLock::acquire(home.path()).unwrap();
        assert!(matches!(look(home.path(), None), Err(StartError::Lock(_))));
        drop(held);
        drop(Store::open(home.path(), &secrets.master).unwrap());
        assert!(look(home.path(), None).is_ok());
        std::fs::write(home.path().join("klatch.db"), vec![7; 8_192]).unwrap();
        assert!(matches!(
            look(home.path(), None),
            Err(StartError::Store(StoreError::Corrupt { .. } | StoreError::WrongKey))
        ));
        assert_eq!(std::fs::read(home.path().join("klatch.db")).unwrap(), vec![7; 8_192]);
    }
}
