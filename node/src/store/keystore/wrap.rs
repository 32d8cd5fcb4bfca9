//! The container: how the secrets are sealed under a passphrase, and how strictly a file is read.

use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use ciborium::Value;
use klatch_core::command::Passphrase;
use zeroize::{Zeroize, Zeroizing};

use super::KeystoreError;
use super::secret::{MasterKey, Secret, Secrets};

/// The format written here.
const FORMAT: u64 = 1;
/// The name of the only key derivation function.
const ARGON2ID: &str = "argon2id";
/// Cheapest parameters believed from a file (OWASP's minimum): a swapped header cannot make
/// guessing cheap.
const MEMORY_KIB_MIN: u32 = 19 << 10;
/// Dearest: a swapped header cannot take all memory.
const MEMORY_KIB_MAX: u32 = 1 << 20;
/// Same for time: passes.
const PASSES_MAX: u32 = 16;
/// Machines with less memory than this get the smaller parameters.
const SMALL_MACHINE_KIB: u64 = 2 << 20;

/// What one guess at the passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// 256 MiB and 3 passes (0.8 s) where there are 2 GiB of memory, else 64 MiB.
    pub(super) fn of_this_machine() -> Self {
        let small = memory_kib().is_some_and(|kib| kib < SMALL_MACHINE_KIB);
        Self { memory_kib: if small { 64 << 10 } else { 256 << 10 }, passes: 3, lanes: 1 }
    }

    /// The least that is accepted.
    #[cfg(test)]
    pub(super) const LEAST: Self = Self { memory_kib: MEMORY_KIB_MIN, passes: 1, lanes: 1 };

    fn within_limits(self) -> bool {
        (MEMORY_KIB_MIN..=MEMORY_KIB_MAX).contains(&self.memory_kib)
            && (1..=PASSES_MAX).contains(&self.passes)
            && self.lanes == 1
    }
}

/// How the key is made from a passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kdf {
    cost: Cost,
    salt: [u8; 16],
}

/// A keystore as it stands in the file.
#[derive(Debug)]
pub(super) struct Wrapped {
    kdf: Option<Kdf>,
    nonce: [u8; 24],
    sealed: Vec<u8>,
}

impl Wrapped {
    /// Seals the secrets anew, with fresh salt and nonce.
    pub(super) fn seal(
        secrets: &Secrets,
        passphrase: Option<&Passphrase>,
        cost: Cost,
    ) -> Result<Self, KeystoreError> {
        let (mut salt, mut nonce) = ([0; 16], [0; 24]);
        for bytes in [&mut salt[..], &mut nonce[..]] {
            getrandom::fill(bytes)
                .map_err(|_| KeystoreError::Resources { cause: "no randomness" })?;
        }
        let kdf = passphrase.map(|_| Kdf { cost, salt });
        let key = key(kdf.as_ref(), passphrase, &nonce)?;
        let plain = encode_secrets(secrets);
        let payload = Payload { msg: &plain, aad: &encode(&header(kdf.as_ref())) };
        let sealed = XChaCha20Poly1305::new(Key::from_slice(&key[..]))
            .encrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|_| KeystoreError::Resources { cause: "encryption failed" })?;
        Ok(Self { kdf, nonce, sealed })
    }

    /// Opens the secrets.
    pub(super) fn open(
        &self,
        passphrase: Option<&Passphrase>,
        path: &Path,
    ) -> Result<Secrets, KeystoreError> {
        if self.has_passphrase() && passphrase.is_none() {
            return Err(KeystoreError::NeedsPassphrase);
        }
        let key = key(self.kdf.as_ref(), passphrase, &self.nonce)?;
        let payload = Payload { msg: &self.sealed, aad: &encode(&header(self.kdf.as_ref())) };
        let plain = XChaCha20Poly1305::new(Key::from_slice(&key[..]))
            .decrypt(XNonce::from_slice(&self.nonce), payload);
        let plain = Zeroizing::new(plain.map_err(|_| {
            if self.has_passphrase() {
                KeystoreError::WrongPassphrase
            } else {
                damaged(path, "its checksum is wrong")
            }
        })?);
        decode_secrets(&plain).ok_or_else(|| damaged(path, "its content makes no sense"))
    }

    pub(super) fn has_passphrase(&self) -> bool {
        self.kdf.is_some()
    }

    /// The bytes of the file.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut fields = header(self.kdf.as_ref());
        fields.push(Value::Bytes(self.nonce.to_vec()));
        fields.push(Value::Bytes(self.sealed.clone()));
        encode(&fields)
    }

    /// Reads the bytes of a file, strictly.
    pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Self, KeystoreError> {
        let mut rest = bytes;
        let value: Value = ciborium::from_reader(&mut rest).map_err(|e| match e {
            ciborium::de::Error::Io(_) => KeystoreError::Truncated { path: path.to_owned() },
            _ => damaged(path, "it is no keystore"),
        })?;
        let fields = value.into_array().map_err(|_| damaged(path, "it is no keystore"))?;
        let found =
            fields.first().and_then(number).ok_or_else(|| damaged(path, "it is no keystore"))?;
        if found != FORMAT {
            return Err(KeystoreError::Newer { found, known: FORMAT });
        }
        let [_, kdf, Value::Bytes(nonce), Value::Bytes(sealed)] = &fields[..] else {
            return Err(damaged(path, "its fields are wrong"));
        };
        let kdf = match kdf {
            Value::Null => None,
            kdf => Some(
                decode_kdf(kdf)
                    .ok_or_else(|| damaged(path, "its key derivation is not one of ours"))?,
            ),
        };
        let nonce = nonce[..].try_into().map_err(|_| damaged(path, "its nonce is wrong"))?;
        let wrapped = Self { kdf, nonce, sealed: sealed.clone() };
        // Also refuses bytes after the end.
        if wrapped.encode() != bytes {
            return Err(damaged(path, "it is not in canonical form"));
        }
        Ok(wrapped)
    }
}

