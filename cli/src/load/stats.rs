//! Statistics of all nodes of a load.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use uplink::Outcome;

/// Longest latency that the histogram holds, in microseconds: an hour.
const MAX_LATENCY_US: u64 = 3600 * 1_000_000;
/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// Counts of a fixed size, independent of the load.
#[derive(Default)]
pub(super) struct Stats(Mutex<Counts>);

/// All counts.
#[derive(Clone)]
pub(super) struct Counts {
    /// Frames that were due.
    pub(super) offered: u64,
    /// Frames that their node had no room for.
    pub(super) overflowed: u64,
    pub(super) accepted: u64,
    pub(super) duplicates: u64,
    pub(super) refused: u64,
    pub(super) first_refusal: Option<String>,
    /// From when a frame was due to its ack, in microseconds.
    pub(super) latency: Histogram<u64>,
    pub(super) missed_heartbeats: u64,
    pub(super) longest_silence: Duration,
    pub(super) streams_lost: u64,
    pub(super) first_loss: Option<String>,
    pub(super) reconnects: u64,
    pub(super) drained: u64,
}

impl Default for Counts {
    fn default() -> Self {
        let latency = Histogram::new_with_max(MAX_LATENCY_US, DIGITS);
        Self {
            offered: 0,
            overflowed: 0,
            accepted: 0,
            duplicates: 0,
            refused: 0,
            first_refusal: None,
            latency: latency.expect("the bounds are constants that it takes"),
            missed_heartbeats: 0,
            longest_silence: Duration::ZERO,
            streams_lost: 0,
            first_loss: None,
            reconnects: 0,
            drained: 0,
        }
    }
}

impl Stats {
    /// Forgets everything before the load, such as silences while the nodes connected.
    pub(super) fn begin(&self) {
        *self.lock() = Counts::default();
    }

    /// A frame is due.
    pub(super) fn offered(&self) {
        self.lock().offered += 1;
    }

    /// Its node has no room for it.
    pub(super) fn overflowed(&self) {
        self.lock().overflowed += 1;
    }

    /// The cloud has answered a frame, `latency` after it was due.
    pub(super) fn acknowledged(&self, outcome: &Outcome, latency: Duration) {
        let mut counts = self.lock();
        match outcome {
            Outcome::Rejected { reason } => {
                counts.refused += 1;
                counts.first_refusal.get_or_insert_with(|| reason.clone());
                return;
            }
            Outcome::Duplicate => counts.duplicates += 1,
            Outcome::Accepted { .. } => counts.accepted += 1,
        }
        counts.latency.saturating_record(latency.as_micros() as u64);
    }

    /// A connection was silent for so long; `missed` if that is longer than a heartbeat allows.
    pub(super) fn silent(&self, silence: Duration, missed: bool) {
        let mut counts = self.lock();
        counts.longest_silence = counts.longest_silence.max(silence);
        counts.missed_heartbeats += u64::from(missed);
    }

    /// A stream broke or could not be opened.
    pub(super) fn lost(&self, reason: &str) {
        let mut counts = self.lock();
        counts.streams_lost += 1;
        counts.first_loss.get_or_insert_with(|| reason.to_owned());
    }

    /// A node has a stream. The first streams are opened before [`begin`](Self::begin), so these are reconnects.
    pub(super) fn connected(&self) {
        self.lock().reconnects += 1;
    }

    /// The cloud asked for a stream to end.
    pub(super) fn drained(&self) {
        self.lock().drained += 1;
    }

    /// The counts now.
    pub(super) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
