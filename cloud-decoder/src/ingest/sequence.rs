//! Stores the frames of one stream in order: objects are written concurrently, rows one after the other, and acks
//! follow rows.

use std::{fmt::Display, sync::Arc};

use bytes::Bytes;
use daemon::{boot::SPANS, metrics::Raised, trace};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use patchwire_proto::v1::{
    Ack, AckStatus, CloudMessage, EncodedFrame, cloud_message::Body as CloudBody,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::{Instrument as _, Span, info_span};
use uuid::Uuid;

use super::validate::{CheckedFrame, validate};
use crate::{
    decode::Decoders,
    frame::{Arrival, NewFrame},
    metrics::{Metrics, Outcome},
    store::{FrameStore, Insertion, PendingRow},
};

/// Messages to a node.
pub(super) type Answers = mpsc::Sender<Result<CloudMessage, Status>>;

/// A frame that was read within the limits of its stream.
pub(super) struct Admitted {
    pub(super) frame: EncodedFrame,
    pub(super) arrival: Arrival,
    pub(super) since: Instant,
    /// Held until the ack is on its way.
    pub(super) held: Held,
}

/// The memory permit of a frame, and its count among those being stored.
pub(super) type Held = (Option<OwnedSemaphorePermit>, Raised);

/// Stores frames, and answers for each.
pub(super) struct Sequencer {
    pub(super) store: FrameStore,
    pub(super) metrics: Arc<Metrics>,
    pub(super) decoders: Arc<Decoders>,
    pub(super) max_pixels: u64,
    pub(super) max_message_bytes: usize,
    /// Frames of one stream that are stored at the same time.
    pub(super) window: usize,
    /// Bytes of memory that the frames of all streams may still take.
    pub(super) in_flight: Arc<Semaphore>,
}

/// The answer to a frame.
struct Answer {
    outcome: Outcome,
    reason: String,
}

impl Answer {
    /// `waits` is the reason why the frame will wait for a decoder, or empty.
    fn new(insertion: Insertion, waits: String) -> Self {
        let (outcome, reason) = match insertion {
            Insertion::New => (Outcome::Accepted, waits),
            Insertion::Duplicate => (Outcome::Duplicate, String::new()),
            Insertion::Conflict => {
                let reason = "another frame with the same id is kept".to_owned();
                (Outcome::Rejected, reason)
            }
        };
        Self { outcome, reason }
    }

    fn rejected(reason: String) -> Self {
        Self {
            outcome: Outcome::Rejected,
            reason,
        }
    }
}

/// A frame whose objects are written, or that has its answer already.
struct Stored {
    node: Arc<str>,
    frame_id: Bytes,
    row: Result<(PendingRow, String), Answer>,
    bytes: u64,
    latent_ones: Option<f64>,
    since: Instant,
    span: Span,
    held: Held,
}

impl Sequencer {
    /// Memory for a frame, which is given back when the permit is dropped.
    /// `latents` are the bytes of its container.
    pub(super) async fn reserve(
        &self,
        frame: &EncodedFrame,
        latents: usize,
    ) -> Option<OwnedSemaphorePermit> {
        let bytes = latents + frame.original.as_ref().map_or(0, |o| o.data.len());
        let bytes = u32::try_from(bytes.min(self.max_message_bytes)).unwrap_or(u32::MAX);
        self.in_flight.clone().acquire_many_owned(bytes).await.ok()
    }

    /// Stores frames until there are no more, or until one could not be stored; the frames after that one are not
    /// stored either.
    pub(super) async fn store_in_order(
        self: &Arc<Self>,
        node: &Arc<str>,
        arriving: mpsc::Receiver<Admitted>,
        answers: Answers,
    ) -> Result<(), Status> {
        let acks = ReceiverStream::new(arriving)
            .map(|admitted| {
                let objects = self.clone().write_objects(node.clone(), admitted);
                tokio::spawn(objects).map(|ended| match ended {
                    Ok(stored) => stored,
                    Err(panic) => Err(Status::internal(panic.to_string())),
                })
            })
            .buffered(self.window)
            .and_then(|stored| self.clone().write_row(stored))
            .try_buffered(self.window)
            .try_for_each(async |(ack, held)| {
                let body = Some(CloudBody::Ack(ack));
                // A node that is gone will send the frame again.
                answers.send(Ok(CloudMessage { body })).await.ok();
                drop(held);
                Ok(())
            });
        acks.await.inspect_err(|_| {
            self.metrics.ingest_failures.inc();
        })
    }

    /// Checks a frame and writes its objects.
    async fn write_objects(
        self: Arc<Self>,
        node: Arc<str>,
        admitted: Admitted,
    ) -> Result<Stored, Status> {
        let Admitted {
            mut frame,
            arrival,
            since,
            held,
        } = admitted;
        let frame_id = frame.frame_id.clone();
        let span = info_span!(
            target: SPANS, parent: None, "ingest frame", otel.kind = "consumer", %node,
            frame = %Uuid::from_slice(&frame_id).unwrap_or_default(),
        );
        trace::continues(&span, &frame.traceparent);
        let own = trace::traceparent(&span);
        if !own.is_empty() {
            frame.traceparent = own;
        }
        let (mut bytes, mut latent_ones) = (0, None);
        let storing = async {
            let received_ms = self.store.now_ms().await.map_err(unavailable)?;
            let mut checked = match validate(self.max_pixels, &node, received_ms, frame) {
                Ok(checked) => checked,
                Err(reason) => return Ok(Err(Answer::rejected(reason))),
            };
            checked.row.arrival = arrival;
            (bytes, latent_ones) = (checked.row.bytes, checked.row.latent_ones);
            self.insert(checked).await
        };
        let row = storing.instrument(span.clone()).await?;
        Ok(Stored {
            node,
            frame_id,
            row,
            bytes,
            latent_ones,
            since,
            span,
            held,
        })
    }

    async fn insert(
        &self,
        checked: CheckedFrame,
    ) -> Result<Result<(PendingRow, String), Answer>, Status> {
        let waits = self.why_it_waits(&checked.row);
        let CheckedFrame {
            row,
            object,
            original,
        } = checked;
        let inserted = self.store.insert_objects(row, object, original).await;
        Ok(match inserted.map_err(unavailable)? {
            Ok(pending) => Ok((pending, waits)),
            Err(found) => Err(Answer::new(found, String::new())),
        })
    }

    /// Hands over the row. The future that it returns ends with the frame's ack.
    async fn write_row(
        self: Arc<Self>,
        stored: Stored,
    ) -> Result<impl Future<Output = Result<(Ack, Held), Status>>, Status> {
        let writing = match stored.row {
            Ok((pending, waits)) => {
                let writing = self.store.insert_row(pending).await;
                Ok((writing.map_err(unavailable)?, waits))
            }
            Err(answer) => Err(answer),
        };
        let span = stored.span;
        let acknowledging = async move {
            let answer = match writing {
                Ok((writing, waits)) => {
                    let insertion = writing.await.map_err(unavailable)?;
                    if insertion == Insertion::New {
                        let metrics = &self.metrics;
                        metrics.ingest_bytes.inc_by(stored.bytes);
                        if let Some(ones) = stored.latent_ones {
                            metrics.latent_ones.observe(ones);
                        }
                    }
                    Answer::new(insertion, waits)
                }
                Err(answer) => answer,
            };
            if answer.outcome == Outcome::Rejected {
                let frame = Uuid::from_slice(&stored.frame_id).unwrap_or_default();
                tracing::warn!(node = &*stored.node, %frame, reason = answer.reason, "frame rejected");
            }
            self.metrics
                .received(answer.outcome, stored.since.elapsed());
            let status = match answer.outcome {
                Outcome::Accepted => AckStatus::Accepted,
                Outcome::Duplicate => AckStatus::Duplicate,
                Outcome::Rejected => AckStatus::Rejected,
            };
            let ack = Ack {
                frame_id: stored.frame_id,
                status: status.into(),
                reason: answer.reason,
            };
            Ok((ack, stored.held))
        };
        Ok(acknowledging.instrument(span))
    }

    /// Why a frame will wait for a decoder, for its ack; empty when there is one.
    fn why_it_waits(&self, frame: &NewFrame) -> String {
        let Some(program) = frame.program_id else {
            return String::new();
        };
        let found = self.decoders.find(program, frame.bits_per_patch());
        found.map_or_else(|missing| missing.to_string(), |_| String::new())
    }
}

fn unavailable(error: impl Display) -> Status {
    Status::unavailable(format!("frames cannot be stored now: {error}"))
}
