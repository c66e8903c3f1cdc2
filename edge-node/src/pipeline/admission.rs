//! Bounds the number of frames that are handled at a time, and with it the memory that they take.

use std::sync::Arc;

use daemon::metrics::Raised;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Slots for frames.
pub(crate) struct Admission {
    slots: Arc<Semaphore>,
    in_flight: Gauge,
}

/// The right to handle one frame, until it is dropped.
pub(crate) struct Permit {
    _raised: Raised,
    _slot: OwnedSemaphorePermit,
}

impl Admission {
    /// `max_frames` at a time; `in_flight` shows how many there are.
    pub(crate) fn new(max_frames: usize, in_flight: Gauge) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(max_frames)),
            in_flight,
        }
    }

    /// A permit, if a slot is free.
    pub(crate) fn try_admit(&self) -> Option<Permit> {
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        slot.ok().map(|slot| self.permit(slot))
    }

    /// A permit, once a slot is free.
    pub(crate) async fn admit(&self) -> Option<Permit> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        slot.ok().map(|slot| self.permit(slot))
    }

    fn permit(&self, slot: OwnedSemaphorePermit) -> Permit {
        Permit {
            _raised: Raised::new(&self.in_flight),
            _slot: slot,
        }
    }
}
