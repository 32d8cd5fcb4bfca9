//! A token bucket: how much somebody may do per time. Time is an input.

/// Tokens left at a time.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    tokens: u64,
    at_ms: u64,
}

impl Bucket {
    /// A bucket that starts full.
    #[must_use]
    pub fn full(burst: u64, now_ms: u64) -> Self {
        Self { tokens: burst, at_ms: now_ms }
    }

    /// Takes `n` tokens if they are there. The bucket refills with `rate` tokens per `per_ms` up to
    /// `burst`.
    pub fn take(&mut self, n: u64, rate: u64, per_ms: u64, burst: u64, now_ms: u64) -> bool {
        let gained = now_ms.saturating_sub(self.at_ms).saturating_mul(rate) / per_ms.max(1);
        if gained > 0 {
            self.tokens = self.tokens.saturating_add(gained).min(burst);
            self.at_ms = now_ms;
        }
        // A clock that was set back must not freeze the bucket.
        self.at_ms = self.at_ms.min(now_ms);
        let enough = self.tokens >= n;
        if enough {
            self.tokens -= n;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let mut b = Bucket::full(3, 0);
        assert!((0..3).all(|_| b.take(1, 2, 1_000, 3, 0)));
        assert!(!b.take(1, 2, 1_000, 3, 499));
        assert!(b.take(1, 2, 1_000, 3, 500));
        assert!(!b.take(1, 2, 1_000, 3, 500));
        assert!(b.take(3, 2, 1_000, 3, 100_000));
    }
}
