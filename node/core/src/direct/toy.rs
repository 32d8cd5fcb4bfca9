//! A stand-in for Olm (feature `sim` only): its rules and limits without its secrecy, so that
//! thousands of worlds with direct messages fit into minutes and a seed is the same world every
//! time. Anyone can read and forge these.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::cbor;
use crate::crypto::{Context, hash, suite};
use crate::ctx::Entropy;
use crate::ids::{Digest, SessionKey, SessionTag};

/// As in vodozemac: keys kept of messages that were overtaken, per chain.
const KEYS_MAX: usize = 40;
/// Largest gap in a chain.
const GAP_MAX: u64 = 2_000;
/// Chains of the other side kept.
const CHAINS_MAX: usize = 5;
/// Longest message.
const BYTES_MAX: usize = 1 << 20;

/// Keys: `public == secret`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    pub key: SessionKey,
    one_time: Vec<SessionKey>,
    fallback: Vec<SessionKey>,
}

/// `[identity key, base key, one-time key]` of whoever began.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Names(SessionKey, SessionKey, SessionKey);

/// A chain of the other side: its root, the next index, indices that were overtaken.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Chain(SessionKey, Digest, u64, Vec<u64>);

/// A session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ratchet {
    names: Names,
    root: Digest,
    sending: Option<(SessionKey, u64)>,
    receiving: Vec<Chain>,
    heard: bool,
}

type Fields = (Option<Names>, SessionKey, u64, ByteBuf, ByteBuf);

fn random(rng: &mut dyn Entropy) -> SessionKey {
    let mut key = [0; 32];
    rng.fill(&mut key);
    SessionKey(key)
}

fn root(names: &Names, responder: &SessionKey) -> Digest {
    hash(Context::DIRECT_KEY, &[&names.0.0, &names.1.0, &names.2.0, &responder.0])
}

fn step(root: &Digest, chain: &SessionKey) -> Digest {
    hash(Context::DIRECT_KEY, &[&root.0, &chain.0])
}

fn tag(root: &Digest, index: u64, plain: &[u8]) -> ByteBuf {
    ByteBuf::from(suite::tag(&root.0, &index.to_le_bytes(), plain).to_vec())
}

impl Account {
    pub fn new(rng: &mut dyn Entropy) -> Self {
        Self { key: random(rng), one_time: Vec::new(), fallback: Vec::new() }
    }

    pub fn one_time_key(&mut self, rng: &mut dyn Entropy) -> SessionKey {
        let key = random(rng);
        self.one_time.push(key);
        key
    }

    pub fn rotate(&mut self, rng: &mut dyn Entropy) -> SessionKey {
        let key = random(rng);
        self.fallback.push(key);
        if self.fallback.len() > 2 {
            self.fallback.remove(0);
        }
        key
    }

    pub fn begin(
        &self,
        rng: &mut dyn Entropy,
        identity: &SessionKey,
        one_time: &SessionKey,
    ) -> Ratchet {
        let names = Names(self.key, random(rng), *one_time);
        let sending = Some((random(rng), 0));
        Ratchet {
            names,
            root: root(&names, identity),
            sending,
            receiving: Vec::new(),
            heard: false,
        }
    }

    pub fn accept(&mut self, bytes: &[u8]) -> Option<(Ratchet, Vec<u8>, SessionKey)> {
        let (names, chain, ..): Fields = cbor::decode(bytes, BYTES_MAX).ok()?;
        let names = names?;
        let once = self.one_time.iter().position(|k| *k == names.2);
        if once.is_none() && !self.fallback.contains(&names.2) {
            return None;
        }
        let root = root(&names, &self.key);
        let receiving = vec![Chain(chain, root, 0, Vec::new())];
        let mut ratchet = Ratchet { names, root, sending: None, receiving, heard: true };
        let plain = ratchet.open(true, bytes)?;
        once.map(|at| self.one_time.remove(at));
        Some((ratchet, plain, names.0))
    }
}

impl Ratchet {
    pub fn tag(&self) -> SessionTag {
        let digest =
            hash(Context::DIRECT_FRAME, &[&self.names.0.0, &self.names.1.0, &self.names.2.0]);
        let mut tag = [0; 8];
        tag.copy_from_slice(&digest.0[..8]);
        SessionTag(tag)
    }

    pub fn seal(&mut self, rng: &mut dyn Entropy, plain: &[u8]) -> (bool, Vec<u8>) {
        let (chain, index) = self.sending.unwrap_or_else(|| {
            let chain = random(rng);
            self.root = step(&self.root, &chain);
            (chain, 0)
        });
        self.sending = Some((chain, index + 1));
        let names = (!self.heard).then_some(self.names);
        let fields: Fields =
            (names, chain, index, ByteBuf::from(plain.to_vec()), tag(&self.root, index, plain));
        (names.is_some(), cbor::encode(&fields))
    }

    pub fn open(&mut self, begins: bool, bytes: &[u8]) -> Option<Vec<u8>> {
        let (names, key, index, plain, sum): Fields = cbor::decode(bytes, BYTES_MAX).ok()?;
        if names.is_some() != begins {
            return None;
        }
        if let Some(chain) = self.receiving.iter_mut().find(|c| c.0 == key) {
            return chain.open(index, plain, &sum);
        }
        // The other side begins a chain only after it has heard from our present one.
        self.sending?;
        let mut chain = Chain(key, step(&self.root, &key), 0, Vec::new());
        let plain = chain.open(index, plain, &sum)?;
        self.root = chain.1;
        self.sending = None;
        self.heard = true;
        self.receiving.push(chain);
        if self.receiving.len() > CHAINS_MAX {
            self.receiving.remove(0);
        }
        Some(plain)
    }
}

impl Chain {
    fn open(&mut self, index: u64, plain: ByteBuf, sum: &ByteBuf) -> Option<Vec<u8>> {
        if tag(&self.1, index, &plain) != *sum {
            return None;
        }
        if index < self.2 {
            let at = self.3.iter().position(|i| *i == index)?;
            self.3.remove(at);
            return Some(plain.into_vec());
        }
        if index - self.2 > GAP_MAX {
            return None;
        }
        self.3.extend(self.2..index);
        let surplus = self.3.len().saturating_sub(KEYS_MAX);
        self.3.drain(..surplus);
        self.2 = index + 1;
        Some(plain.into_vec())
    }
}
