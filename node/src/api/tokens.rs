//! Tokens: who may use the API where the socket's owner check does not reach. A token is 256 random
//! bits in a file that only its owner can read; the store keeps its hash and what it grants.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use klatch_core::ids::{Digest, base32};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::private_folder;
use super::registry::{Method, Scope};
use super::rights::{Grant, Rights, Terms};
use super::rpc::RpcError;
use crate::Node;
use crate::clock::now_ms;
use crate::store::Note;

/// Tokens of one profile.
const TOKENS_MAX: usize = 256;
/// Characters of a name.
const NAME_MAX: usize = 32;
/// What notes of tokens begin with.
const KIND: &str = "token/";
/// What tokens begin with, so that they are recognised where they should not be.
const MARK: &str = "klatch-";
/// The token that comes and goes with the HTTP server.
const SESSION: &str = "http";

/// As kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    hash: Digest,
    #[serde(flatten)]
    terms: Terms,
}

/// Hash and grant by name.
type ByName = BTreeMap<String, (Digest, Arc<Grant>)>;

/// Where the token of the HTTP server stands for the owner to read.
pub(super) struct SessionFile {
    pub(super) path: PathBuf,
    token: Zeroizing<String>,
}

impl SessionFile {
    /// Writes it again if it is gone: its folder is the system's to empty. What is there instead is
    /// left alone.
    pub(super) fn keep(&self) {
        let gone = std::fs::symlink_metadata(&self.path)
            .is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
        let folder = self.path.parent().filter(|_| gone);
        let Some(folder) = folder else { return };
        // What cannot be written now is tried again with the next look.
        if private_folder(folder).is_ok() && write(&self.path, &self.token).is_ok() {
            tracing::info!(file = %self.path.display(), "the token's file was gone; it is there again");
        }
    }
}

/// All tokens of a node.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    by_name: OnceCell<Mutex<ByName>>,
}

#[derive(Deserialize)]
struct Create {
    name: String,
    scopes: Vec<Scope>,
    room: Option<String>,
    expire_s: Option<u64>,
}

fn hash(token: &str) -> Digest {
    Digest(blake3::derive_key("klatch v1 api token", token.as_bytes()))
}

fn fresh() -> Result<String, RpcError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| {
        RpcError::failed(
            format!("no randomness: {e}"),
            "KLATCH-SYSTEM",
            "look at the system's log",
            1,
        )
    })?;
    Ok(format!("{MARK}{}", base32(&secret)))
}

