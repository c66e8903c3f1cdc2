//! The queue in NATS JetStream, shared by any number of processes.
//!
//! A message is a frame id; the row in PostgreSQL says what the frame is, how often it was tried, and whether it still
//! waits. Live frames and the backlog of edge nodes that were disconnected are two subjects of one work-queue stream. A
//! message stays until its frame's outcome is in the catalogue: a worker sends a heartbeat every few seconds, and when
//! it dies another worker gets the message. A row records when it was last offered: rows that are older than the oldest
//! message in the stream have lost their message. A stream that is gone with all its servers' disks is made again, and
//! filled from the rows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream::{
    self, AckKind, Context, Message,
    consumer::PullConsumer,
    message::{Acker, PublishMessage},
    stream::Stream,
};
use futures::StreamExt as _;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::async_trait;
use uuid::Uuid;

use super::{
    contract::{Claim, Queue, QueueError, WAIT, failed},
    held::Held,
    stuck_messages,
    topology::{BACKLOG, LIVE, Opened, open},
    watcher::Watcher,
};
use crate::{
    clock::{now_ms, steady_ms},
    frame::Frame,
    store::catalogue::{AttemptEnd, Catalogue, Database, FrameRows},
};

/// A frame that arrives this long after its capture, in milliseconds, is backlog.
const LATE_MS: i64 = 60_000;
/// Longest time for an answer of JetStream. A message that comes later is delivered again, as if its worker were dead.
const ANSWER: Duration = Duration::from_secs(5);
/// Milliseconds without an answer after which the queue counts as gone.
const SILENT_MS: i64 = 8_000;
/// Longest between a row's time of offer and its message's, in milliseconds, the difference of the clocks included.
const OFFER_MS: i64 = 60_000;
/// Frames offered again at once.
const BATCH: u32 = 500;
/// Pause before a message whose row could not be read is delivered again.
const UNREAD: Duration = Duration::from_secs(1);

/// [`Queue`] in JetStream beside a [`Database`] in PostgreSQL.
pub struct JetStreamQueue {
    catalogue: Catalogue,
    rows: FrameRows,
    context: Context,
    stream: Stream<()>,
    live: PullConsumer,
    backlog: PullConsumer,
    max_frames: u64,
    capacity: watch::Receiver<bool>,
    /// When stream and consumers were last seen, by the steady clock.
    seen: Arc<AtomicI64>,
    /// Creation time of the stream that holds all waiting frames.
    refilled: AtomicI64,
    // Ends with the queue.
    _watching: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl JetStreamQueue {
    /// Makes sure that stream and consumers are there; the stream takes no more than `max_frames`. Waits for a cluster
    /// that is still electing its leader.
    ///
    /// # Errors The server refuses to make them, or JetStream is not ready within 30 seconds.
    pub async fn open(
        client: async_nats::Client,
        database: Database,
        max_frames: u64,
    ) -> Result<Self, QueueError> {
        let context = jetstream::new(client);
        let Opened {
            stream,
            live,
            backlog,
        } = open(&context, max_frames).await?;
        let (told, capacity) = watch::channel(true);
        let seen = Arc::new(AtomicI64::new(steady_ms()));
        let watcher = Watcher {
            context: context.clone(),
            stream: stream.clone(),
            consumers: [live.clone(), backlog.clone()],
            max_frames,
            capacity: told,
            seen: seen.clone(),
        };
        let watching = tokio::spawn(watcher.run());
        let made = created_ns(&stream).await?;
        Ok(Self {
            catalogue: Catalogue(database.clone()),
            rows: FrameRows(database),
            context,
            stream,
            live,
            backlog,
            max_frames,
            capacity,
            seen,
            refilled: AtomicI64::new(made),
            _watching: AbortOnDrop(watching),
        })
    }

    /// The next message. A server that dies meanwhile leaves the request without an answer.
    async fn next(&self) -> Result<Option<Message>, QueueError> {
        let pulled = timeout(ANSWER, self.pull()).await;
        pulled.unwrap_or_else(|late| Err(failed("taking a frame")(late)))
    }

    /// The same, live frames before backlog, without a time limit.
    async fn pull(&self) -> Result<Option<Message>, QueueError> {
        let what = "taking a frame";
        for consumer in [&self.live, &self.backlog] {
            let mut waiting = consumer
                .fetch()
                .max_messages(1)
                .messages()
                .await
                .map_err(failed(what))?;
            if let Some(message) = waiting.next().await {
                return message.map(Some).map_err(failed(what));
            }
        }
        let mut coming = self
            .live
            .batch()
            .max_messages(1)
            .expires(WAIT)
            .messages()
            .await
            .map_err(failed(what))?;
        let message = coming.next().await.transpose();
        message.map_err(failed(what))
    }

    /// The claim on a message's frame; `None` when the frame no longer waits.
    async fn claim(&self, message: Message) -> Result<Option<Claim>, QueueError> {
        let (message, acker) = message.split();
        let Ok(id) = Uuid::from_slice(&message.payload) else {
            tracing::error!("the decode queue has a message that is no frame id");
            acknowledge(&acker, AckKind::Term).await?;
            return Ok(None);
        };
        match self.rows.begin(id).await {
            Ok(Some(frame)) => Ok(Some(Claim {
                frame,
                held: Some(Held::new(acker)),
            })),
            Ok(None) => {
                acknowledge(&acker, AckKind::Ack).await?;
                Ok(None)
            }
            Err(error) => {
                acknowledge(&acker, AckKind::Nak(Some(UNREAD))).await?;
                Err(error.into())
            }
        }
    }
}

#[async_trait]
impl Queue for JetStreamQueue {
    async fn offer(&self, frames: &[Frame], again: bool) -> Result<(), QueueError> {
        let what = "offering a frame";
        let mut acks = Vec::with_capacity(frames.len());
        for frame in frames {
            let new = &frame.new;
            let late = new.received_ms.saturating_sub(new.captured_ms) > LATE_MS;
            let subject = if late || again { BACKLOG } else { LIVE };
            let message = PublishMessage::build().payload(new.id.as_bytes().to_vec().into());
            let message = match again {
                false => message.message_id(new.id.to_string()),
                true => message.message_id(format!("{}-{}", new.id, now_ms())),
            };
            let ack = self.context.send_publish(subject, message).await;
            acks.push(ack.map_err(failed(what))?);
        }
        for ack in acks {
            ack.await.map_err(failed(what))?;
        }
        Ok(())
    }

