//! What is typed: a thread that does nothing but read the terminal hands over what it finds.
//!
//! Not crossterm's `EventStream`. It keeps the waker of the first poll that found nothing, and with
//! crossterm's usual source a key that arrives together with a change of the window's size stays
//! unread until the next key (`findings/`): the feature `use-dev-tty` asks the terminal itself
//! whether something is there.

use std::io;
use std::thread;
use std::time::Duration;

use crossterm::event::{self, Event};
use tokio::sync::mpsc;

use super::state::Input;

/// Events in one batch: a paste into a terminal that does not mark pastes comes as keys, and none
/// is longer than a text can be.
const AT_ONCE: usize = 64_000;
/// What follows within this time belongs to the same batch. Nobody types so fast, and a key waits
/// no longer for it.
const PAUSE: Duration = Duration::from_micros(300);
/// Batches that wait for the screen; then the terminal waits.
const WAITING: usize = 4;

/// What the hands do, in the order in which they do it.
#[derive(Debug)]
pub struct Typed(mpsc::Receiver<io::Result<Vec<Event>>>);

impl Typed {
    /// Begins to read the terminal, which is in raw mode. The thread ends with the first error, or
    /// with the first key after this was dropped: at the end of the program it is left behind.
    pub fn begin() -> io::Result<Self> {
        let (found, typed) = mpsc::channel(WAITING);
        thread::Builder::new().name("terminal".into()).spawn(move || {
            loop {
                let batch = batch();
                let last = batch.is_err();
                if found.blocking_send(batch).is_err() || last {
                    return;
                }
            }
        })?;
        Ok(Self(typed))
    }

    /// What was typed in one breath: at least one event.
    ///
    /// # Errors
    /// The terminal is gone.
    pub async fn next(&mut self) -> io::Result<Vec<Event>> {
        self.0.recv().await.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
    }
}

fn batch() -> io::Result<Vec<Event>> {
    let mut batch = vec![event::read()?];
    while batch.len() < AT_ONCE && event::poll(PAUSE)? {
        batch.push(event::read()?);
    }
    Ok(batch)
}

/// A batch as inputs of the fold, in its order. Keys side by side are one input, so that a paste can
/// be told from typing.
pub fn inputs(batch: Vec<Event>) -> Vec<Input> {
    let mut inputs = Vec::new();
    for event in batch {
        let input = match event {
            Event::Key(key) => match inputs.last_mut() {
                Some(Input::Keys(keys)) => {
                    keys.push(key);
                    continue;
                }
                Some(last @ &mut Input::Key(first)) => {
                    *last = Input::Keys(vec![first, key]);
                    continue;
                }
                _ => Input::Key(key),
            },
            Event::Paste(text) => Input::Paste(text),
            Event::Mouse(event) => Input::Mouse(event),
            Event::Resize(columns, rows) => Input::Resize(columns, rows),
            Event::FocusGained => Input::Focus(true),
            Event::FocusLost => Input::Focus(false),
        };
        inputs.push(input);
    }
    inputs
}
