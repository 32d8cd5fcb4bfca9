//! Wall time and randomness of the system: the only place of the node that reads either for the core.

use std::time::{SystemTime, UNIX_EPOCH};

use klatch_core::machine::Entropy;

/// Unix milliseconds now. A clock before 1970 counts as 0.
#[must_use]
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The system's random generator.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        // Without the system's generator nothing may be sealed: stopping is the only safe answer.
        if let Err(error) = getrandom::fill(out) {
            tracing::error!(%error, "no randomness from the system");
            std::process::abort();
        }
    }
}
