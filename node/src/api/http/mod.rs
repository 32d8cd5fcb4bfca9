//! The API over HTTP, on loopback and only when asked for: `POST /rpc`, `GET /ws`, `GET /events`,
//! `GET /healthz`, `GET /readyz`.
//!
//! Loopback is no boundary: any page in a browser can send requests there. So whoever asks must
//! name this very host, come from nowhere else, and know a token (`guard`). Connections, headers,
//! bodies and times are bounded here.

mod guard;
mod places;
mod routes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, sleep, timeout};

use super::door::LOOK;
use super::hub::{Context, raised};
use super::registry::Method;
use super::rpc::RpcError;
use super::tokens::SessionFile;
use places::{Marking, Places};

/// A request's headers must be here within this.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// And take no more than this.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// And be no more than these.
const HEADERS_MAX: usize = 64;
/// Time for the last answers to leave when it closes.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);
/// Pause when no connection can be taken.
const PAUSE: Duration = Duration::from_millis(100);

/// The HTTP server while it is open.
#[derive(Debug)]
pub(super) struct Running {
    address: SocketAddr,
    token_file: PathBuf,
    close: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    fn shown(&self) -> Value {
        json!({
            "address": self.address.to_string(),
            "url": format!("http://{}", self.address),
            "token_file": self.token_file.display().to_string(),
        })
    }
}

#[derive(Deserialize)]
struct Open {
    address: String,
}

/// `http.open`. If it is open already at that address, that is fine.
pub(super) async fn open(
    hub: &Context,
    method: &Method,
    params: Map<String, Value>,
) -> Result<Value, RpcError> {
    let p: Open = serde_json::from_value(Value::Object(params)).map_err(|e| method.mismatch(&e))?;
    let wanted = address(&p.address)?;
    let mut slot = hub.http.lock().await;
    if let Some(running) = slot.as_ref().filter(|r| !r.task.is_finished()) {
        let same = wanted.ip() == running.address.ip()
            && (wanted.port() == 0 || wanted.port() == running.address.port());
        if same {
            return Ok(running.shown());
        }
        let text = format!("HTTP is open at {} already", running.address);
        return Err(RpcError::failed(
            text,
            "KLATCH-HTTP-OPEN",
            "`http.close` first, or use that one",
            2,
        ));
    }
    let cannot = |e: std::io::Error| {
        let text = format!("cannot listen at {wanted}: {e}");
        RpcError::failed(
            text,
            "KLATCH-HTTP-ADDRESS",
            "choose another port, or leave it out for any free one",
            1,
        )
    };
    let listener = TcpListener::bind(wanted).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let session = hub.tokens.begin_session(&hub.node).await?;
    let token_file = session.path.clone();
    let (close, closing) = watch::channel(false);
    let task = tokio::spawn(accept(listener, hub.clone(), address, closing, session));
    Ok(slot.insert(Running { address, token_file, close, task }).shown())
}

/// `http.close`; whether it was open.
pub(super) async fn close(hub: &Context) -> bool {
    let Some(running) = hub.http.lock().await.take() else { return false };
    running.close.send_replace(true);
    // Bounded by what closing takes.
    let _ = running.task.await;
    hub.tokens.end_session(&hub.node, &running.token_file).await;
    true
}

/// An address of this machine's loopback, or a port there; nothing else is served.
fn address(text: &str) -> Result<SocketAddr, RpcError> {
    let hint =
        "for example 127.0.0.1:8080 or [::1]:8080; whoever is elsewhere can come through `ssh -L`";
    let parsed = text
        .parse::<u16>()
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .or_else(|_| text.parse());
    let shown: String = text.chars().take(64).collect();
    let address = parsed
        .map_err(|_| RpcError::params(format!("`{shown}` is not an address with a port"), hint))?;
    if !address.ip().is_loopback() {
        let text = format!(
            "{shown} can be reached from other machines; this API is served to this one only"
        );
        return Err(RpcError::failed(text, "KLATCH-HTTP-ADDRESS", hint, 2));
    }
    Ok(address)
}

/// What the handlers share.
#[derive(Debug)]
struct Site {
    hub: Context,
    address: SocketAddr,
    closing: watch::Receiver<bool>,
}

async fn accept(
    listener: TcpListener,
    hub: Context,
    address: SocketAddr,
    mut closing: watch::Receiver<bool>,
    session: SessionFile,
) {
    let mut look = interval(LOOK);
    let mut api_closing = hub.closing.clone();
    let site = Arc::new(Site { hub, address, closing: closing.clone() });
    let router = routes::router(site.clone());
    let places = Places::new();
    let mut connections = JoinSet::new();
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX);
    builder.max_buf_size(HEADER_BYTES_MAX).max_headers(HEADERS_MAX);
    loop {
        tokio::select! {
            () = raised(&mut closing) => break,
            () = raised(&mut api_closing) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = look.tick() => session.keep(),
            client = listener.accept() => {
                let Ok((stream, _)) = client else {
                    sleep(PAUSE).await;
                    continue;
                };
                // Without a place the connection is closed unheard.
                let Some(place) = places.take().await else { continue };
                let inner = TowerToHyperService::new(router.clone());
                let service = Marking { inner, heard: place.heard() };
                let serving = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
                let number = place.number();
                let task = connections.spawn(async move {
                    // Errors are the client's: it went away, was too slow, or spoke something else.
                    let _ = serving.await;
                    drop(place);
                });
                places.started(number, task);
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(CLOSE_TIME_MAX, all).await.is_err() {
        connections.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_served() {
        for good in ["127.0.0.1:0", "127.0.0.2:80", "[::1]:8080", "8080"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "0.0.0.0:80",
            "[::]:80",
            "192.168.1.5:80",
            "localhost:80",
            "127.0.0.1",
            "",
            "example.org:80",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
