//! Limits for each edge node.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use daemon::rate::Rates;

/// Most open streams of one node: enough for a node that reconnects over a flapping link before the server notices that
/// its old streams are dead.
pub(super) const MAX_STREAMS: u32 = 32;

/// Streams and frames of each node.
pub(crate) struct Quotas {
    frames: Option<Rates>,
    // As many as there are open streams, at most.
    streams: Arc<Mutex<HashMap<Arc<str>, u32>>>,
}

/// An open stream of a node.
pub(super) struct OpenStream {
    node: Arc<str>,
    streams: Arc<Mutex<HashMap<Arc<str>, u32>>>,
}

impl Quotas {
    /// Each node may send `rate` frames per second, and `burst` at once; any number without a rate.
    pub(crate) fn new(rate: Option<f64>, burst: u32) -> Self {
        Self {
            frames: rate.map(|rate| Rates::new(rate, burst)),
            streams: Arc::default(),
        }
    }

    /// Counts one more stream of a node; `None` when it has the most allowed.
    pub(super) fn open_stream(&self, node: Arc<str>) -> Option<OpenStream> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let open = streams.entry(node.clone()).or_default();
        if *open == MAX_STREAMS {
            return None;
        }
        *open += 1;
        drop(streams);
        let streams = self.streams.clone();
        Some(OpenStream { node, streams })
    }

    /// Time that a frame which has just arrived from a node must wait, if any.
    pub(super) fn wait(&self, node: &str) -> Option<Duration> {
        let frames = self.frames.as_ref()?;
        frames.take(node, Instant::now()).err()
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = streams.get_mut(&self.node) {
            *open -= 1;
            if *open == 0 {
                streams.remove(&self.node);
            }
        }
    }
}
