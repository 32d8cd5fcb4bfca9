//! Follow a room through the local API of a running node and miss nothing: one JSON object per line over a Unix socket.
//! Remembers nothing itself; the number of the last message seen is all one needs to continue.
//!
//! `cargo run -p klatch-examples --bin follow -- PATH/api.sock '#lobby' [AFTER] [COUNT]`
//!
//! `klatch status --json` tells where the socket is.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let socket = args.next().context("the first argument is the node's api.sock")?;
    let room = args.next().context("the second argument is a room, such as '#lobby'")?;
    let mut after: u64 = args.next().map_or(Ok(0), |a| a.parse())?;
    let mut left: usize = args.next().map_or(Ok(usize::MAX), |a| a.parse())?;

    let (read, mut write) =
        UnixStream::connect(&socket).await.context("is the node running? `klatch up`")?.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut call = async |id: u64, params: Value| -> Result<()> {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "message.journal", "params": params});
        write.write_all(format!("{request}\n").as_bytes()).await.map_err(Into::into)
    };
    for id in 0.. {
        call(id, json!({"room": room, "after": after, "limit": 100})).await?;
        let answer: Value = serde_json::from_str(&lines.next_line().await?.context("the node has stopped")?)?;
        if let Some(error) = answer.get("error") {
            bail!("{}; {}", error["message"], error["data"]["hint"]);
        }
        let messages = answer["result"].as_array().cloned().unwrap_or_default();
        for message in &messages {
            after = message["journal"].as_u64().unwrap_or(after);
            println!("{after} {}: {}", message["name"].as_str().unwrap_or("?"), message["text"].as_str().unwrap_or(""));
            left -= 1;
            if left == 0 {
                return Ok(());
            }
        }
        if messages.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
    Ok(())
}
