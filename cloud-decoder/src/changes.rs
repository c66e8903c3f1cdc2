//! Tells everyone who watches about every change of a frame's row, on whichever process they watch.
//!
//! Beside an embedded catalogue all happens in one process. With others, a change travels as the frame's id over NATS,
//! and each process that has watchers reads the row.

use std::sync::Arc;

use async_nats::Message;
use futures::StreamExt as _;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    bus::Bus,
    catalogue::{Catalogue, CatalogueError},
    frame::Frame,
};

/// Changes that a slow watcher may lag behind before it is told to start over.
const BUFFER: usize = 1024;
/// Subject of the changes that processes tell each other.
const SUBJECT: &str = "patchwire.changes";
/// Rows that are read at the same time.
const READS: usize = 8;

/// A changed row, or `None` when changes were missed.
pub(crate) type Change = Option<Arc<Frame>>;

/// The stream of changes.
#[derive(Clone)]
pub(crate) struct Changes {
    sender: broadcast::Sender<Change>,
    bus: Option<Bus>,
}

impl Changes {
    /// Of this process alone, or of all that share a bus.
    pub(crate) fn new(bus: Option<Bus>) -> Self {
        let sender = broadcast::channel(BUFFER).0;
        Self { sender, bus }
    }

    pub(crate) async fn publish(&self, frame: Frame) {
        match &self.bus {
            None => self.tell(Some(Arc::new(frame))),
            Some(bus) => bus.publish(SUBJECT, frame.new.id.as_bytes().to_vec()).await,
        }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.sender.subscribe()
    }

    /// Passes on to this process's watchers what all processes publish, until `stop`.
    pub(crate) async fn relay(
        self,
        catalogue: Arc<dyn Catalogue>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let Some(bus) = &self.bus else {
            return Ok(());
        };
        let mut gaps = bus.gaps();
        let read = |message: Message| {
            let (catalogue, watched) = (&catalogue, self.sender.receiver_count() > 0);
            async move {
                let frame = match Uuid::from_slice(&message.payload) {
                    Ok(id) if watched => catalogue.get(id).await?,
                    Ok(_) => None,
                    Err(_) => return Ok(Some(None)),
                };
                Ok::<_, CatalogueError>(frame.map(|frame| Some(Arc::new(frame))))
            }
        };
        let rows = bus.subscribe(SUBJECT).await?.map(read).buffered(READS);
        let mut rows = std::pin::pin!(rows);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = gaps.recv() => self.tell(None),
                row = rows.next() => match row {
                    Some(Ok(None)) => {}
                    Some(Ok(Some(change))) => self.tell(change),
                    Some(Err(error)) => {
                        tracing::warn!(%error, "a change cannot be told");
                        self.tell(None);
                    }
                    None => anyhow::bail!("the connection to NATS is closed"),
                },
            }
        }
    }

    fn tell(&self, change: Change) {
        // Nobody watching is not an error.
        self.sender.send(change).ok();
    }
}
