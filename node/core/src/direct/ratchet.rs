//! The session layer: Olm by vodozemac (3DH and double ratchet, session config version 1), reduced
//! to what direct messages need. With feature `sim` a stand-in that has Olm's limits and none of
//! its secrecy can take its place (`toy.rs`).
//!
//! vodozemac draws its own randomness from the system: the one exception to the purity of the core
//! (docs/decisions/direct-messages.md). So nothing may depend on the value of a key or of a
//! session's name, only on equality with another.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{self, OlmMessage, PreKeyMessage, SessionConfig};
use zeroize::Zeroizing;

use crate::cbor;
use crate::ctx::Entropy;
#[cfg(feature = "sim")]
use crate::direct::toy;
use crate::ids::{SessionKey, SessionTag};

/// Longest saved account or session: 50 one-time keys and 4 chains with 40 keys each are below 40
/// kB.
const SAVED_BYTES_MAX: usize = 1 << 20;
const OLM: u8 = 1;
#[cfg(feature = "sim")]
const TOY: u8 = 0;

/// `[suite, fallback key, made at, state]`.
#[derive(Serialize, Deserialize)]
struct SavedAccount(u8, SessionKey, u64, ByteBuf);

enum AccountSuite {
    Olm(Box<olm::Account>),
    #[cfg(feature = "sim")]
    Toy(toy::Account),
}

/// The own keys of the session layer. Does not print.
pub(crate) struct Account {
    suite: AccountSuite,
    fallback: SessionKey,
    /// When the fallback key was made, Unix milliseconds.
    pub fallback_ms: u64,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account(..)")
    }
}

enum RatchetSuite {
    Olm(Box<olm::Session>),
    #[cfg(feature = "sim")]
    Toy(Box<toy::Ratchet>),
}

/// One session with one device. Does not print.
pub(crate) struct Ratchet(RatchetSuite);

impl fmt::Debug for Ratchet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ratchet(..)")
    }
}

/// What a first message of the other side opened.
pub(crate) struct Begun {
    /// The new session.
    pub ratchet: Ratchet,
    /// What the message said.
    pub plain: Zeroizing<Vec<u8>>,
    /// Who holds this key wrote it.
    pub identity_key: SessionKey,
}

fn curve(key: &SessionKey) -> Curve25519PublicKey {
    Curve25519PublicKey::from_bytes(key.0)
}

fn tag_of(id: &str) -> SessionTag {
    // Unpadded base64 of 32 bytes, as vodozemac names sessions. Only equality matters.
    let digest = crate::crypto::hash(crate::crypto::Context::DIRECT_FRAME, &[id.as_bytes()]);
    let mut tag = [0; 8];
    tag.copy_from_slice(&digest.0[..8]);
    SessionTag(tag)
}

fn pickled<T: Serialize>(value: &T) -> Vec<u8> {
    // Not our strict form: the library's own structures have maps. Nobody but this device ever
    // reads them.
    let mut out = Vec::with_capacity(2_048);
    let written = ciborium::into_writer(value, &mut out);
    debug_assert!(written.is_ok(), "plain structures encode");
    out
}

impl Account {
    /// New keys.
    pub fn new(rng: &mut dyn Entropy, now: u64) -> Self {
        let suite = Self::new_suite(rng);
        let mut account = Self { suite, fallback: SessionKey([0; 32]), fallback_ms: 0 };
        account.rotate(rng, now);
        account
    }

    #[cfg(feature = "sim")]
    fn new_suite(rng: &mut dyn Entropy) -> AccountSuite {
        if crate::crypto::suite::is_fast() {
            return AccountSuite::Toy(toy::Account::new(rng));
        }
        AccountSuite::Olm(Box::new(olm::Account::new()))
    }

    #[cfg(not(feature = "sim"))]
    fn new_suite(_: &mut dyn Entropy) -> AccountSuite {
        AccountSuite::Olm(Box::new(olm::Account::new()))
    }

    /// The key that names this account.
    pub fn identity_key(&self) -> SessionKey {
        match &self.suite {
            AccountSuite::Olm(account) => SessionKey(account.curve25519_key().to_bytes()),
            #[cfg(feature = "sim")]
            AccountSuite::Toy(account) => account.key,
        }
    }

