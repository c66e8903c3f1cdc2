//! The node: takes a frame from bytes to the spool.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use daemon::{
    boot::SPANS, clock::now_ms, expiry::Watched, guesses::Guesses, metrics::Raised, rate::Rates,
    tokens::Gate,
};
use media::{Limits, Picture};
use patchwire_proto::{
    limits,
    v1::{self, EncodedFrame, Label},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, info_span};
use uplink::Link;
use uuid::Uuid;

use crate::{
    config::Config,
    encode::{self, Encoded, Encoder, Task},
    http::{Bodies, HttpError},
    metrics::{Metrics, Refusal},
    original,
    sources::Board,
    spool::{Spool, Taken},
};

/// How often expired frames are looked for.
const EXPIRY_PERIOD: Duration = Duration::from_secs(10);

/// What handlers share.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) encoder: Encoder,
    pub(crate) spool: Arc<Spool>,
    pub(crate) metrics: Metrics,
    pub(crate) link: watch::Receiver<Link>,
    pub(crate) stop: CancellationToken,
    pub(crate) started: Instant,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) bodies: Bodies,
    pub(crate) gate: Gate,
    pub(crate) guesses: Guesses,
    /// Those of the HTTP side and of the uplink.
    pub(crate) certificates: [Watched; 2],
    pub(crate) camera_rates: Option<Rates>,
    pub(crate) sources: Board,
    pub(crate) originals: original::Budget,
}

/// A frame as it came.
pub(crate) struct Submission {
    pub(crate) camera: String,
    pub(crate) task: Task,
    pub(crate) body: Bytes,
    pub(crate) content_type: Option<String>,
    pub(crate) raw_size: Option<(u32, u32)>,
    /// Of the trace that the frame belongs to; empty if none.
    pub(crate) traceparent: String,
    /// The file that it was, where it is not to be taken twice.
    pub(crate) taken: Option<Taken>,
    pub(crate) permit: Permit,
}

/// A frame that is on disk.
pub(crate) struct Stored {
    pub(crate) frame_id: Uuid,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) encoded: Encoded,
    pub(crate) original_attached: bool,
}

/// The right to handle one frame.
pub(crate) struct Permit {
    _raised: Raised,
    _slot: OwnedSemaphorePermit,
}