/// Puts a token into a new file that only its owner can read.
fn write(path: &Path, token: &str) -> std::io::Result<()> {
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(token.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn file_error(path: &Path, error: &std::io::Error) -> RpcError {
    let text = format!("cannot write {}: {error}", path.display());
    RpcError::failed(
        text,
        "KLATCH-FILE",
        "check who owns the folder, and that the disk is not full",
        1,
    )
}

impl Tokens {
    /// The tokens, read from the store at first.
    async fn load(&self, node: &Node) -> Result<MutexGuard<'_, ByName>, RpcError> {
        let all = self.by_name.get_or_try_init(async || {
            let mut all = BTreeMap::new();
            for (_, value) in node.notes(KIND).await? {
                let Ok(kept) = serde_json::from_str::<Kept>(&value) else { continue };
                let grant = Grant { terms: kept.terms, revoked: AtomicBool::new(false) };
                all.insert(grant.terms.name.clone(), (kept.hash, Arc::new(grant)));
            }
            Ok::<_, RpcError>(Mutex::new(all))
        });
        Ok(all.await?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rights of whoever knows this token. Every hash is compared, each in constant time.
    pub(super) async fn rights(&self, node: &Node, token: &str) -> Result<Rights, RpcError> {
        let presented = hash(token.trim());
        let mut found = None;
        for (hash, grant) in self.load(node).await?.values() {
            if hash.same(&presented) {
                found = Some(grant.clone());
            }
        }
        let rights = found.map(Rights::of).filter(Rights::valid);
        rights.ok_or_else(|| {
            RpcError::unauthorised("this token is not known here, was revoked, or has expired")
        })
    }

    /// `token.create`.
    pub(super) async fn create(
        &self,
        node: &Node,
        method: &Method,
        params: Map<String, Value>,
    ) -> Result<Value, RpcError> {
        let p: Create =
            serde_json::from_value(Value::Object(params)).map_err(|e| method.mismatch(&e))?;
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if p.name.is_empty()
            || p.name.len() > NAME_MAX
            || !p.name.chars().all(fine)
            || p.name == SESSION
        {
            let hint = format!(
                "1 to {NAME_MAX} lower-case letters, digits, `-` or `_`, and not `{SESSION}`"
            );
            return Err(RpcError::params("that cannot be the name of a token", hint));
        }
        if p.scopes.is_empty() {
            return Err(RpcError::params(
                "a token without any scope is good for nothing",
                "read, send, manage, admin",
            ));
        }
        let room = match p.room {
            Some(room) => Some(node.place(&room)?.id()),
            None => None,
        };
        {
            let all = self.load(node).await?;
            if all.contains_key(&p.name) {
                let hint =
                    format!("`klatch token revoke {}` first, or choose another name", p.name);
                return Err(RpcError::failed(
                    "there is a token of that name",
                    "KLATCH-TOKEN-EXISTS",
                    hint,
                    2,
                ));
            }
            if all.len() >= TOKENS_MAX {
                let text = format!("at most {TOKENS_MAX} tokens");
                return Err(RpcError::failed(
                    text,
                    "KLATCH-TOKENS",
                    "revoke one: `klatch token list`",
                    2,
                ));
            }
        }
        let now = now_ms();
        let terms = Terms {
            name: p.name,
            scopes: p.scopes.into_iter().collect(),
            room,
            created_ms: now,
            expires_ms: p.expire_s.map(|s| now.saturating_add(s.saturating_mul(1_000))),
        };
        let folder = node.inner.home.join("tokens");
        let path = folder.join(&terms.name);
        let token = fresh()?;
        let (at, secret) = (path.clone(), token.clone());
        let written = tokio::task::spawn_blocking(move || {
            private_folder(&folder)
                .map_err(|e| RpcError::failed(e.to_string(), e.code(), e.hint(), 1))?;
            // A file without its hash in the store is what a crash leaves: it is worth nothing.
            let _ = std::fs::remove_file(&at);
            write(&at, &secret).map_err(|e| file_error(&at, &e))
        });
        written.await.map_err(|_| RpcError::from(klatch_core::error::CommandError::Stopping))??;
        let hash = hash(&token);
        let kept = Kept { hash, terms: terms.clone() };
        let value = serde_json::to_string(&kept).unwrap_or_default();
        let noted = node
            .note(vec![Note { key: format!("{KIND}{}", terms.name), value: Some(value) }])
            .await;
        if let Err(error) = noted {
            let _ = std::fs::remove_file(&path);
            return Err(error.into());
        }
        let grant = Arc::new(Grant { terms, revoked: AtomicBool::new(false) });
        self.load(node).await?.insert(grant.terms.name.clone(), (hash, grant.clone()));
        Ok(shown(&grant.terms, Some(&path)))
    }

    /// `token.list`.
    pub(super) async fn list(&self, node: &Node) -> Result<Value, RpcError> {
        let all = self.load(node).await?;
        let kept = |path: &PathBuf| path.exists();
        let path = |name: &str| Some(node.inner.home.join("tokens").join(name)).filter(kept);
        let listed = all.values().filter(|(_, g)| g.terms.name != SESSION);
        Ok(listed
            .map(|(_, grant)| shown(&grant.terms, path(&grant.terms.name).as_deref()))
            .collect())
    }

    /// `token.revoke`. Whoever uses it hears so with the next request or event.
    pub(super) async fn revoke(&self, node: &Node, name: &str) -> Result<Value, RpcError> {
        let known = self.load(node).await?.contains_key(name);
        if !known || name == SESSION {
            let hint = "`klatch token list` shows them";
            return Err(RpcError::failed(
                "there is no token of that name",
                "KLATCH-TOKEN-NOT-FOUND",
                hint,
                3,
            ));
        }
        node.note(vec![Note { key: format!("{KIND}{name}"), value: None }]).await?;
        self.forget(node, name).await?;
        let _ = std::fs::remove_file(node.inner.home.join("tokens").join(name));
        Ok(json!({"revoked": name}))
    }

    async fn forget(&self, node: &Node, name: &str) -> Result<(), RpcError> {
        if let Some((_, grant)) = self.load(node).await?.remove(name) {
            grant.revoked.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// A token with all rights that lives as long as the HTTP server. Only its file is kept, for
    /// the owner to read.
    pub(super) async fn begin_session(&self, node: &Node) -> Result<SessionFile, RpcError> {
        // Beside the socket, which may not be where it usually is.
        let socket = node.socket();
        let folder = socket.as_deref().and_then(Path::parent).unwrap_or(&node.inner.runtime);
        private_folder(folder)
            .map_err(|e| RpcError::failed(e.to_string(), e.code(), e.hint(), 1))?;
        let (token, path) = (fresh()?, folder.join("http.token"));
        let _ = std::fs::remove_file(&path);
        write(&path, &token).map_err(|e| file_error(&path, &e))?;
        let scopes = [Scope::Read, Scope::Send, Scope::Manage, Scope::Admin].into();
        let terms = Terms {
            name: SESSION.to_owned(),
            scopes,
            room: None,
            created_ms: now_ms(),
            expires_ms: None,
        };
        let grant = Arc::new(Grant { terms, revoked: AtomicBool::new(false) });
        self.load(node).await?.insert(SESSION.to_owned(), (hash(&token), grant));
        Ok(SessionFile { path, token: Zeroizing::new(token) })
    }

    /// The HTTP server is closed.
    pub(super) async fn end_session(&self, node: &Node, file: &Path) {
        // What cannot be forgotten because the store cannot be read was never known.
        let _ = self.forget(node, SESSION).await;
        let _ = std::fs::remove_file(file);
    }
}

fn shown(terms: &Terms, file: Option<&Path>) -> Value {
    let mut value = serde_json::to_value(terms).unwrap_or_default();
    value["file"] = file.map(|f| f.display().to_string()).into();
    value
}
