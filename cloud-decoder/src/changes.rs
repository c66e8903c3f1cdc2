//! Tells everyone who watches about every change of a frame's row.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::frame::Frame;

/// Changes that a slow watcher may lag behind before it is told to start over.
const BUFFER: usize = 1024;

/// The service's stream of changes.
#[derive(Clone)]
pub(crate) struct Changes {
    sender: broadcast::Sender<Arc<Frame>>,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::channel(BUFFER).0,
        }
    }

    pub(crate) fn publish(&self, frame: Frame) {
        // Nobody watching is not an error.
        self.sender.send(Arc::new(frame)).ok();
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Frame>> {
        self.sender.subscribe()
    }
}
