//! How often each kind of fault was caused, and the time between them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use rand::{RngExt as _, rngs::StdRng};
use tokio::time::sleep;

/// Faults by kind.
#[derive(Default)]
pub(crate) struct FaultCounts(Mutex<BTreeMap<String, u64>>);

impl FaultCounts {
    pub(crate) fn count(&self, kind: &str) {
        *self.lock().entry(kind.to_owned()).or_default() += 1;
    }

    /// By kind.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().clone()
    }

    /// All kinds together.
    pub(crate) fn total(&self) -> u64 {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().expect("no holder panics")
    }
}

/// Waits for a random time.
pub(crate) async fn pause(rng: &mut StdRng, millis: std::ops::Range<u64>) {
    sleep(Duration::from_millis(rng.random_range(millis))).await;
}