    /// A key for one session, never given out before.
    pub fn one_time_key(&mut self, rng: &mut dyn Entropy) -> Option<SessionKey> {
        #[cfg(not(feature = "sim"))]
        let _ = rng;
        match &mut self.suite {
            AccountSuite::Olm(account) => {
                let made = account
                    .generate_one_time_keys(1)
                    .created
                    .first()
                    .map(|k| SessionKey(k.to_bytes()));
                account.mark_keys_as_published();
                made
            }
            #[cfg(feature = "sim")]
            AccountSuite::Toy(account) => Some(account.one_time_key(rng)),
        }
    }

    /// The key for those who get no one-time key.
    pub fn fallback_key(&self) -> SessionKey {
        self.fallback
    }

    /// A new fallback key; the one before it still opens, older ones no longer do.
    pub fn rotate(&mut self, rng: &mut dyn Entropy, now: u64) {
        #[cfg(not(feature = "sim"))]
        let _ = rng;
        match &mut self.suite {
            AccountSuite::Olm(account) => {
                account.generate_fallback_key();
                if let Some(key) = account.fallback_key().into_values().next() {
                    self.fallback = SessionKey(key.to_bytes());
                }
                account.mark_keys_as_published();
            }
            #[cfg(feature = "sim")]
            AccountSuite::Toy(account) => self.fallback = account.rotate(rng),
        }
        self.fallback_ms = now;
    }

    /// Begins a session with whoever gave these keys. `None` for keys that make no secret.
    pub fn begin(
        &self,
        rng: &mut dyn Entropy,
        identity_key: &SessionKey,
        one_time: &SessionKey,
    ) -> Option<Ratchet> {
        #[cfg(not(feature = "sim"))]
        let _ = rng;
        match &self.suite {
            AccountSuite::Olm(account) => {
                let config = SessionConfig::version_1();
                let session = account
                    .create_outbound_session(config, curve(identity_key), curve(one_time))
                    .ok()?;
                Some(Ratchet(RatchetSuite::Olm(Box::new(session))))
            }
            #[cfg(feature = "sim")]
            AccountSuite::Toy(account) => Some(Ratchet(RatchetSuite::Toy(Box::new(
                account.begin(rng, identity_key, one_time),
            )))),
        }
    }

    /// Opens a message that begins a session. The one-time key is used up only if it opens.
    pub fn accept(&mut self, bytes: &[u8]) -> Option<Begun> {
        match &mut self.suite {
            AccountSuite::Olm(account) => {
                let message = PreKeyMessage::from_bytes(bytes).ok()?;
                let key = message.identity_key();
                let made = account
                    .create_inbound_session(SessionConfig::version_1(), key, &message)
                    .ok()?;
                Some(Begun {
                    ratchet: Ratchet(RatchetSuite::Olm(Box::new(made.session))),
                    plain: Zeroizing::new(made.plaintext),
                    identity_key: SessionKey(key.to_bytes()),
                })
            }
            #[cfg(feature = "sim")]
            AccountSuite::Toy(account) => {
                let (ratchet, plain, identity_key) = account.accept(bytes)?;
                let ratchet = Ratchet(RatchetSuite::Toy(Box::new(ratchet)));
                Some(Begun { ratchet, plain: Zeroizing::new(plain), identity_key })
            }
        }
    }

    /// For the encrypted store.
    pub fn save(&self) -> Zeroizing<Vec<u8>> {
        let (suite, state) = match &self.suite {
            AccountSuite::Olm(account) => (OLM, pickled(&account.pickle())),
            #[cfg(feature = "sim")]
            AccountSuite::Toy(account) => (TOY, cbor::encode(account)),
        };
        Zeroizing::new(cbor::encode_large(
            &SavedAccount(suite, self.fallback, self.fallback_ms, ByteBuf::from(state)),
            SAVED_BYTES_MAX >> 8,
        ))
    }

