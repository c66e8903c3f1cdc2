//! Random waits between attempts.

use std::time::Duration;

/// Waits between zero and a bound that doubles with each failure ("full jitter").
#[derive(Clone, Debug)]
pub struct Backoff {
    min_ms: u64,
    max_ms: u64,
    failures: u32,
}

impl Backoff {
    /// The bound begins at `min_ms` milliseconds and grows to `max_ms`.
    pub fn new(min_ms: u64, max_ms: u64) -> Self {
        Self {
            min_ms,
            max_ms,
            failures: 0,
        }
    }

    /// How long to wait after one more failure.
    pub fn wait(&mut self) -> Duration {
        let bound = self.min_ms.saturating_mul(1 << self.failures.min(32));
        self.failures += 1;
        Duration::from_millis(rand::random_range(0..=bound.min(self.max_ms)))
    }

    /// Begins again at the smallest bound.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}
