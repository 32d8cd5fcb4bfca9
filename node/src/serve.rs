//! The librarian: reads pages of history, and bodies, for other members and sends them, beside the
//! driver, with a reader of its own.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use klatch_core::limits::PAGE_ENTRIES_MAX;
use klatch_core::step::{Lend, Serve};
use klatch_core::wire;

use crate::driver::Work;
use crate::network::{NetCommand, NetworkHandle};
use crate::store::Reader;

/// Pages asked for and not yet read. Beyond it the asking peer is told to come back.
const QUEUE_MAX: usize = 64;

/// What the librarian is asked for.
#[derive(Debug)]
pub enum Errand {
    /// A page of history.
    Page(Serve),
    /// Bodies.
    Bodies(Lend),
}

impl Errand {
    /// The request to answer.
    #[must_use]
    pub fn token(&self) -> u64 {
        match self {
            Self::Page(serve) => serve.token,
            Self::Bodies(lend) => lend.token,
        }
    }
}

/// Starts the thread; it ends when the sender is dropped.
///
/// # Errors
/// When the system has no thread left.
pub fn spawn(
    reader: Reader,
    network: NetworkHandle,
    work: SyncSender<Work>,
) -> std::io::Result<(SyncSender<Errand>, JoinHandle<()>)> {
    let (sender, asked): (SyncSender<Errand>, Receiver<Errand>) = sync_channel(QUEUE_MAX);
    let thread = std::thread::Builder::new().name("klatch-serve".into()).spawn(move || {
        while let Ok(errand) = asked.recv() {
            let token = errand.token();
            let bytes = answer(&reader, &errand).unwrap_or_else(|error| {
                tracing::error!(%error, "cannot read history for a member");
                wire::response_refused()
            });
            let doubts = reader.take_doubts();
            if !doubts.is_empty() {
                // If the driver is too busy, whoever reads them next says it again.
                let _ = work.try_send(Work::Doubt(doubts));
            }
            if network.send(NetCommand::Respond { token, bytes }).is_err() {
                break;
            }
        }
    })?;
    Ok((sender, thread))
}

fn answer(reader: &Reader, errand: &Errand) -> Result<Vec<u8>, crate::store::StoreError> {
    match errand {
        Errand::Page(serve) => {
            let (entries, more) =
                reader.page(serve.room, &serve.after, serve.bytes_max, PAGE_ENTRIES_MAX)?;
            Ok(wire::response_page(serve.proof, &entries, &serve.frontier, more))
        }
        Errand::Bodies(lend) => {
            let bodies = reader.bodies_of(lend.room, &lend.entries)?;
            Ok(wire::response_bodies(lend.proof, &bodies))
        }
    }
}
