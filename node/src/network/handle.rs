//! The driver's end of the network: a cheap, clonable handle for plain threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use klatch_core::ids::Peer;
use tokio::sync::{mpsc, oneshot};

use super::counters::{Counters, CountersSnapshot, count};
use super::message::{NetCommand, Status};
use super::settings::{COMMAND_BYTES_MAX, COMMAND_RETRY};

/// The network has ended; the command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the network has stopped")]
pub struct NetClosed;

/// Sends commands to the network task. When the last handle is dropped, the task ends.
#[derive(Debug, Clone)]
pub struct NetworkHandle {
    pub(super) commands: mpsc::Sender<NetCommand>,
    pub(super) queued_bytes: Arc<AtomicUsize>,
    pub(super) counters: Arc<Counters>,
    pub(super) peer: Peer,
}

impl NetworkHandle {
    /// Hands a command over; none is lost while the task lives. Waits while the queue is full (in
    /// number or bytes). That wait cannot last: the task drains its commands whatever the caller
    /// does with events. Call it from a plain thread; inside async code it would hold up a worker.
    ///
    /// # Errors
    /// When the task has ended.
    pub fn send(&self, command: NetCommand) -> Result<(), NetClosed> {
        let mut command = command;
        let mut waited = false;
        loop {
            command = match self.try_send(command) {
                Ok(()) => return Ok(()),
                Err(TrySend::Closed) => return Err(NetClosed),
                Err(TrySend::Full(command)) => command,
            };
            if !std::mem::replace(&mut waited, true) {
                count(&self.counters.command_waits);
            }
            thread::sleep(COMMAND_RETRY);
        }
    }

    /// What is connected, from the task itself.
    ///
    /// # Errors
    /// When the task has ended.
    pub fn status(&self) -> Result<Status, NetClosed> {
        let (reply, mut answer) = oneshot::channel();
        self.send(NetCommand::Status(reply))?;
        loop {
            match answer.try_recv() {
                Ok(status) => return Ok(status),
                Err(oneshot::error::TryRecvError::Closed) => return Err(NetClosed),
                Err(oneshot::error::TryRecvError::Empty) => thread::sleep(COMMAND_RETRY),
            }
        }
    }

    /// Totals since the start, without asking the task.
    #[must_use]
    pub fn counters(&self) -> CountersSnapshot {
        self.counters.snapshot()
    }

    /// The own transport name.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    fn try_send(&self, command: NetCommand) -> Result<(), TrySend> {
        if self.queued_bytes.load(Ordering::Relaxed) >= COMMAND_BYTES_MAX && command.weight() > 0 {
            return if self.commands.is_closed() {
                Err(TrySend::Closed)
            } else {
                Err(TrySend::Full(command))
            };
        }
        let weight = command.weight();
        self.queued_bytes.fetch_add(weight, Ordering::Relaxed);
        self.commands.try_send(command).map_err(|error| {
            self.queued_bytes.fetch_sub(weight, Ordering::Relaxed);
            match error {
                mpsc::error::TrySendError::Full(command) => TrySend::Full(command),
                mpsc::error::TrySendError::Closed(_) => TrySend::Closed,
            }
        })
    }
}

enum TrySend {
    Full(NetCommand),
    Closed,
}

/// What `spawn` found out.
#[derive(Debug)]
pub struct Started {
    /// The own transport name.
    pub peer: Peer,
    /// Tells when the task has ended.
    pub stopped: Stopped,
}

/// Waits for the end of the network task.
#[derive(Debug)]
pub struct Stopped(pub(super) std_mpsc::Receiver<()>);

impl Stopped {
    /// Waits at most that long; `true` when the task has ended and its address file is gone.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        !matches!(self.0.recv_timeout(timeout), Err(std_mpsc::RecvTimeoutError::Timeout))
    }
}
