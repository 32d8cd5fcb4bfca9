//! The socket file and the connections on it: who may connect, how lines are cut, and what bounds
//! each client.
//!
//! One task per connection reads requests and answers them ([`Session`]). A second task writes, so
//! that a client that stops reading holds up its own connection only.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ApiError;
use super::framing::{LINE_TIME_MAX, LineReader};
use super::hub::{Context, Counted, raised};
use super::out::{Line, Out};
use super::rights::Rights;
use super::rpc::{RpcError, response};
use super::session::Session;

/// Clients at a time. A front end takes three connections, so this is room for some of them and for
/// scripts.
const CLIENTS_MAX: usize = 32;
/// Time for the last answers to leave when the node stops.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);
/// How often a client that has finished sending is looked at, to see whether it still reads.
const GONE_CHECK: Duration = Duration::from_millis(100);

/// Makes the folder and opens the socket in it, both for their owner only.
pub(super) fn bind(folder: &Path, path: &Path) -> Result<UnixListener, ApiError> {
    private_folder(folder)?;
    let io = |e| ApiError::Io(path.to_owned(), e);
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(io(e)),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(ApiError::Untrusted(path.to_owned(), "it is no socket"));
        }
        // Somebody may answer: ask first, and remove only what nobody listens on.
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(ApiError::InUse(path.to_owned())),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(io)?
            }
            Err(e) => return Err(io(e)),
        },
    }
    // Until its mode is set the socket is protected by its folder, whatever the umask is.
    let listener = UnixListener::bind(path).map_err(io)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
    Ok(listener)
}

/// Makes sure that a folder is real, ours, and closed to others.
///
/// # Errors
/// [`ApiError`]: it cannot be made, or belongs to somebody else.
pub fn private_folder(folder: &Path) -> Result<(), ApiError> {
    let io = |e| ApiError::Io(folder.to_owned(), e);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let meta = std::fs::symlink_metadata(folder).map_err(io)?;
    if !meta.is_dir() {
        return Err(ApiError::Untrusted(folder.to_owned(), "it is no folder"));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(ApiError::Untrusted(folder.to_owned(), "it belongs to somebody else"));
    }
    if meta.mode() & 0o777 != 0o700 {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(io)?;
    }
    Ok(())
}

/// Takes clients until the API closes.
pub(super) async fn accept(listener: UnixListener, context: Context) {
    let mut connections = JoinSet::new();
    let mut closing = context.closing.clone();
    loop {
        tokio::select! {
            () = raised(&mut closing) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            client = listener.accept() => match client {
                Ok((stream, _)) => match admit(&stream, &context) {
                    Ok(guard) => drop(connections.spawn(run(stream, context.clone(), guard))),
                    Err(error) => refuse(stream, error),
                },
                Err(error) => {
                    // Out of file descriptors, most likely: others end in time.
                    tracing::warn!(%error, "the API cannot take a client");
                    sleep(GONE_CHECK).await;
                }
            },
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(CLOSE_TIME_MAX, all).await.is_err() {
        connections.shutdown().await;
    }
}

/// Serves a single client until it has gone or the API closes.
pub(super) async fn one(stream: UnixStream, context: Context) {
    match admit(&stream, &context) {
        Ok(guard) => run(stream, context, guard).await,
        Err(error) => refuse(stream, error),
    }
}

fn admit(stream: &UnixStream, context: &Context) -> Result<Counted, RpcError> {
    let own = rustix::process::geteuid().as_raw();
    if !stream.peer_cred().is_ok_and(|c| c.uid() == own) {
        return Err(RpcError::failed(
            "this node belongs to another user",
            "KLATCH-API-USER",
            "start your own",
            4,
        ));
    }
    if let Some(counted) = Counted::new(context, CLIENTS_MAX) {
        return Ok(counted);
    }
    let mut error = RpcError::failed(
        "too many clients are attached",
        "KLATCH-API-BUSY",
        "close some and try again",
        5,
    );
    error.data.retryable = true;
    Err(error)
}

fn refuse(stream: UnixStream, error: RpcError) {
    let mut line = response(&Value::Null, Err(error));
    line.push('\n');
    // A fresh socket has room for one line; a client that is gone already needs none.
    let _ = stream.try_write(line.as_bytes());
}

async fn run(stream: UnixStream, context: Context, _guard: Counted) {
    let (read, write) = stream.into_split();
    let (out, lines) = Out::new();
    let (half, closed) = watch::channel(false);
    let mut writer = tokio::spawn(write_lines(write, lines, closed));
    let mut session = Session::new(context, Rights::default(), out);
    let writer_gone = tokio::select! {
        () = session.serve(LineReader::new(read, LINE_TIME_MAX), &half) => false,
        _ = &mut writer => true,
    };
    // Ends the subscriptions and the unanswered requests; the writer sends what is in its queue and
    // ends too.
    drop(session);
    if !writer_gone && timeout(CLOSE_TIME_MAX, &mut writer).await.is_err() {
        writer.abort();
    }
}

/// Writes lines until there are no more or the client is gone.
async fn write_lines(
    mut write: OwnedWriteHalf,
    mut lines: mpsc::Receiver<Line>,
    mut half: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Some(mut line) = line else { break };
                line.text.push('\n');
                if write.write_all(line.text.as_bytes()).await.is_err() {
                    break;
                }
            }
            () = gone(&write, &mut half) => break,
        }
    }
    let _ = write.shutdown().await;
}

/// Ends when the client has closed both directions: nobody waits for an answer any more. The reader
/// sees the first one.
async fn gone(write: &OwnedWriteHalf, half: &mut watch::Receiver<bool>) {
    if half.wait_for(|closed| *closed).await.is_err() {
        // The connection is over: what is queued still leaves.
        std::future::pending::<()>().await;
    }
    while !write.ready(Interest::WRITABLE).await.is_ok_and(|r| r.is_write_closed()) {
        sleep(GONE_CHECK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_nobody_answers_on_is_replaced_and_others_are_not() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("run");
        let path = folder.join("api.sock");
        let first = bind(&folder, &path).unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(bind(&folder, &path), Err(ApiError::InUse(_))));
        drop(first);
        let second = bind(&folder, &path).unwrap();
        drop(second);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&folder, &path), Err(ApiError::Untrusted(..))));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_link_in_place_of_the_folder_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let real = temp.path().join("real");
        std::fs::create_dir(&real).unwrap();
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(matches!(bind(&link, &link.join("api.sock")), Err(ApiError::Untrusted(..))));
    }
}
