//! The usual time between a camera's frames, learned from its frames.

use serde::{Deserialize, Serialize};

/// Number of gaps between frames that are kept.
const GAPS: usize = 128;
/// Number of gaps that an expectation needs.
const LEARNED: usize = 15;
/// Share of the gaps that are no longer than expected. Cameras that send in bursts are silent between them.
const QUANTILE: f64 = 0.95;
/// A camera is silent after this many times its longest usual gap, so that one lost frame is no silence.
const PATIENCE: i64 = 3;

/// The gaps between a camera's frames.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rhythm {
    last_ms: Option<i64>,
    gaps_ms: Vec<i64>,
}

impl Rhythm {
    /// Adds a frame, which was captured after those before.
    pub(crate) fn beat(&mut self, captured_ms: i64) {
        if let Some(last_ms) = self.last_ms.replace(captured_ms) {
            if self.gaps_ms.len() == GAPS {
                self.gaps_ms.remove(0);
            }
            self.gaps_ms
                .push(captured_ms.saturating_sub(last_ms).max(0));
        }
    }

    /// The longest usual time between two frames in milliseconds; `None` while there are too few.
    pub(crate) fn expected_ms(&self) -> Option<i64> {
        if self.gaps_ms.len() < LEARNED {
            return None;
        }
        let mut gaps = self.gaps_ms.clone();
        gaps.sort_unstable();
        Some(gaps[((gaps.len() - 1) as f64 * QUANTILE).ceil() as usize])
    }
}

/// The time in milliseconds after which a camera with this longest usual gap is silent, `least_ms` at least.
pub(crate) fn silent_after_ms(expected_ms: i64, least_ms: i64) -> i64 {
    expected_ms.saturating_mul(PATIENCE).max(least_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(gaps: impl IntoIterator<Item = i64>) -> Option<i64> {
        let (mut rhythm, mut now) = (Rhythm::default(), 0);
        rhythm.beat(now);
        for gap in gaps {
            now += gap;
            rhythm.beat(now);
        }
        rhythm.expected_ms()
    }

    #[test]
    fn a_regular_camera_is_expected_at_its_interval() {
        assert_eq!(expected([1000; 14]), None);
        assert_eq!(expected([1000; 500]), Some(1000));
        assert_eq!(silent_after_ms(1000, 30_000), 30_000);
        assert_eq!(silent_after_ms(60_000, 30_000), 180_000);
    }

    #[test]
    fn a_camera_that_sends_in_bursts_may_pause_between_them() {
        let bursts = (0..100).map(|n| if n % 10 == 9 { 600_000 } else { 200 });
        assert_eq!(expected(bursts), Some(600_000));
    }

    #[test]
    fn one_long_pause_is_not_expected_again() {
        assert_eq!(
            expected((0..100).map(|n| if n == 50 { 600_000 } else { 200 })),
            Some(200)
        );
    }
}
