//! Decode workers: each takes a queued frame, rebuilds it, measures it, and records the outcome.

use std::{sync::Arc, time::Duration};

use daemon::{boot::SPANS, metrics::Raised, trace};
use latent::LatentFrame;
use rayon::ThreadPool;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, field::Empty, info_span};

use super::{error::DecodeError, isolation::Isolation, rebuild::rebuild, registry::Decoders};
use crate::{
    clock::now_ms,
    frame::{Frame, Quality, Work},
    metrics::Metrics,
    store::{
        FrameStore, Original, ReadError,
        catalogue::{AttemptEnd, CatalogueError},
        queue::{Claim, QueueError},
    },
};

/// Pause of a worker after the queue or the catalogue failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause before a second attempt, doubled for each further one.
const RETRY: Duration = Duration::from_millis(250);
/// Pause after a disk or a server failed, which is not the frame's fault.
const STORAGE_PAUSE: Duration = Duration::from_secs(1);
/// Times in a row that a process may end while it decodes only this frame, after it has decoded others.
const LETHAL: u32 = 20;
/// Pause before a frame whose decoding was cut short is tried again, if other frames wait.
const OTHERS_FIRST: Duration = Duration::from_secs(5);
/// Times that a damaged object is read, and the pause before the second time, doubled for each further one.
const READS: u32 = 3;
const READ_AGAIN: Duration = Duration::from_millis(100);

/// The settings and tools of a decode worker.
#[derive(Clone)]
pub(crate) struct Worker {
    store: FrameStore,
    metrics: Arc<Metrics>,
    pub(crate) decoders: Arc<Decoders>,
    pub(crate) pool: Arc<ThreadPool>,
    max_attempts: u32,
    isolation: Isolation,
}

/// The results of a decoding whose pictures are written.
struct Decoded {
    /// Id of the decoder.
    decoder: [u8; 32],
    quality: Quality,
    work: Work,
    /// Bytes of the pictures.
    bytes: u64,
}

impl Worker {
    pub(crate) fn new(
        store: FrameStore,
        metrics: Arc<Metrics>,
        decoders: Arc<Decoders>,
        pool: ThreadPool,
        max_attempts: u32,
    ) -> Self {
        Self {
            store,
            metrics,
            decoders,
            pool: Arc::new(pool),
            max_attempts,
            isolation: Isolation::default(),
        }
    }

