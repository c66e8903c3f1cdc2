//! The clock of all processes that share the catalogue.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use super::catalogue::{Catalogue, CatalogueError};
use crate::clock::steady_ms;

/// The catalogue's clock as of its last reading, continued with this process's steady clock. Clones share it.
#[derive(Clone)]
pub(super) struct SharedClock {
    /// By how much the catalogue's clock is ahead of the steady clock; `i64::MIN` before the first reading.
    ahead_ms: Arc<AtomicI64>,
}

impl Default for SharedClock {
    fn default() -> Self {
        Self {
            ahead_ms: Arc::new(AtomicI64::new(i64::MIN)),
        }
    }
}

impl SharedClock {
    /// Reads the catalogue's clock, in milliseconds since the Unix epoch.
    pub(super) async fn read(&self, catalogue: &Catalogue) -> Result<i64, CatalogueError> {
        let now = catalogue.now_ms().await?;
        self.ahead_ms.store(now - steady_ms(), Ordering::Relaxed);
        Ok(now)
    }

    /// The time as of the last reading, in milliseconds since the Unix epoch; the first call reads.
    pub(super) async fn now_ms(&self, catalogue: &Catalogue) -> Result<i64, CatalogueError> {
        match self.ahead_ms.load(Ordering::Relaxed) {
            i64::MIN => self.read(catalogue).await,
            ahead => Ok(ahead + steady_ms()),
        }
    }
}