    async fn take(&self, stop: &CancellationToken) -> Result<Option<Claim>, QueueError> {
        while !stop.is_cancelled() {
            let Some(message) = self.next().await? else {
                return Ok(None);
            };
            if let Some(claim) = self.claim(message).await? {
                return Ok(Some(claim));
            }
        }
        Ok(None)
    }

    async fn done(&self, claim: Claim) -> Result<(), QueueError> {
        match &claim.held {
            None => Ok(()),
            Some(held) => acknowledge(&held.acker, AckKind::Ack).await,
        }
    }

    async fn give_back(
        &self,
        claim: &Claim,
        delay: Duration,
        end: AttemptEnd,
    ) -> Result<(), QueueError> {
        self.rows.put_back(claim.frame.new.id, None, end).await?;
        match &claim.held {
            None => Ok(()),
            Some(held) => acknowledge(&held.acker, AckKind::Nak(Some(delay))).await,
        }
    }

    fn ready(&self) -> Result<(), QueueError> {
        let silent_ms = steady_ms() - self.seen.load(Ordering::Relaxed);
        match silent_ms > SILENT_MS {
            true => Err(QueueError::Silent(silent_ms.unsigned_abs() / 1000)),
            false => Ok(()),
        }
    }

    async fn capacity(&self) {
        // Without a watcher, JetStream itself refuses frames beyond its bound.
        self.capacity.clone().wait_for(|&more| more).await.ok();
    }

    async fn recover(&self) -> Result<u64, QueueError> {
        let now_ms = self.catalogue.now_ms().await?;
        let created = created_ns(&self.stream).await?;
        let made_again = self.refilled.load(Ordering::Relaxed) != created;
        let before_ms = match made_again {
            // The new stream is empty.
            true => now_ms,
            false => {
                let queues = [(&self.live, LIVE), (&self.backlog, BACKLOG)];
                stuck_messages::oldest_ms(&self.stream, queues, now_ms).await? - OFFER_MS
            }
        };
        let mut offered = 0;
        while *self.capacity.borrow() && offered < self.max_frames {
            let frames = self.rows.offered_before(before_ms, BATCH).await?;
            if frames.is_empty() {
                break;
            }
            self.offer(&frames, true).await?;
            offered += frames.len() as u64;
        }
        self.refilled.store(created, Ordering::Relaxed);
        Ok(offered)
    }
}

/// When a stream was made, in nanoseconds since the Unix epoch.
async fn created_ns(stream: &Stream<()>) -> Result<i64, QueueError> {
    let info = stream.get_info().await;
    let info = info.map_err(failed("looking at the queue"))?;
    Ok(i64::try_from(info.created.unix_timestamp_nanos()).unwrap_or(i64::MAX))
}

async fn acknowledge(acker: &Acker, kind: AckKind) -> Result<(), QueueError> {
    acker
        .ack_with(kind)
        .await
        .map_err(failed("settling a frame"))
}
