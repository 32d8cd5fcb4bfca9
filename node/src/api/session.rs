//! One client, whatever way it came: its requests, its subscriptions, its rights, and what bounds
//! them.
//!
//! Requests are started in the order sent and answered as they finish, so a client that does not
//! wait for answers gets group commit.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use futures::future::{AbortHandle, abortable, join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::{Map, Value, json};
use tokio::io::AsyncRead;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::events::Subscription;
use super::framing::LineReader;
use super::hub::{Context, Counted, raised};
use super::methods;
use super::out::{Gone, Out};
use super::registry::{self, Answers, Method, Own};
use super::rights::Rights;
use super::rpc::{Incoming, Request, RpcError, response};

/// Requests of one client in work: enough to fill a few commits.
const IN_FLIGHT_MAX: usize = 256;
/// Subscriptions of one client.
const SUBSCRIPTIONS_MAX: usize = 32;

/// Where the messages of a client come from.
pub(super) trait Source: Send {
    /// The next message; `None` when the client will send no more. May be dropped and called again.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, RpcError>> + Send;
}

impl<R: AsyncRead + Unpin + Send> Source for LineReader<R> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, RpcError> {
        LineReader::next(self).await
    }
}

/// What is said when a request is done, and the key under which it could be cancelled.
type Answering = Pin<Box<dyn Future<Output = (Option<String>, Option<String>)> + Send>>;
type Bad = Box<(Value, RpcError)>;

/// One client.
pub(super) struct Session {
    hub: Context,
    rights: Rights,
    out: Out,
    in_flight: FuturesUnordered<Answering>,
    cancels: HashMap<String, AbortHandle>,
    subscriptions: HashMap<String, tokio::task::AbortHandle>,
    tasks: JoinSet<()>,
    subscribed: u64,
    /// Served for a moment: nothing that lasts is begun.
    pub(super) brief: bool,
}

impl Session {
    pub(super) fn new(hub: Context, rights: Rights, out: Out) -> Self {
        Self {
            hub,
            rights,
            out,
            in_flight: FuturesUnordered::new(),
            cancels: HashMap::new(),
            subscriptions: HashMap::new(),
            tasks: JoinSet::new(),
            subscribed: 0,
            brief: false,
        }
    }