    /// From the encrypted store; `None` if it cannot be read: then there are new keys, and sessions
    /// begin anew.
    pub fn load(bytes: &[u8]) -> Option<Self> {
        let SavedAccount(suite, fallback, fallback_ms, state) =
            cbor::decode(bytes, SAVED_BYTES_MAX).ok()?;
        let suite = match suite {
            OLM => {
                let pickle: olm::AccountPickle = ciborium::from_reader(state.as_slice()).ok()?;
                AccountSuite::Olm(Box::new(olm::Account::from_pickle(pickle)))
            }
            #[cfg(feature = "sim")]
            TOY => AccountSuite::Toy(cbor::decode(&state, SAVED_BYTES_MAX).ok()?),
            _ => return None,
        };
        Some(Self { suite, fallback, fallback_ms })
    }
}

impl Ratchet {
    /// The name of the session, the same on both sides.
    pub fn tag(&self) -> SessionTag {
        match &self.0 {
            RatchetSuite::Olm(session) => tag_of(&session.session_id()),
            #[cfg(feature = "sim")]
            RatchetSuite::Toy(session) => session.tag(),
        }
    }

    /// Seals; says whether the message is of the kind that begins a session.
    pub fn seal(&mut self, rng: &mut dyn Entropy, plain: &[u8]) -> Option<(bool, Vec<u8>)> {
        #[cfg(not(feature = "sim"))]
        let _ = rng;
        match &mut self.0 {
            RatchetSuite::Olm(session) => Some(match session.encrypt(plain).ok()? {
                OlmMessage::Normal(message) => (false, message.to_bytes()),
                OlmMessage::PreKey(message) => (true, message.to_bytes()),
            }),
            #[cfg(feature = "sim")]
            RatchetSuite::Toy(session) => Some(session.seal(rng, plain)),
        }
    }

    /// Opens a message of this session.
    pub fn open(&mut self, begins: bool, bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match &mut self.0 {
            RatchetSuite::Olm(session) => {
                let message = OlmMessage::from_parts(usize::from(!begins), bytes).ok()?;
                session.decrypt(&message).ok().map(Zeroizing::new)
            }
            #[cfg(feature = "sim")]
            RatchetSuite::Toy(session) => session.open(begins, bytes).map(Zeroizing::new),
        }
    }

    /// For the encrypted store.
    pub fn save(&self) -> Zeroizing<Vec<u8>> {
        let mut out = match &self.0 {
            RatchetSuite::Olm(session) => pickled(&session.pickle()),
            #[cfg(feature = "sim")]
            RatchetSuite::Toy(session) => cbor::encode(session.as_ref()),
        };
        out.push(match &self.0 {
            RatchetSuite::Olm(_) => OLM,
            #[cfg(feature = "sim")]
            RatchetSuite::Toy(_) => TOY,
        });
        Zeroizing::new(out)
    }

