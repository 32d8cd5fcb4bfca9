//! What is answered over HTTP, to those whom `guard` lets through.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, RawQuery, Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, body};
use futures::stream::{SplitSink, SplitStream, StreamExt};
use futures::{SinkExt, stream};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::guard::{self, Refused, json_answer, probe};
use super::{CLOSE_TIME_MAX, Site};
use crate::api::events::{After, Follower, Item};
use crate::api::framing::LINE_BYTES_MAX;
use crate::api::hub::{Counted, raised};
use crate::api::methods;
use crate::api::out::{Line, Out};
use crate::api::registry;
use crate::api::rights::Rights;
use crate::api::rpc::RpcError;
use crate::api::session::{self, Session, Source};
use crate::api::topics::{self, Filter};

/// A request's body must be here within this.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// A stream without events says that it lives this often, so that the other side notices when it
/// does not.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Topics and types of one event stream.
const FILTERS_MAX: usize = 512;

/// All routes behind the guard. A method that a route does not have is answered with 405.
pub(super) fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/rpc", post(rpc))
        .route("/ws", get(ws))
        .route("/events", get(events))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .layer(from_fn_with_state(site.clone(), guard::check))
        .with_state(site)
}

async fn healthz(State(site): State<Arc<Site>>) -> Response {
    probe(methods::health(&site.hub.node)["live"] == true, &json!([]))
}

async fn readyz(State(site): State<Arc<Site>>) -> Response {
    let health = methods::health(&site.hub.node);
    probe(health["ready"] == true, &health["why"])
}

/// One request, or a batch. What a method came to is in the answer; the status is about HTTP alone.
async fn rpc(
    State(site): State<Arc<Site>>,
    Extension(rights): Extension<Rights>,
    request: Request,
) -> Response {
    if !is_json(request.headers()) {
        let (code, hint) = ("KLATCH-HTTP-TYPE", "send `Content-Type: application/json`");
        return Refused::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            code,
            "only JSON is accepted",
            hint,
        )
        .into_response();
    }
    let message =
        match timeout(BODY_TIME_MAX, body::to_bytes(request.into_body(), LINE_BYTES_MAX)).await {
            Ok(Ok(message)) => message,
            Ok(Err(_)) => {
                let text = format!("a request has at most {LINE_BYTES_MAX} bytes");
                return Refused::of(StatusCode::PAYLOAD_TOO_LARGE, RpcError::invalid(text))
                    .into_response();
            }
            Err(_) => {
                let error = RpcError::timeout("the request did not end in time", "send it faster");
                return Refused::of(StatusCode::REQUEST_TIMEOUT, error).into_response();
            }
        };
    match session::answer(&site.hub, &rights, &message).await {
        Some(text) => json_answer(StatusCode::OK, text),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|k| k.trim().eq_ignore_ascii_case("application/json"))
}

fn busy(error: RpcError) -> Response {
    Refused::of(StatusCode::SERVICE_UNAVAILABLE, error).into_response()
}

// ---- WebSocket ----------------------------------------------------------------------------------

/// The same messages as on the socket, one per frame.
async fn ws(
    State(site): State<Arc<Site>>,
    Extension(rights): Extension<Rights>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let counted = match Counted::stream(&site.hub, &rights) {
        Ok(counted) => counted,
        Err(error) => return busy(error),
    };
    let upgrade = upgrade.max_message_size(LINE_BYTES_MAX).max_frame_size(LINE_BYTES_MAX);
    upgrade.on_upgrade(move |socket| talk(site, rights, socket, counted))
}

struct Frames(SplitStream<WebSocket>);

impl Source for Frames {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, RpcError> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Ok(Some(text.as_bytes().to_vec())),
                Some(Ok(Message::Binary(bytes))) => return Ok(Some(bytes.to_vec())),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                // A socket has no half: who closes it hears no more.
                Some(Ok(Message::Close(_))) | None => return Err(RpcError::invalid("closed")),
                Some(Err(_)) => {
                    return Err(RpcError::invalid("not a WebSocket message, or too long"));
                }
            }
        }
    }
}

async fn talk(site: Arc<Site>, rights: Rights, socket: WebSocket, _counted: Counted) {
    let (sink, frames) = socket.split();
    let (out, lines) = Out::new();
    let mut writer = tokio::spawn(write_frames(sink, lines));
    let mut session = Session::new(site.hub.clone(), rights, out);
    let (half, _closed) = watch::channel(false);
    let mut closing = site.closing.clone();
    let writer_gone = tokio::select! {
        () = session.serve(Frames(frames), &half) => false,
        () = raised(&mut closing) => false,
        _ = &mut writer => true,
    };
    drop(session);
    if !writer_gone && timeout(CLOSE_TIME_MAX, &mut writer).await.is_err() {
        writer.abort();
    }
}

async fn write_frames(mut sink: SplitSink<WebSocket, Message>, mut lines: mpsc::Receiver<Line>) {
    while let Some(line) = lines.recv().await {
        if sink.send(Message::Text(line.text.as_str().into())).await.is_err() {
            return;
        }
    }
    // The other side may have closed already.
    let _ = sink.close().await;
}

// ---- server-sent events -------------------------------------------------------------------------