    /// Reads and answers until the client has gone or the API closes. `half` is raised when the
    /// client sends no more.
    pub(super) async fn serve(&mut self, mut source: impl Source, half: &watch::Sender<bool>) {
        let mut closing = self.hub.closing.clone();
        let mut reading = true;
        // A client that sent its requests and closed its sending side still gets its answers and
        // events.
        while reading || !self.in_flight.is_empty() || !self.subscriptions.is_empty() {
            let room = self.in_flight.len() < IN_FLIGHT_MAX;
            let done = tokio::select! {
                () = raised(&mut closing) => break,
                Some(answer) = self.in_flight.next(), if !self.in_flight.is_empty() => self.answered(answer).await,
                message = source.next(), if reading && room => match message {
                    Ok(Some(message)) => self.take(&message).await,
                    Ok(None) => {
                        reading = false;
                        half.send_replace(true);
                        Ok(())
                    }
                    Err(error) => {
                        let _ = self.out.say(response(&Value::Null, Err(error))).await;
                        break;
                    }
                },
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.subscriptions.retain(|_, task| !task.is_finished());
                    Ok(())
                }
            };
            if done.is_err() {
                break;
            }
        }
        // What is ready leaves before the end: the answer to `node.stop` above all.
        loop {
            let next = poll_fn(|cx| Poll::Ready(self.in_flight.poll_next_unpin(cx))).await;
            let Poll::Ready(Some(answer)) = next else { break };
            if self.answered(answer).await.is_err() {
                break;
            }
        }
    }

    async fn answered(
        &mut self,
        (line, key): (Option<String>, Option<String>),
    ) -> Result<(), Gone> {
        if let Some(key) = key {
            self.cancels.remove(&key);
        }
        self.say(line).await
    }

    async fn say(&mut self, line: Option<String>) -> Result<(), Gone> {
        match line {
            Some(line) => self.out.say(line).await,
            None => Ok(()),
        }
    }

    async fn take(&mut self, message: &[u8]) -> Result<(), Gone> {
        if message.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        match Incoming::parse(message) {
            Incoming::One(Err(bad)) => self.out.say(response(&bad.0, Err(bad.1))).await,
            Incoming::One(Ok(request)) => self.one(request).await,
            Incoming::Batch(list) => {
                let (hub, rights) = (self.hub.clone(), self.rights.clone());
                self.in_flight
                    .push(Box::pin(async move { (batch(&hub, &rights, list).await, None) }));
                Ok(())
            }
        }
    }

    async fn one(&mut self, request: Request) -> Result<(), Gone> {
        let id = request.id.clone();
        let (method, params) = match find(&self.rights, request) {
            Ok(found) => found,
            Err(error) => return self.say(id.map(|id| response(&id, Err(error)))).await,
        };
        let outcome = match method.answers {
            Answers::Own(Own::Subscribe) => return self.subscribe(id, method, params).await,
            Answers::Own(Own::Unsubscribe) => {
                let sub = params.get("sub").and_then(Value::as_str).unwrap_or_default();
                let ended = self.subscriptions.remove(sub).map(|task| task.abort()).is_some();
                Ok(json!({"ended": ended}))
            }
            Answers::Own(Own::Cancel) => {
                let wanted = params.get("id").map(Value::to_string).unwrap_or_default();
                let cancelled = self.cancels.remove(&wanted).map(|task| task.abort()).is_some();
                Ok(json!({"cancelled": cancelled}))
            }
            Answers::Own(Own::Authenticate) => {
                let token = params.get("token").and_then(Value::as_str).unwrap_or_default();
                self.hub.tokens.rights(&self.hub.node, token).await.map(|rights| {
                    self.rights = rights;
                    json!({"name": self.rights.name()})
                })
            }
            _ => {
                self.begin(id, method, params);
                return Ok(());
            }
        };
        self.say(id.map(|id| response(&id, outcome))).await
    }

    /// Starts a request that may take a while.
    fn begin(&mut self, id: Option<Value>, method: &'static Method, params: Map<String, Value>) {
        let (hub, rights) = (self.hub.clone(), self.rights.clone());
        let (work, cancel) =
            abortable(async move { methods::answer(&hub, &rights, method, params).await });
        let key = id.as_ref().map(Value::to_string);
        if let Some(key) = &key {
            self.cancels.insert(key.clone(), cancel);
        }
        self.in_flight.push(Box::pin(async move {
            let outcome = work.await.unwrap_or_else(|_| Err(RpcError::cancelled()));
            (id.map(|id| response(&id, outcome)), key)
        }));
    }

    async fn subscribe(
        &mut self,
        id: Option<Value>,
        method: &Method,
        params: Map<String, Value>,
    ) -> Result<(), Gone> {
        let id = id.unwrap_or_default();
        if self.brief {
            return self.out.say(response(&id, Err(Counted::too_long()))).await;
        }
        self.subscriptions.retain(|_, task| !task.is_finished());
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let text = format!("at most {SUBSCRIPTIONS_MAX} subscriptions on one connection");
            let error =
                RpcError::failed(text, "KLATCH-API-BUSY", "one subscription takes many topics", 2);
            return self.out.say(response(&id, Err(error))).await;
        }
        self.subscribed += 1;
        let sub = format!("s{}", self.subscribed);
        let opened =
            Subscription::open(&self.hub.node, &self.rights, method, params, sub.clone()).await;
        let subscription = match opened {
            Ok(subscription) => subscription,
            Err(error) => return self.out.say(response(&id, Err(error))).await,
        };
        // The answer goes first: it names the subscription that the notifications refer to.
        self.out.say(response(&id, Ok(subscription.answer()))).await?;
        let task = self.tasks.spawn(subscription.run(self.out.clone()));
        self.subscriptions.insert(sub, task);
        Ok(())
    }
}

/// The method that a request means, if the client may call it.
fn find(
    rights: &Rights,
    request: Request,
) -> Result<(&'static Method, Map<String, Value>), RpcError> {
    let method = registry::find(&request.method)?;
    rights.may(method)?;
    Ok((method, method.check(request.params)?))
}

/// Answers a message of a client that has no connection of its own: no subscription, nothing to
/// cancel. `None` if nothing is to be said.
pub(super) async fn answer(hub: &Context, rights: &Rights, message: &[u8]) -> Option<String> {
    match Incoming::parse(message) {
        Incoming::One(request) => alone(hub, rights, request).await.map(|v| v.to_string()),
        Incoming::Batch(list) => batch(hub, rights, list).await,
    }
}

async fn batch(hub: &Context, rights: &Rights, list: Vec<Result<Request, Bad>>) -> Option<String> {
    let answers = join_all(list.into_iter().map(|request| alone(hub, rights, request))).await;
    let answers: Vec<String> = answers.into_iter().flatten().collect();
    (!answers.is_empty()).then(|| format!("[{}]", answers.join(",")))
}

async fn alone(hub: &Context, rights: &Rights, request: Result<Request, Bad>) -> Option<String> {
    let request = match request {
        Ok(request) => request,
        Err(bad) => return Some(response(&bad.0, Err(bad.1))),
    };
    let id = request.id.clone();
    let outcome = match find(rights, request) {
        Ok((method, params)) => methods::answer(hub, rights, method, params).await,
        Err(error) => Err(error),
    };
    id.map(|id| response(&id, outcome))
}