impl Node {
    /// The right to handle one more frame, if there is room.
    pub(crate) fn admit(&self) -> Option<Permit> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some(Permit {
            _raised: Raised::new(&self.metrics.in_flight),
            _slot: slot,
        })
    }

    /// The same once there is room; none when the node stops.
    pub(crate) async fn admit_in_turn(&self) -> Option<Permit> {
        let slot = Arc::clone(&self.slots).acquire_owned();
        let slot = tokio::select! {
            () = self.stop.cancelled() => return None,
            slot = slot => slot.ok()?,
        };
        Some(Permit {
            _raised: Raised::new(&self.metrics.in_flight),
            _slot: slot,
        })
    }

    /// Decodes, encodes and stores a frame. Goes on to the end even if the caller leaves.
    pub(crate) async fn submit(
        self: Arc<Self>,
        mut submission: Submission,
    ) -> Result<Stored, HttpError> {
        let taken = submission.taken.take();
        let frame_id = Uuid::now_v7();
        let span = Span::current();
        span.record("frame", tracing::field::display(frame_id));
        let accepting = span.clone();
        let task = async move {
            let node = Arc::clone(&self);
            let asked = Instant::now();
            let worker = move || {
                let _span = info_span!(target: SPANS, parent: &accepting, "encode").entered();
                let waited = asked.elapsed().as_secs_f64();
                node.metrics.encode_wait_seconds.observe(waited);
                let _busy = Raised::new(&node.metrics.encode_busy);
                node.make(frame_id, submission)
            };
            let made = self.encoder.spawn(worker).await;
            let made = made.map_err(HttpError::internal).flatten();
            let (stored, frame, permit) = made.inspect_err(|error| {
                if error.refusal() == Refusal::Internal {
                    self.metrics.encode_failures.inc();
                }
            })?;
            let spooling = info_span!(target: SPANS, "spool");
            let pushing = self.spool.push_taken(&frame, taken.as_ref());
            pushing.instrument(spooling).await?;
            drop(permit);
            Ok(stored)
        };
        let task = tokio::spawn(task.instrument(span));
        task.await.map_err(HttpError::internal)?
    }

    /// From bytes to the message for the cloud, on a worker thread.
    fn make(
        &self,
        frame_id: Uuid,
        submission: Submission,
    ) -> Result<(Stored, EncodedFrame, Permit), HttpError> {
        let Submission {
            camera,
            task,
            body,
            content_type,
            raw_size,
            traceparent,
            taken: _,
            permit,
        } = submission;
        let within = Limits {
            max_side: limits::MAX_SIDE,
            max_pixels: self.config.http.max_pixels,
        };
        let frame = media::decode(&body, content_type.as_deref(), raw_size, within)?;
        let source_bytes = body.len() as u64;
        // Kept to the end, whatever is loaded meanwhile.
        let programs = self.encoder.programs().get();
        let choice = programs.of(&camera);
        let mut encoded = encode::encode(choice, &frame, task).map_err(HttpError::internal)?;
        self.metrics
            .encode_seconds
            .observe(encoded.elapsed_ns as f64 / 1e9);
        if let Some(latents) = &mut encoded.latents {
            let bits = choice.compress.bits(self.spool.fill());
            self.metrics.rate_bits.set(bits.into());
            if bits < latents.bits {
                *latents = latents.prefix(bits).map_err(HttpError::internal)?;
            }
            self.metrics.latent_bits.inc_by(latents.total_bits());
        }
        let mut message = self.message(frame_id, camera, &frame, &encoded);
        message.source_bytes = source_bytes;
        message.traceparent = traceparent;
        if task.compresses() && sampled(frame_id, self.config.originals_share) {
            let original = original::attach(&frame, &body).map_err(HttpError::internal)?;
            let bytes = original.data.len() as u64;
            message.original = Some(original);
            let most = self.config.uplink.max_message_bytes;
            if prost::Message::encoded_len(&message) > most || !self.originals.spend(bytes) {
                message.original = None;
                self.metrics.originals_skipped.inc();
            }
        }
        message.crc32c = message.compute_crc32c();
        if let Err(error) = limits::check_frame(&message) {
            return Err(HttpError::internal(error));
        }
        let stored = Stored {
            frame_id,
            width: frame.width,
            height: frame.height,
            encoded,
            original_attached: message.original.is_some(),
        };
        Ok((stored, message, permit))
    }

    fn message(
        &self,
        id: Uuid,
        camera_id: String,
        frame: &Picture,
        encoded: &Encoded,
    ) -> EncodedFrame {
        let label = encoded.classified.as_ref().map(|classified| Label {
            program_id: Bytes::copy_from_slice(&classified.program),
            scores: classified
                .scores
                .iter()
                .map(|score| v1::Score {
                    label: score.label.clone(),
                    score: score.score,
                })
                .collect(),
        });
        EncodedFrame {
            frame_id: Bytes::copy_from_slice(id.as_bytes()),
            camera_id,
            captured_unix_ms: now_ms(),
            width: frame.width,
            height: frame.height,
            latents: encoded
                .latents
                .as_ref()
                .map(|latents| latents.encode())
                .unwrap_or_default(),
            label,
            original: None,
            source_format: frame.source_format.into(),
            crc32c: 0,
            encode_ns: encoded.elapsed_ns,
            source_bytes: 0,
            traceparent: String::new(),
        }
    }

    /// Drops expired frames until the node stops.
    pub(crate) async fn expire(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(EXPIRY_PERIOD);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.spool.expire().await {
                tracing::warn!(%error, "looking for expired frames failed");
            }
        }
    }
}

/// Whether a frame is in the share whose originals travel: by the last 32 random bits of its id,
/// so that the choice can be repeated from the id alone.
fn sampled(frame_id: Uuid, share: f64) -> bool {
    let random = frame_id.as_u128() as u32;
    f64::from(random) < share * 2f64.powi(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_originals_is_kept() {
        let ids: Vec<_> = (0..10_000).map(|_| Uuid::now_v7()).collect();
        let count = |share| ids.iter().filter(|&&id| sampled(id, share)).count();
        assert_eq!((count(0.0), count(1.0)), (0, 10_000));
        assert!((2_700..3_300).contains(&count(0.3)), "{}", count(0.3));
    }
}
