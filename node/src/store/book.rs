//! The address book: where peers were last reached, so that the next start dials them first. A
//! hint, bounded, encrypted with everything else.

use klatch_core::ids::{DeviceId, Peer};
use rusqlite::params;

use super::Store;
use super::error::StoreError;
use super::row::{int, whole};

/// Peers remembered: the members of the rooms of one person. Those not reached for longest go
/// first.
pub(super) const PEERS_MAX: i64 = 256;
/// Addresses remembered of one: a desktop, a VPN and a mobile network, each by two transports and
/// two address families, are fewer. Those unused for longest go first, so a peer that says new ones
/// all the time displaces only its own.
pub(super) const ADDRESSES_PER_PEER_MAX: i64 = 8;
/// Longest address text taken; real ones stay below 200 bytes.
const ADDRESS_BYTES_MAX: usize = 512;

/// One remembered address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAddress {
    /// The transport peer last reached there.
    pub peer: Vec<u8>,
    /// The device behind it, once signed presence said so.
    pub device: Option<DeviceId>,
    /// The address as text.
    pub addr: String,
    /// When it last worked, Unix milliseconds.
    pub seen_ms: u64,
}

impl Store {
    /// Remembers that a peer was reached at an address. Oversized addresses are ignored. Without a
    /// `device`, one that was known stays.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn remember_address(
        &mut self,
        peer: &[u8],
        device: Option<DeviceId>,
        address: &str,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        if address.len() > ADDRESS_BYTES_MAX || peer.len() > ADDRESS_BYTES_MAX {
            return Ok(());
        }
        let tx = self.main.transaction()?;
        tx.prepare_cached(
            "INSERT INTO address VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (peer, addr) DO UPDATE SET device = coalesce(?3, device), seen_ms = max(seen_ms, ?4)",
        )?
        .execute(params![peer, address, device.map(|d| d.0), int(now_ms)])?;
        tx.prepare_cached(
            "DELETE FROM address WHERE peer = ?1 AND addr IN
             (SELECT addr FROM address WHERE peer = ?1 ORDER BY seen_ms DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute(params![peer, ADDRESSES_PER_PEER_MAX])?;
        tx.prepare_cached(
            "DELETE FROM address WHERE peer IN
             (SELECT peer FROM address GROUP BY peer ORDER BY max(seen_ms) DESC LIMIT -1 OFFSET ?1)",
        )?
        .execute([PEERS_MAX])?;
        Ok(tx.commit()?)
    }

    /// Forgets where these peers were reached, and everybody who was reached at `address`. How many
    /// addresses that were.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn forget_addresses(
        &mut self,
        peers: &[Peer],
        address: Option<&str>,
    ) -> Result<usize, StoreError> {
        let tx = self.main.transaction()?;
        let mut forgotten = 0;
        for peer in peers {
            forgotten += tx
                .prepare_cached("DELETE FROM address WHERE peer = ?1")?
                .execute([peer.0.as_slice()])?;
        }
        if let Some(address) = address {
            forgotten += tx
                .prepare_cached(
                    "DELETE FROM address WHERE peer IN (SELECT peer FROM address WHERE addr = ?1)",
                )?
                .execute([address])?;
        }
        tx.commit()?;
        Ok(forgotten)
    }

    /// Every remembered address, the latest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn addresses(&self) -> Result<Vec<KnownAddress>, StoreError> {
        let mut select = self.main.prepare_cached(
            "SELECT peer, device, addr, seen_ms FROM address ORDER BY seen_ms DESC",
        )?;
        let mut rows = select.query([])?;
        let mut found = Vec::new();
        while let Some(r) = rows.next()? {
            let device =
                r.get_ref(1)?.as_blob_or_null().map_err(|_| StoreError::value("device"))?;
            found.push(KnownAddress {
                peer: r.get(0)?,
                device: device.and_then(DeviceId::from_slice),
                addr: r.get(2)?,
                seen_ms: whole(r.get(3)?),
            });
        }
        Ok(found)
    }
}
