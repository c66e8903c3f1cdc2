//! Isolation of decodings. A frame whose decoding was cut short by the end of a process is decoded alone, so that a
//! frame which ends processes can be identified.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// The decodings of this process. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Isolation {
    decoding: Arc<RwLock<()>>,
    proven: Arc<AtomicBool>,
}

/// Held by a decoding.
#[expect(dead_code, reason = "held until it is dropped")]
pub(super) enum Permit {
    Shared(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Isolation {
    /// Waits until a decoding may begin.
    pub(super) async fn enter(&self, alone: bool) -> Permit {
        let decoding = self.decoding.clone();
        match alone {
            true => Permit::Alone(decoding.write_owned().await),
            false => Permit::Shared(decoding.read_owned().await),
        }
    }

    /// Whether this process has decoded a frame to its end.
    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// Notes that this process has decoded a frame to its end.
    pub(super) fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }
}
