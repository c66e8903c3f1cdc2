//! Takes a frame from bytes to the spool.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use daemon::{boot::SPANS, metrics::Raised};
use patchwire_proto::{
    limits::{MAX_SIDE, check_frame},
    v1::EncodedFrame,
};
use prost::Message as _;
use tracing::{Instrument as _, Span, info_span};
use uuid::Uuid;

use super::{
    admission::{Admission, Permit},
    encode::{self, Encoded, Encoder},
    error::PipelineError,
    message::message,
    original::{self, Budget},
    programs::Choice,
};
use crate::{
    config::Config,
    metrics::{Metrics, Refusal},
    spool::{Spool, Taken},
    task::Task,
};

/// The way of a frame from bytes to the spool.
pub(crate) struct Pipeline {
    pub(crate) admission: Admission,
    pub(crate) encoder: Encoder,
    config: Config,
    originals: Budget,
    spool: Arc<Spool>,
    metrics: Metrics,
}

/// A frame as it came.
pub(crate) struct Submission {
    pub(crate) camera: String,
    pub(crate) task: Task,
    pub(crate) body: Bytes,
    pub(crate) content_type: Option<String>,
    /// Width and height of raw RGB in pixels.
    pub(crate) raw_size: Option<(u32, u32)>,
    /// The `traceparent` of the trace that the frame belongs to; empty without one.
    pub(crate) traceparent: String,
    /// The file that the frame was, if it must not be taken twice.
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

impl Pipeline {
    pub(crate) fn new(
        config: &Config,
        encoder: Encoder,
        spool: Arc<Spool>,
        metrics: Metrics,
    ) -> Self {
        Self {
            admission: Admission::new(config.http.max_concurrent, metrics.in_flight.clone()),
            encoder,
            originals: Budget::new(config.originals_bytes_per_hour),
            config: config.clone(),
            spool,
            metrics,
        }
    }

    /// Decodes, encodes and stores a frame. It continues to the end even if the caller goes away.
    ///
    /// # Errors
    /// The frame is not accepted; nothing is stored.
    pub(crate) async fn submit(
        self: Arc<Self>,
        submission: Submission,
    ) -> Result<Stored, PipelineError> {
        let frame_id = Uuid::now_v7();
        let span = Span::current();
        span.record("frame", tracing::field::display(frame_id));
        let task = self.submit_now(frame_id, submission, span.clone());
        let task = tokio::spawn(task.instrument(span));
        task.await.map_err(PipelineError::internal)?
    }

    async fn submit_now(
        self: Arc<Self>,
        frame_id: Uuid,
        mut submission: Submission,
        accepting: Span,
    ) -> Result<Stored, PipelineError> {
        let taken = submission.taken.take();
        let pipeline = Arc::clone(&self);
        let asked = Instant::now();
        let job = move || {
            let _span = info_span!(target: SPANS, parent: &accepting, "encode").entered();
            let waited = asked.elapsed().as_secs_f64();
            pipeline.metrics.encode_wait_seconds.observe(waited);
            let _busy = Raised::new(&pipeline.metrics.encode_busy);
            pipeline.encode(frame_id, submission)
        };
        let made = self.encoder.spawn(job).await;
        let made = made.map_err(PipelineError::internal).flatten();
        let (stored, frame, permit) = made.inspect_err(|error| {
            if error.refusal() == Refusal::Internal {
                self.metrics.encode_failures.inc();
            }
        })?;
        let pushing = self.spool.push_taken(&frame, taken.as_ref());
        let spooling = info_span!(target: SPANS, "spool");
        pushing.instrument(spooling).await?;
        drop(permit);
        Ok(stored)
    }

    /// From bytes to the message for the cloud, on a worker thread.
    fn encode(
        &self,
        frame_id: Uuid,
        submission: Submission,
    ) -> Result<(Stored, EncodedFrame, Permit), PipelineError> {
        let body = &submission.body;
        let limits = media::Limits {
            max_side: MAX_SIDE,
            max_pixels: self.config.http.max_pixels,
        };
        let content_type = submission.content_type.as_deref();
        let picture = media::decode(body, content_type, submission.raw_size, limits)?;
        // The frame keeps these programs, even if others are loaded meanwhile.
        let programs = self.encoder.programs().get();
        let choice = programs.of(&submission.camera);
        let encoded = self.run_programs(choice, &picture, submission.task)?;
        let mut message = message(frame_id, submission.camera, &picture, &encoded);
        message.source_bytes = body.len() as u64;
        message.traceparent = submission.traceparent;
        if submission.task.compresses()
            && original::is_sampled(frame_id, self.config.originals_share)
        {
            let original = original::of(&picture, body).map_err(PipelineError::internal)?;
            let bytes = original.data.len() as u64;
            message.original = Some(original);
            let fits = message.encoded_len() <= self.config.uplink.max_message_bytes;
            if !fits || !self.originals.spend(bytes) {
                message.original = None;
                self.metrics.originals_skipped.inc();
            }
        }
        message.crc32c = message.compute_crc32c();
        check_frame(&message).map_err(PipelineError::internal)?;
        let stored = Stored {
            frame_id,
            width: picture.width,
            height: picture.height,
            encoded,
            original_attached: message.original.is_some(),
        };
        Ok((stored, message, submission.permit))
    }

    /// Runs the chip, and keeps as many bits per patch as the spool has room for.
    fn run_programs(
        &self,
        choice: &Choice,
        picture: &media::Picture,
        task: Task,
    ) -> Result<Encoded, PipelineError> {
        let encoded = encode::encode(choice, picture, task);
        let mut encoded = encoded.map_err(PipelineError::internal)?;
        let seconds = encoded.elapsed_ns as f64 / 1e9;
        self.metrics.encode_seconds.observe(seconds);
        if let Some(latents) = &mut encoded.latents {
            let bits = choice.compress.bits(self.spool.fill());
            self.metrics.rate_bits.set(bits.into());
            if bits < latents.bits {
                *latents = latents.prefix(bits).map_err(PipelineError::internal)?;
            }
            self.metrics.latent_bits.inc_by(latents.total_bits());
        }
        Ok(encoded)
    }
}