    /// Works until `stop`; the frame under way is given back then, unless it is nearly done.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.decode_next(&stop).await {
                tracing::error!(%error, "decode queue");
                // No frame is lost by that.
                timeout(PAUSE, stop.cancelled()).await.ok();
            }
        }
    }

    async fn decode_next(&self, stop: &CancellationToken) -> Result<(), QueueError> {
        let Some(claim) = self.store.take(stop).await? else {
            return Ok(());
        };
        let frame = &claim.frame;
        let cut_short = frame.begun > 1;
        let proven = self.isolation.is_proven();
        if cut_short && !proven && self.store.catalogue().has_untried().await? {
            let end = AttemptEnd::NotBegun;
            return self.store.give_back(&claim, OTHERS_FIRST, end).await;
        }
        let _permit = self.isolation.enter(cut_short).await;
        if cut_short && proven {
            self.store.mark_alone(frame.new.id).await?;
        }
        let _busy = Raised::new(&self.metrics.decode_busy);
        if frame.attempts == 1 {
            let waited_ms = (now_ms() - frame.new.received_ms).max(0);
            self.metrics
                .queue_wait_seconds
                .observe(waited_ms as f64 / 1e3);
        }
        let (id, attempts) = (frame.new.id, frame.attempts);
        let span = info_span!(
            target: SPANS, "decode frame", otel.kind = "consumer", frame = %id, attempts,
            otel.status_code = Empty,
        );
        trace::continues(&span, &frame.new.traceparent);
        let outcome = match frame.deaths >= LETHAL {
            true => Err(DecodeError::Lethal(frame.deaths)),
            false => self.decode(frame, stop).instrument(span.clone()).await,
        };
        self.isolation.prove();
        if let Err(error) = &outcome
            && !matches!(error, DecodeError::Stopped)
        {
            self.metrics.attempts_failed.inc();
            span.record("otel.status_code", "ERROR");
            tracing::warn!(frame = %id, attempts, %error, "decoding failed");
        }
        self.record(claim, outcome, stop).await
    }

    /// Records the outcome, and repeats this until it succeeds: a claim without an outcome would hold the frame until
    /// it lapses.
    async fn record(
        &self,
        claim: Claim,
        outcome: Result<Decoded, DecodeError>,
        stop: &CancellationToken,
    ) -> Result<(), QueueError> {
        loop {
            match self.try_record(&claim, &outcome).await {
                Ok(true) => return self.store.release(claim).await,
                Ok(false) => return Ok(()),
                Err(QueueError::Catalogue(error @ CatalogueError::Database(_))) => {
                    let frame = claim.frame.new.id;
                    tracing::error!(%frame, %error, "an outcome cannot be written now");
                    if timeout(PAUSE, stop.cancelled()).await.is_ok() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Records the outcome of an attempt, or gives the frame back to the queue. Returns whether the frame is finished.
    async fn try_record(
        &self,
        claim: &Claim,
        outcome: &Result<Decoded, DecodeError>,
    ) -> Result<bool, QueueError> {
        let (id, attempts) = (claim.frame.new.id, claim.frame.attempts);
        let (delay, end) = match outcome {
            Ok(Decoded {
                decoder,
                quality,
                work,
                bytes,
            }) => {
                self.store
                    .complete(id, *decoder, *quality, *work, *bytes)
                    .await?;
                self.metrics.decoded.inc();
                let seconds = work.decode_ns as f64 / 1e9;
                self.metrics.decode_seconds.observe(seconds);
                self.metrics.measured(quality);
                tracing::debug!(frame = %id, decode_ms = work.decode_ns / 1_000_000, "frame decoded");
                return Ok(true);
            }
            Err(DecodeError::Stopped) => (Duration::ZERO, AttemptEnd::NotItsFault),
            Err(error) if error.is_of_storage() => (STORAGE_PAUSE, AttemptEnd::NotItsFault),
            Err(error) if error.is_final() || attempts >= self.max_attempts => {
                self.store.fail(id, &error.to_string()).await?;
                self.metrics.failed.inc();
                return Ok(true);
            }
            Err(_) => (RETRY * (1 << (attempts - 1).min(10)), AttemptEnd::Failed),
        };
        self.store.give_back(claim, delay, end).await?;
        Ok(false)
    }

    /// Reads a frame's objects. Damaged ones are read again, because the damage may come from the transfer.
    async fn read(&self, frame: &Frame) -> Result<(LatentFrame, Option<Original>), ReadError> {
        let mut pause = READ_AGAIN;
        for reading in 1.. {
            let read = self.store.read_frame(frame).await;
            if !matches!(read, Err(ReadError::Damaged)) {
                return read;
            }
            self.metrics.damaged.inc();
            if reading == READS {
                break;
            }
            sleep(pause).await;
            pause *= 2;
        }
        Err(ReadError::Damaged)
    }

    /// Rebuilds a frame and writes its pictures.
    async fn decode(
        &self,
        frame: &Frame,
        stop: &CancellationToken,
    ) -> Result<Decoded, DecodeError> {
        let id = frame.new.id;
        let (latents, original) = self.read(frame).await?;
        let (decoders, pool) = (self.decoders.clone(), self.pool.clone());
        let (span, stop) = (Span::current(), stop.clone());
        let work = move || {
            let rebuild = || span.in_scope(|| rebuild(&decoders, &latents, original, &stop));
            pool.install(rebuild)
        };
        let rebuilt = tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| DecodeError::Panic)??;
        self.metrics
            .measure_seconds
            .observe(rebuilt.work.measure_ns as f64 / 1e9);
        if rebuilt.differs {
            self.metrics.originals_differ.inc();
            tracing::warn!(frame = %id, "the original decodes to other pixels than at its edge node: the frame is not measured");
        }
        let put = self.store.put_pictures(id, rebuilt.pictures, rebuilt.work);
        let (bytes, work) = put.await?;
        Ok(Decoded {
            decoder: rebuilt.decoder,
            quality: rebuilt.quality,
            work,
            bytes,
        })
    }
}
