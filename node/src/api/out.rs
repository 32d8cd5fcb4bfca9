//! Lines on their way to one client, bounded in number and in bytes: a client that does not read
//! holds up itself only.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Answers and notifications waiting for one client to read.
const LINES_MAX: usize = 64;
/// Bytes of them. A longer line waits until it is alone.
const BYTES_MAX: u32 = 1 << 20;

/// Where lines are put. Clones lead to the same client.
#[derive(Debug, Clone)]
pub(super) struct Out {
    lines: mpsc::Sender<Line>,
    room: Arc<Semaphore>,
}

/// A line without its break, and the room that it takes until it is dropped.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: String,
    _room: OwnedSemaphorePermit,
}

/// The client is gone.
#[derive(Debug)]
pub(super) struct Gone;

impl Out {
    pub(super) fn new() -> (Self, mpsc::Receiver<Line>) {
        let (lines, queue) = mpsc::channel(LINES_MAX);
        (Self { lines, room: Arc::new(Semaphore::new(BYTES_MAX as usize)) }, queue)
    }

    /// Queues a line, as soon as there is room.
    pub(super) async fn say(&self, text: String) -> Result<(), Gone> {
        let bytes = u32::try_from(text.len()).unwrap_or(BYTES_MAX).min(BYTES_MAX);
        let room = tokio::select! {
            room = self.room.clone().acquire_many_owned(bytes) => room.map_err(|_| Gone)?,
            () = self.lines.closed() => return Err(Gone),
        };
        self.lines.send(Line { text, _room: room }).await.map_err(|_| Gone)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn bytes_are_bounded_and_room_comes_back_with_reading() {
        let (out, mut lines) = Out::new();
        let large = "x".repeat(BYTES_MAX as usize / 2);
        out.say(large.clone()).await.unwrap();
        out.say(large.clone()).await.unwrap();
        assert!(timeout(Duration::from_millis(20), out.say("y".into())).await.is_err(), "no room");
        drop(lines.recv().await.unwrap());
        out.say("y".into()).await.unwrap();
        drop((lines.recv().await, lines.recv().await));
        out.say("z".repeat(BYTES_MAX as usize * 3)).await.unwrap();
        let waiting = tokio::spawn(async move { out.say("late".into()).await });
        drop(lines);
        assert!(
            waiting.await.unwrap().is_err(),
            "a client that is gone frees whoever waits for it"
        );
    }
}
