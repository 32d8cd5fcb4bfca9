//! Where the user wants others looked for, and where no longer: the network looks, the address book
//! remembers.

use klatch_core::error::CommandError;
use klatch_core::ids::Peer;
use libp2p::Multiaddr;
use tokio::sync::oneshot;

use crate::Node;
use crate::driver::{Driver, Work};
use crate::network::{NetCommand, Unwanted, address};

/// For the address book.
#[derive(Debug)]
pub struct Unwant {
    peers: Vec<Peer>,
    address: Option<String>,
    done: oneshot::Sender<Result<usize, CommandError>>,
}

impl Node {
    /// Looks for a peer at an address from now on. One that answers is remembered in the address
    /// book, and looked for after the next start, too.
    ///
    /// # Errors
    /// [`CommandError::Stopping`] when the network has ended.
    pub async fn want(&self, address: Multiaddr) -> Result<(), CommandError> {
        self.tell_network(NetCommand::Dial(address)).await
    }

    /// Looks there no longer, nor wherever else the address book has the peers that this concerns,
    /// until they are met again. A link that is there stays. How many addresses were forgotten;
    /// `None` if nobody was looked for there, nor remembered.
    ///
    /// # Errors
    /// [`CommandError::ReadOnly`] when the disk refuses; [`CommandError::Stopping`] when the node
    /// ends.
    pub async fn unwant(&self, whom: Unwanted) -> Result<Option<usize>, CommandError> {
        let address = match &whom {
            Unwanted::Address(there) => Some(address::split_peer(there.clone()).1.to_string()),
            Unwanted::Peer(_) => None,
        };
        let (reply, peers) = oneshot::channel();
        self.tell_network(NetCommand::Unwant(whom, reply)).await?;
        let (peers, sought) = peers.await.map_err(|_| CommandError::Stopping)?;
        let (done, answer) = oneshot::channel();
        self.give(Work::Unwant(Unwant { peers, address, done })).await?;
        let forgotten = answer.await.unwrap_or(Err(CommandError::Stopping))?;
        Ok((sought || forgotten > 0).then_some(forgotten))
    }

    /// The handle may wait for a moment, which would hold up others here.
    async fn tell_network(&self, command: NetCommand) -> Result<(), CommandError> {
        let network = self.inner.network.clone();
        let sent = tokio::task::spawn_blocking(move || network.send(command)).await;
        sent.ok().and_then(Result::ok).ok_or(CommandError::Stopping)
    }
}

impl Driver {
    pub(crate) fn unwant(&mut self, unwant: Unwant) {
        let Unwant { peers, address, done } = unwant;
        let forgotten = self
            .store
            .forget_addresses(&peers, address.as_deref())
            .map_err(|e| CommandError::ReadOnly { cause: e.cause() });
        // Who asked may have gone.
        let _ = done.send(forgotten);
    }
}