fn damaged(path: &Path, cause: &'static str) -> KeystoreError {
    KeystoreError::Malformed { path: path.to_owned(), cause }
}

/// The authenticated part.
fn header(kdf: Option<&Kdf>) -> Vec<Value> {
    let kdf = kdf.map_or(Value::Null, |kdf| {
        Value::Array(vec![
            Value::Text(ARGON2ID.to_owned()),
            kdf.cost.memory_kib.into(),
            kdf.cost.passes.into(),
            kdf.cost.lanes.into(),
            Value::Bytes(kdf.salt.to_vec()),
        ])
    });
    vec![FORMAT.into(), kdf]
}

fn decode_kdf(value: &Value) -> Option<Kdf> {
    let [Value::Text(name), memory, passes, lanes, Value::Bytes(salt)] = &value.as_array()?[..]
    else {
        return None;
    };
    let small = |v| number(v).and_then(|n| u32::try_from(n).ok());
    let cost = Cost { memory_kib: small(memory)?, passes: small(passes)?, lanes: small(lanes)? };
    let salt = salt[..].try_into().ok()?;
    (name == ARGON2ID && cost.within_limits()).then_some(Kdf { cost, salt })
}

fn number(value: &Value) -> Option<u64> {
    value.as_integer().and_then(|n| u64::try_from(n).ok())
}

fn encode(fields: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    // Writing into memory cannot fail; an empty result would be refused on reading.
    if ciborium::into_writer(&fields, &mut out).is_err() {
        out.clear();
    }
    out
}

fn key(
    kdf: Option<&Kdf>,
    passphrase: Option<&Passphrase>,
    nonce: &[u8; 24],
) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
    let (Some(kdf), Some(passphrase)) = (kdf, passphrase) else {
        return Ok(Zeroizing::new(blake3::derive_key(
            "klatch v1 keystore without passphrase",
            nonce,
        )));
    };
    let too_much = KeystoreError::Resources { cause: "too little memory for the passphrase check" };
    let Ok(params) = Params::new(kdf.cost.memory_kib, kdf.cost.passes, kdf.cost.lanes, Some(32))
    else {
        return Err(too_much);
    };
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.0.as_bytes(), &kdf.salt, &mut key[..])
        .map_err(|_| too_much)?;
    Ok(key)
}

/// `[master32, identity32, device32, transport32, created_ms, name]`, by hand into a buffer that is
/// wiped.
fn encode_secrets(secrets: &Secrets) -> Zeroizing<Vec<u8>> {
    let seeds = [
        secrets.master.as_bytes(),
        secrets.identity.as_bytes(),
        secrets.device.as_bytes(),
        secrets.transport.as_bytes(),
    ];
    let mut fields: Vec<Value> = seeds.map(|seed| Value::Bytes(seed.to_vec())).into();
    fields.push(secrets.created_ms.into());
    fields.push(Value::Text(secrets.name.clone()));
    let out = Zeroizing::new(encode(&fields));
    wipe(&mut fields);
    out
}

fn decode_secrets(plain: &[u8]) -> Option<Secrets> {
    let mut fields = ciborium::from_reader::<Value, _>(plain).ok()?.into_array().ok()?;
    let secrets = read_secrets(&fields);
    wipe(&mut fields);
    secrets
}

fn read_secrets(fields: &[Value]) -> Option<Secrets> {
    let [
        Value::Bytes(master),
        Value::Bytes(identity),
        Value::Bytes(device),
        Value::Bytes(transport),
        created,
        Value::Text(name),
    ] = fields
    else {
        return None;
    };
    let seed = |bytes: &Vec<u8>| bytes[..].try_into().ok().map(Secret::from_bytes);
    Some(Secrets {
        master: MasterKey::new(seed(master)?),
        identity: seed(identity)?,
        device: seed(device)?,
        transport: seed(transport)?,
        created_ms: number(created)?,
        name: name.clone(),
    })
}

fn wipe(fields: &mut [Value]) {
    for field in fields {
        if let Value::Bytes(bytes) = field {
            bytes.zeroize();
        }
    }
}

/// Memory of this machine, where the system says so in the Linux way.
fn memory_kib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .ok()
}