/// What an event stream is asked for.
struct Wanted {
    after: After,
    filter: Filter,
}

impl Wanted {
    /// `topic` and `type` may come several times; `Last-Event-ID`, which browsers send when they
    /// come back, goes before `after`.
    fn parse(query: &str, headers: &HeaderMap, rights: &Rights) -> Result<Self, RpcError> {
        let mut wanted = Self {
            after: After::Now,
            filter: Filter { within: rights.room(), ..Filter::default() },
        };
        for (key, value) in pairs(query)? {
            match key.as_str() {
                "topic" => wanted.filter.topics.push(value),
                "type" => wanted.filter.types.push(value),
                "after" => wanted.after = After::parse(&value.into())?,
                _ => {
                    return Err(RpcError::params(
                        "/events has no such parameter",
                        "topic, type, after",
                    ));
                }
            }
        }
        if wanted.filter.topics.len() > FILTERS_MAX || wanted.filter.types.len() > FILTERS_MAX {
            return Err(RpcError::params(
                format!("at most {FILTERS_MAX} topics and types"),
                "prefixes cover many",
            ));
        }
        if let Some(last) = headers.get("last-event-id") {
            wanted.after = After::parse(&last.to_str().unwrap_or_default().into())?;
        }
        Ok(wanted)
    }
}

/// The parameters of a query.
fn pairs(query: &str) -> Result<Vec<(String, String)>, RpcError> {
    let bad =
        || RpcError::params("the query cannot be read", "for example ?topic=room/&after=start");
    let plain = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(b) = rest.next() {
            bytes.push(match b {
                b'+' => b' ',
                b'%' => {
                    let hex = [rest.next().ok_or_else(bad)?, rest.next().ok_or_else(bad)?];
                    let digit = |d: u8| char::from(d).to_digit(16).ok_or_else(bad);
                    u8::try_from(digit(hex[0])? * 16 + digit(hex[1])?).map_err(|_| bad())?
                }
                b => b,
            });
        }
        String::from_utf8(bytes).map_err(|_| bad())
    };
    let parts = query.split('&').filter(|p| !p.is_empty());
    parts
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(k, v)| Ok((plain(k)?, plain(v)?)))
        .collect()
}

struct Streaming {
    site: Arc<Site>,
    rights: Rights,
    follower: Follower,
    lines: bool,
    _counted: Counted,
}

/// Events after a cursor, then as they come: `text/event-stream`, or one JSON object per line for
/// who accepts `application/jsonl`.
async fn events(
    State(site): State<Arc<Site>>,
    Extension(rights): Extension<Rights>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let lines = headers.get(ACCEPT).is_some_and(|v| v.as_bytes().starts_with(b"application/jsonl"));
    let open = async {
        rights.may(registry::find("events.subscribe")?)?;
        let wanted = Wanted::parse(query.as_deref().unwrap_or_default(), &headers, &rights)?;
        Follower::open(&site.hub.node, wanted.after, wanted.filter, false).await
    };
    let follower = match open.await {
        Ok(follower) => follower,
        Err(error) => {
            let scope = error.data.code.starts_with("KLATCH-TOKEN");
            let status = if scope { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
            return Refused::of(status, error).into_response();
        }
    };
    let counted = match Counted::stream(&site.hub, &rights) {
        Ok(counted) => counted,
        Err(error) => return busy(error),
    };
    let kind = if lines { "application/jsonl" } else { "text/event-stream" };
    let streaming = Streaming { site: site.clone(), rights, follower, lines, _counted: counted };
    let body = Body::from_stream(stream::unfold(streaming, next));
    ([(CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response()
}

async fn next(mut s: Streaming) -> Option<(Result<Bytes, Infallible>, Streaming)> {
    let (mut closing, mut api_closing) = (s.site.closing.clone(), s.site.hub.closing.clone());
    let text = tokio::select! {
        item = s.follower.next() => {
            let item = item.ok().filter(|_| s.rights.valid())?;
            if s.lines { format!("{}\n", item.json()) } else { event(&item) }
        }
        () = sleep(KEEP_ALIVE) => if s.lines { "\n".to_owned() } else { ": still here\n\n".to_owned() },
        () = raised(&mut closing) => return None,
        () = raised(&mut api_closing) => return None,
    };
    Some((Ok(Bytes::from(text)), s))
}

/// One server-sent event. Only what is kept has an id: a client that comes back goes on after the
/// last one.
fn event(item: &Item) -> String {
    let id = item.cursor.map(|n| format!("id: {n}\n")).unwrap_or_default();
    // JSON on one line: no line break of a text can end it early.
    format!("{id}event: {}\ndata: {}\n\n", topics::kind(&item.event), item.json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let found = pairs("topic=room%2Fabc&topic=dm/&after=j:7&x=a+b%C3%A9&flag").unwrap();
        let found: Vec<(&str, &str)> =
            found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            found,
            [
                ("topic", "room/abc"),
                ("topic", "dm/"),
                ("after", "j:7"),
                ("x", "a bé"),
                ("flag", "")
            ]
        );
        for bad in ["a=%", "a=%zz", "a=%ff", "a=%2"] {
            assert!(pairs(bad).is_err(), "{bad}");
        }
    }
}
