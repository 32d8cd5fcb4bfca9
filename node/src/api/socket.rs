//! The connections on the socket: who may connect, how lines are cut, and what bounds each client.
//! The socket file itself is in `door`.
//!
//! One task per connection reads requests and answers them ([`Session`]). A second task writes, so
//! that a client that stops reading holds up its own connection only.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::door::{self, Door};
use super::framing::{LINE_TIME_MAX, LineReader};
use super::hub::{BRIEF_TIME_MAX, Context, Counted, raised};
use super::out::{Line, Out};
use super::rights::Rights;
use super::rpc::{RpcError, response};
use super::session::Session;

/// Time for the last answers to leave when the node stops.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);
/// How often a client that has finished sending is looked at, to see whether it still reads.
const GONE_CHECK: Duration = Duration::from_millis(100);

/// Takes clients until the API closes.
pub(super) async fn accept(mut door: Door, context: Context) {
    let mut connections = JoinSet::new();
    let mut closing = context.closing.clone();
    let mut look = interval(door::LOOK);
    loop {
        tokio::select! {
            () = raised(&mut closing) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = look.tick() => door.look(),
            client = door.listener.accept() => match client {
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
    door.close();
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
    Counted::client(context)
}

fn refuse(stream: UnixStream, error: RpcError) {
    let mut line = response(&Value::Null, Err(error));
    line.push('\n');
    // A fresh socket has room for one line; a client that is gone already needs none.
    let _ = stream.try_write(line.as_bytes());
}

async fn run(stream: UnixStream, context: Context, counted: Counted) {
    let (read, write) = stream.into_split();
    let (out, lines) = Out::new();
    let (half, closed) = watch::channel(false);
    let mut writer = tokio::spawn(write_lines(write, lines, closed));
    let mut session = Session::new(context, Rights::default(), out.clone());
    session.brief = counted.is_brief();
    let writer_gone = tokio::select! {
        () = session.serve(LineReader::new(read, LINE_TIME_MAX), &half) => false,
        _ = &mut writer => true,
        () = sleep(BRIEF_TIME_MAX), if counted.is_brief() => {
            let line = response(&Value::Null, Err(Counted::too_long()));
            let _ = timeout(CLOSE_TIME_MAX, out.say(line)).await;
            false
        }
    };
    drop(out);
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
