//! The socket file and the connections on it: who may connect, how lines are cut, and what bounds each client.
//!
//! One task per connection reads requests and answers them. Requests of one client are started in the order sent and
//! answered as they finish, so a client that does not wait for answers gets group commit. A second task writes, so that a
//! client that stops reading holds up its own connection only.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWriteExt, Interest};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::events::Subscription;
use super::framing::{LINE_TIME_MAX, LineReader};
use super::out::{Gone, Line, Out};
use super::registry::{self, Answers, Method, Own};
use super::rights::Rights;
use super::rpc::{Request, RpcError, response};
use super::{ApiError, methods};
use crate::Node;

/// Clients at a time. A front end takes three connections, so this is room for some of them and for scripts.
const CLIENTS_MAX: usize = 32;
/// Requests of one client in work: enough to fill a few commits.
const IN_FLIGHT_MAX: usize = 256;
/// Subscriptions of one client.
const SUBSCRIPTIONS_MAX: usize = 32;
/// Time for the last answers to leave when the node stops.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);
/// How often a client that has finished sending is looked at, to see whether it still reads.
const GONE_CHECK: Duration = Duration::from_millis(100);

/// What every connection shares.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) node: Node,
    pub(super) stop: watch::Sender<bool>,
    pub(super) closing: watch::Receiver<bool>,
    pub(super) clients: watch::Sender<usize>,
}

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
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(io)?,
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
                    Ok(guard) => drop(connections.spawn(Connection::run(stream, context.clone(), guard))),
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
        Ok(guard) => Connection::run(stream, context, guard).await,
        Err(error) => refuse(stream, error),
    }
}

/// Counts a client for as long as it lives.
struct Counted(watch::Sender<usize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n = n.saturating_sub(1));
    }
}

fn admit(stream: &UnixStream, context: &Context) -> Result<Counted, RpcError> {
    let own = rustix::process::geteuid().as_raw();
    if !stream.peer_cred().is_ok_and(|c| c.uid() == own) {
        return Err(RpcError::failed("this node belongs to another user", "KLATCH-API-USER", "start your own", 4));
    }
    let mut admitted = false;
    context.clients.send_if_modified(|n| {
        admitted = *n < CLIENTS_MAX;
        *n += usize::from(admitted);
        admitted
    });
    if admitted {
        return Ok(Counted(context.clients.clone()));
    }
    let mut error = RpcError::failed("too many clients are attached", "KLATCH-API-BUSY", "close some and try again", 5);
    error.data.retryable = true;
    Err(error)
}

fn refuse(stream: UnixStream, error: RpcError) {
    let mut line = response(&Value::Null, Err(error));
    line.push('\n');
    // A fresh socket has room for one line; a client that is gone already needs none.
    let _ = stream.try_write(line.as_bytes());
}

type Answering = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

struct Connection {
    context: Context,
    out: Out,
    in_flight: FuturesUnordered<Answering>,
    subscriptions: HashMap<String, AbortHandle>,
    tasks: JoinSet<()>,
    subscribed: u64,
}

impl Connection {
    async fn run(stream: UnixStream, context: Context, _guard: Counted) {
        let (read, write) = stream.into_split();
        let (out, lines) = Out::new();
        let (half, closed) = watch::channel(false);
        let mut writer = tokio::spawn(write_lines(write, lines, closed));
        let mut connection = Self {
            context,
            out,
            in_flight: FuturesUnordered::new(),
            subscriptions: HashMap::new(),
            tasks: JoinSet::new(),
            subscribed: 0,
        };
        let writer_gone = tokio::select! {
            () = connection.serve(LineReader::new(read, LINE_TIME_MAX), &half) => false,
            _ = &mut writer => true,
        };
        // Ends the subscriptions and the unanswered requests; the writer sends what is in its queue and ends too.
        drop(connection);
        if !writer_gone && timeout(CLOSE_TIME_MAX, &mut writer).await.is_err() {
            writer.abort();
        }
    }