    /// From the encrypted store.
    pub fn load(bytes: &[u8]) -> Option<Self> {
        let (suite, state) = bytes.split_last()?;
        Some(Self(match *suite {
            OLM => {
                let pickle: olm::SessionPickle = ciborium::from_reader(state).ok()?;
                RatchetSuite::Olm(Box::new(olm::Session::from_pickle(pickle)))
            }
            #[cfg(feature = "sim")]
            TOY => RatchetSuite::Toy(Box::new(cbor::decode(state, SAVED_BYTES_MAX).ok()?)),
            _ => return None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Zeros(u64);
    impl Entropy for Zeros {
        fn fill(&mut self, out: &mut [u8]) {
            for chunk in out.chunks_mut(8) {
                self.0 += 1;
                chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
            }
        }
    }

    /// Both suites must do the same: what holds of the stand-in is proved of Olm here.
    fn both(what: impl Fn(&mut Zeros)) {
        for fast in [false, true] {
            crate::crypto::suite::set_fast(fast);
            what(&mut Zeros(0));
        }
        crate::crypto::suite::set_fast(false);
    }

    fn pair(rng: &mut Zeros, fallback: bool) -> (Ratchet, Ratchet) {
        let (alice, mut bob) = (Account::new(rng, 0), Account::new(rng, 0));
        let one_time = if fallback { bob.fallback_key() } else { bob.one_time_key(rng).unwrap() };
        let mut a = alice.begin(rng, &bob.identity_key(), &one_time).unwrap();
        let (begins, first) = a.seal(rng, b"first").unwrap();
        assert!(begins);
        let begun = bob.accept(&first).unwrap();
        assert_eq!(begun.plain.as_slice(), b"first");
        assert_eq!((begun.identity_key, begun.ratchet.tag()), (alice.identity_key(), a.tag()));
        assert_eq!(bob.accept(&first).is_some(), fallback, "a one-time key is for one session");
        (a, begun.ratchet)
    }

    #[test]
    fn two_sides_talk_and_begin_until_the_first_answer() {
        both(|rng| {
            let (mut a, mut b) = pair(rng, false);
            let (begins, second) = a.seal(rng, b"second").unwrap();
            assert!(begins);
            assert_eq!(b.open(true, &second).unwrap().as_slice(), b"second");
            assert!(b.open(true, &second).is_none(), "opened once");
            let (begins, answer) = b.seal(rng, b"answer").unwrap();
            assert!(!begins);
            assert_eq!(a.open(false, &answer).unwrap().as_slice(), b"answer");
            assert!(!a.seal(rng, b"x").unwrap().0);
        });
    }

    #[test]
    fn forty_overtaken_messages_are_remembered() {
        both(|rng| {
            let (mut a, mut b) = pair(rng, true);
            let sealed: Vec<_> = (0..60).map(|_| a.seal(rng, b"x").unwrap().1).collect();
            let opened =
                |b: &mut Ratchet| sealed.iter().rev().filter(|s| b.open(true, s).is_some()).count();
            assert_eq!(opened(&mut b), 41);
        });
    }

    #[test]
    fn five_turns_are_remembered() {
        both(|rng| {
            let (mut a, mut b) = pair(rng, false);
            let (_, late) = a.seal(rng, b"late").unwrap();
            for turn in 0..6 {
                let (_, there) = b.seal(rng, b"there").unwrap();
                a.open(false, &there).unwrap();
                let (_, back) = a.seal(rng, b"back").unwrap();
                b.open(false, &back).unwrap();
                let mut copy = Ratchet::load(&b.save()).unwrap();
                assert_eq!(copy.open(true, &late).is_some(), turn < 4, "turn {turn}");
            }
        });
    }

    #[test]
    fn accounts_and_sessions_survive_the_store() {
        both(|rng| {
            let (mut a, b) = pair(rng, false);
            let mut b = Ratchet::load(&b.save()).unwrap();
            let (begins, text) = a.seal(rng, b"x").unwrap();
            assert!(b.open(begins, &text).is_some());
            let mut account = Account::new(rng, 7);
            let key = account.one_time_key(rng).unwrap();
            let mut read = Account::load(&account.save()).unwrap();
            assert_eq!(
                (read.identity_key(), read.fallback_key()),
                (account.identity_key(), account.fallback_key())
            );
            let mut other = Account::new(rng, 0).begin(rng, &read.identity_key(), &key).unwrap();
            assert!(read.accept(&other.seal(rng, b"x").unwrap().1).is_some());
            assert!(Account::load(b"x").is_none() && Ratchet::load(b"").is_none());
        });
    }

    #[test]
    fn the_fallback_key_before_the_last_still_opens() {
        both(|rng| {
            let (alice, mut bob) = (Account::new(rng, 0), Account::new(rng, 0));
            let old = bob.fallback_key();
            let begin = |bob: &Account| {
                let mut session = alice.begin(&mut Zeros(99), &bob.identity_key(), &old).unwrap();
                session.seal(&mut Zeros(100), b"x").unwrap().1
            };
            bob.rotate(rng, 1);
            assert!(bob.accept(&begin(&bob)).is_some());
            bob.rotate(rng, 2);
            assert!(bob.accept(&begin(&bob)).is_none());
        });
    }

    #[test]
    fn a_session_from_an_old_copy_opens_nothing_new() {
        both(|rng| {
            let (mut a, mut b) = pair(rng, false);
            let old = a.save();
            for _ in 0..2 {
                let (_, there) = b.seal(rng, b"there").unwrap();
                a.open(false, &there).unwrap();
                let (_, back) = a.seal(rng, b"back").unwrap();
                b.open(false, &back).unwrap();
            }
            let mut stale = Ratchet::load(&old).unwrap();
            let (_, fresh) = b.seal(rng, b"fresh").unwrap();
            assert!(stale.open(false, &fresh).is_none());
        });
    }
}
