//! What the parts of the core work with while one input is handled: the time, randomness, who this
//! node is, and the step that they fill.

use std::sync::Arc;

use crate::directory::Directory;
use crate::event::{Event, Told};
use crate::identity::Keys;
use crate::ids::Peer;
use crate::presence::Process;
use crate::step::{DeviceRow, RequestId, Step, Write};

/// Where random bytes come from: the system in a node, a seeded generator in a simulation.
pub trait Entropy {
    /// Fills `out` with random bytes.
    fn fill(&mut self, out: &mut [u8]);

    /// A number in `low..=high`.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        let span = high.saturating_sub(low).saturating_add(1).max(1);
        low + u64::from_le_bytes(bytes) % span
    }
}

/// What a part may use while it handles an input.
pub(crate) struct Ctx<'a> {
    /// Steady milliseconds for timers: follows the wall clock, but never goes back when that is set
    /// back.
    pub now: u64,
    /// Unix milliseconds, for everything that is dated.
    pub wall: u64,
    /// Randomness.
    pub rng: &'a mut dyn Entropy,
    /// Own keys.
    pub keys: &'a Keys,
    /// Own transport peer id.
    pub me: &'a Peer,
    /// This run of the program.
    pub process: Process,
    /// Own display name.
    pub name: &'a str,
    /// Who is known.
    pub directory: &'a mut Arc<Directory>,
    /// Next journal number.
    pub journal: &'a mut u64,
    /// Next request id.
    pub request: &'a mut RequestId,
    /// Where effects go.
    pub step: &'a mut Step,
}

impl Ctx<'_> {
    /// A request id that was not used before.
    pub fn next_request(&mut self) -> RequestId {
        *self.request += 1;
        *self.request
    }

    /// Tells the user; what is not a message is forgotten with it.
    pub fn tell(&mut self, event: Event) {
        self.step.events.push(event.into());
    }

    /// Tells the user something that is kept in the journal, under the next number.
    pub fn record(&mut self, event: Event) {
        let journal = *self.journal;
        *self.journal += 1;
        self.step.writes.push(Write::Journal { journal, at_ms: self.wall, event: event.clone() });
        self.step.events.push(Told { journal: Some(journal), event });
    }

    /// Keeps what a room knows of a device, and lets the directory know.
    pub fn device(&mut self, row: &DeviceRow) {
        self.step.writes.push(Write::Device(row.clone()));
        // What is shown of the directory outside is never changed, so it is copied for news only.
        if self.directory.is_news(row) {
            Arc::make_mut(self.directory).met(row);
        }
    }

    /// A fresh random nonce.
    pub fn nonce(&mut self) -> [u8; 24] {
        let mut nonce = [0; 24];
        self.rng.fill(&mut nonce);
        nonce
    }
}