    /// Reads and answers until the client has gone or the API closes.
    async fn serve<R: AsyncRead + Unpin>(&mut self, mut reader: LineReader<R>, half: &watch::Sender<bool>) {
        let mut closing = self.context.closing.clone();
        let mut reading = true;
        // A client that sent its requests and closed its sending side still gets its answers and events.
        while reading || !self.in_flight.is_empty() || !self.subscriptions.is_empty() {
            let room = self.in_flight.len() < IN_FLIGHT_MAX;
            let done = tokio::select! {
                () = raised(&mut closing) => break,
                Some(answer) = self.in_flight.next(), if !self.in_flight.is_empty() => say(&self.out, answer).await,
                line = reader.next(), if reading && room => match line {
                    Ok(Some(line)) => self.request(&line).await,
                    Ok(None) => {
                        reading = false;
                        half.send_replace(true);
                        Ok(())
                    }
                    Err(error) => {
                        let _ = say(&self.out, Some(response(&Value::Null, Err(error)))).await;
                        break;
                    }
                },
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => Ok(()),
            };
            if done.is_err() {
                break;
            }
        }
        // What is ready leaves before the end: the answer to `node.stop` above all.
        while let Some(Some(answer)) = futures::FutureExt::now_or_never(self.in_flight.next()) {
            if say(&self.out, answer).await.is_err() {
                break;
            }
        }
    }

    async fn request(&mut self, line: &[u8]) -> Result<(), Gone> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let request = match Request::parse(line) {
            Ok(request) => request,
            Err(refused) => {
                let (id, error) = *refused;
                return say(&self.out, Some(response(&id, Err(error)))).await;
            }
        };
        let id = request.id;
        let outcome = registry::find(&request.method).and_then(|m| Ok((m, m.check(request.params)?)));
        let (method, params) = match outcome {
            Ok(found) => found,
            Err(error) => return say(&self.out, id.map(|id| response(&id, Err(error)))).await,
        };
        match method.answers {
            Answers::Own(Own::Subscribe) => self.subscribe(id, method, params).await,
            Answers::Own(Own::Unsubscribe) => {
                let sub = params.get("sub").and_then(Value::as_str).unwrap_or_default();
                let ended = self.subscriptions.remove(sub).map(|task| task.abort()).is_some();
                say(&self.out, id.map(|id| response(&id, Ok(json!({"ended": ended}))))).await
            }
            Answers::Own(Own::Stop) => {
                let said = say(&self.out, id.map(|id| response(&id, Ok(json!({"stopping": true}))))).await;
                self.context.stop.send_replace(true);
                said
            }
            _ => {
                let node = self.context.node.clone();
                self.in_flight.push(Box::pin(async move {
                    let outcome = methods::answer(&node, method, params).await;
                    id.map(|id| response(&id, outcome))
                }));
                Ok(())
            }
        }
    }

    async fn subscribe(
        &mut self,
        id: Option<Value>,
        method: &Method,
        params: serde_json::Map<String, Value>,
    ) -> Result<(), Gone> {
        let id = id.unwrap_or_default();
        self.subscriptions.retain(|_, task| !task.is_finished());
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let text = format!("at most {SUBSCRIPTIONS_MAX} subscriptions on one connection");
            let error = RpcError::failed(text, "KLATCH-API-BUSY", "one subscription takes many topics", 2);
            return say(&self.out, Some(response(&id, Err(error)))).await;
        }
        self.subscribed += 1;
        let sub = format!("s{}", self.subscribed);
        let subscription =
            match Subscription::open(&self.context.node, &Rights::default(), method, params, sub.clone()).await {
                Ok(subscription) => subscription,
                Err(error) => return say(&self.out, Some(response(&id, Err(error)))).await,
            };
        // The answer goes first: it names the subscription that the notifications refer to.
        say(&self.out, Some(response(&id, Ok(subscription.answer())))).await?;
        let task = self.tasks.spawn(subscription.run(self.out.clone()));
        self.subscriptions.insert(sub, task);
        Ok(())
    }
}

/// Queues a line for the writer, if there is one to say.
async fn say(out: &Out, line: Option<String>) -> Result<(), Gone> {
    match line {
        Some(line) => out.say(line).await,
        None => Ok(()),
    }
}

/// Waits for a flag; if whoever could raise it is gone, it is as good as raised.
async fn raised(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|f| *f).await;
}

/// Writes lines until there are no more or the client is gone.
async fn write_lines(mut write: OwnedWriteHalf, mut lines: mpsc::Receiver<Line>, mut half: watch::Receiver<bool>) {
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

/// Ends when the client has closed both directions: nobody waits for an answer any more. The reader sees the first one.
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
