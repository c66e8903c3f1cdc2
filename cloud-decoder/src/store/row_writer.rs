//! The one writer of new rows: rows of many streams go into one transaction.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{
    catalogue::{Catalogue, FrameRows},
    change_feed::ChangeFeed,
    content::{Insertion, same_content},
    error::StoreError,
    queue::{Queue, QueueError},
    shared_clock::SharedClock,
};
use crate::frame::{Frame, FrameState, NewFrame};

/// Most rows in one transaction, and most rows that wait for the next one.
const BATCH: usize = 64;

type Answer = Result<Insertion, Arc<StoreError>>;

/// Sends rows to the writer.
#[derive(Clone)]
pub(super) struct NewRows(mpsc::Sender<(NewFrame, oneshot::Sender<Answer>)>);

/// A row that is being written.
pub(super) struct Writing(oneshot::Receiver<Answer>);

impl NewRows {
    /// Hands a row over. Rows are written in the order in which this is called.
    pub(super) async fn write(&self, row: NewFrame) -> Result<Writing, StoreError> {
        let (answer, written) = oneshot::channel();
        let sent = self.0.send((row, answer)).await;
        sent.map_err(|_| StoreError::Closed)?;
        Ok(Writing(written))
    }
}

impl Writing {
    /// Returns once the row is durable, or is known not to be written.
    pub(super) async fn done(self) -> Result<Insertion, StoreError> {
        let answer = self.0.await.map_err(|_| StoreError::Closed)?;
        answer.map_err(StoreError::Batch)
    }
}

/// Writes rows, offers their frames to the decoder, and publishes them.
pub(super) struct RowWriter {
    pub(super) catalogue: Catalogue,
    pub(super) rows: FrameRows,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) changes: ChangeFeed,
    pub(super) clock: SharedClock,
}

impl RowWriter {
    pub(super) fn start(self) -> NewRows {
        let (sender, mut receiver) = mpsc::channel(BATCH);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(BATCH);
            while receiver.recv_many(&mut batch, BATCH).await > 0 {
                let (rows, answers): (Vec<_>, Vec<oneshot::Sender<Answer>>) =
                    batch.drain(..).unzip();
                let answered = match self.write(rows).await {
                    Ok(insertions) => insertions.into_iter().map(Ok).collect(),
                    Err(error) => vec![Err(Arc::new(error)); answers.len()],
                };
                for (answer, insertion) in answers.into_iter().zip(answered) {
                    // If the stream is gone, no one waits for the answer: its edge node will send the frame again.
                    answer.send(insertion).ok();
                }
            }
        });
        NewRows(sender)
    }

    async fn write(&self, mut frames: Vec<NewFrame>) -> Result<Vec<Insertion>, StoreError> {
        let now = self.clock.read(&self.catalogue).await?;
        for frame in &mut frames {
            frame.received_ms = now;
        }
        let rows = self.rows.insert(frames.clone()).await?;
        let mut insertions = Vec::with_capacity(rows.len());
        let mut kept = Vec::with_capacity(rows.len());
        for (row, new) in rows.iter().zip(&frames) {
            if let Some(frame) = row {
                kept.push(frame.clone());
                insertions.push(Insertion::New);
                continue;
            }
            // Another process may have stored the frame just now, and have ended before it offered it.
            let other = self.catalogue.get(new.id).await?;
            let same = other.as_ref().is_none_or(|other| same_content(other, new));
            insertions.push(match same {
                true => Insertion::Duplicate,
                false => Insertion::Conflict,
            });
            kept.extend(other);
        }
        let offered = offer(&*self.queue, &kept).await;
        for frame in rows.into_iter().flatten() {
            self.changes.publish(frame).await;
        }
        offered?;
        Ok(insertions)
    }
}

/// Offers those frames that wait for the decoder.
pub(super) async fn offer(queue: &dyn Queue, frames: &[Frame]) -> Result<(), QueueError> {
    let waiting = frames.iter().filter(|f| f.state == FrameState::Queued);
    let waiting: Vec<_> = waiting.cloned().collect();
    match waiting.is_empty() {
        true => Ok(()),
        false => queue.offer(&waiting, false).await,
    }
}
