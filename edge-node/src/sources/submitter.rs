//! Submits the frames of one source to the pipeline, and counts them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use daemon::{boot::SPANS, trace};
use tokio::time::Instant;
use tracing::{Instrument as _, field::Empty, info_span};

use super::status::{SourceStatus, Statuses};
use crate::{
    config::Source,
    metrics::{Metrics, Refusal, SourceOutcome},
    pipeline::{Pipeline, Submission},
    spool::{Spool, Taken},
};

/// How often refused frames of a stream are logged.
const LOG_PERIOD: Duration = Duration::from_secs(60);

/// Submits the frames of one source.
pub(super) struct Submitter {
    pub(super) source: Source,
    /// Place of the source in the statuses.
    pub(super) index: usize,
    pub(super) statuses: Statuses,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) spool: Arc<Spool>,
    pub(super) metrics: Metrics,
    /// Largest frame in bytes.
    pub(super) max_body_bytes: usize,
}

/// Why a frame was not accepted.
pub(super) enum Refused {
    /// The bytes are not a frame.
    ForGood,
    /// There is no room, or a fault that may pass.
    ForNow(String),
}

impl Submitter {
    /// Reads or changes the source's status.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut SourceStatus) -> T) -> T {
        change(&mut self.statuses.lock()[self.index])
    }

    /// Counts a frame.
    pub(super) fn count(&self, outcome: SourceOutcome) {
        let frames = &self.metrics.source_frames;
        frames.get_or_create(&outcome).inc();
        self.update(|status| match outcome {
            SourceOutcome::Taken => status.taken += 1,
            SourceOutcome::Skipped => status.skipped += 1,
            SourceOutcome::Refused => status.refused += 1,
        });
    }

    /// Encodes and stores an image, once there is a free slot.
    pub(super) async fn submit(&self, body: Bytes, taken: Option<Taken>) -> Result<(), Refused> {
        let Some(permit) = self.pipeline.admission.admit().await else {
            return Err(Refused::ForNow("the node is shutting down".into()));
        };
        let file = taken.as_ref().map(|taken| taken.name.clone());
        let file = file.as_deref();
        let max_bytes = self.max_body_bytes;
        if body.len() > max_bytes {
            let sentence = format!("it is larger than {max_bytes} bytes");
            self.refused(Refusal::TooLarge, &sentence, file);
            return Err(Refused::ForGood);
        }
        let content_type = match media::media_type(&body) {
            Ok(media_type) => media_type.to_owned(),
            Err(sentence) => {
                self.refused(Refusal::UnsupportedType, &sentence, file);
                return Err(Refused::ForGood);
            }
        };
        let (camera, task) = (self.source.camera.clone(), self.source.task);
        let span = info_span!(target: SPANS, "accept frame", otel.kind = "consumer", frame = Empty, camera);
        let submission = Submission {
            camera,
            task,
            body,
            content_type: Some(content_type),
            raw_size: None,
            traceparent: trace::traceparent(&span),
            taken,
            permit,
        };
        let stored = Arc::clone(&self.pipeline).submit(submission);
        if let Err(error) = stored.instrument(span).await {
            let (reason, sentence) = (error.refusal(), error.to_string());
            self.refused(reason, &sentence, file);
            return Err(match reason {
                Refusal::BadRequest | Refusal::TooLarge | Refusal::UnsupportedType => {
                    Refused::ForGood
                }
                _ => Refused::ForNow(sentence),
            });
        }
        self.metrics.accepted.get_or_create(&task).inc();
        self.count(SourceOutcome::Taken);
        Ok(())
    }

    /// Counts a frame that was refused, and logs it: every file, and once per [`LOG_PERIOD`] a frame of a stream.
    pub(super) fn refused(&self, reason: Refusal, sentence: &str, file: Option<&[u8]>) {
        self.metrics.refused.get_or_create(&reason).inc();
        self.count(SourceOutcome::Refused);
        let file = file.map(|name| String::from_utf8_lossy(name).into_owned());
        let refusal = match &file {
            Some(file) => format!("{file}: {sentence}"),
            None => sentence.to_owned(),
        };
        let log = self.update(|status| {
            status.refusal = Some(refusal);
            let due = status.logged.is_none_or(|at| at.elapsed() >= LOG_PERIOD);
            if due {
                status.logged = Some(Instant::now());
            }
            due
        });
        if log || file.is_some() {
            let camera = &self.source.camera;
            tracing::warn!(camera, file, error = sentence, "a frame was refused");
        }
    }
}
