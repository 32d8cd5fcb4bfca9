//! The librarian: reads pages of history for other members and sends them, beside the driver, with
//! a reader of its own.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use klatch_core::limits::PAGE_ENTRIES_MAX;
use klatch_core::step::Serve;
use klatch_core::wire;

use crate::network::{NetCommand, NetworkHandle};
use crate::store::Reader;

/// Pages asked for and not yet read. Beyond it the asking peer is told to come back.
const QUEUE_MAX: usize = 64;

/// Starts the thread; it ends when the sender is dropped.
///
/// # Errors
/// When the system has no thread left.
pub fn spawn(
    reader: Reader,
    network: NetworkHandle,
) -> std::io::Result<(SyncSender<Serve>, JoinHandle<()>)> {
    let (sender, asked): (SyncSender<Serve>, Receiver<Serve>) = sync_channel(QUEUE_MAX);
    let thread = std::thread::Builder::new().name("klatch-serve".into()).spawn(move || {
        while let Ok(serve) = asked.recv() {
            let bytes =
                match reader.page(serve.room, &serve.after, serve.bytes_max, PAGE_ENTRIES_MAX) {
                    Ok((entries, more)) => {
                        wire::response_page(serve.proof, &entries, &serve.frontier, more)
                    }
                    Err(error) => {
                        tracing::error!(%error, "cannot read history for a member");
                        wire::response_refused()
                    }
                };
            if network.send(NetCommand::Respond { token: serve.token, bytes }).is_err() {
                break;
            }
        }
    })?;
    Ok((sender, thread))
}
