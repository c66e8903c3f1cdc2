//! Time.

use std::{sync::OnceLock, time::Instant};

pub(crate) use daemon::clock::now_ms;

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 24 * 3_600_000;

/// Milliseconds since the first call, for waits within this process. Unlike the wall clock, this clock is never set.
pub(crate) fn steady_ms() -> i64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX)
}
