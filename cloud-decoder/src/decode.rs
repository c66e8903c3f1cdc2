//! Decode workers: claim a queued frame, rebuild it, measure it, store it, say so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use crc32c::crc32c;
use daemon::{boot::SPANS, metrics::Raised, trace};
use patchwire_proto::latent::LatentFrame;
use rayon::ThreadPool;
use tokio::{
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, field::Empty, info_span};

use crate::{
    catalogue::{Catalogue, CatalogueError, End},
    changes::Changes,
    clock::now_ms,
    decoders::{Decoders, NoDecoder},
    frame::{Frame, Quality, Work},
    metrics::Metrics,
    objects::{Kind, ObjectError, Objects},
    picture,
    queue::{Claim, Queue, QueueError},
    stored::StoredFrame,
};

/// Pause of a worker after the queue or the catalogue failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause before a second attempt, doubled for each further one.
const RETRY: Duration = Duration::from_millis(250);
/// Pause after the disk failed, which is not the frame's fault.
const DISK: Duration = Duration::from_secs(1);
/// Times in a row that the process may end while it decodes a frame and nothing else, having decoded others before.
const LETHAL: u32 = 20;
/// Pause before a frame whose decoding was cut short is looked at again, where others wait.
const OTHERS_FIRST: Duration = Duration::from_secs(5);
/// Times that an object is read that is damaged, and the pause before the second, doubled for each further one.
const READS: u32 = 3;
const READ_AGAIN: Duration = Duration::from_millis(100);
/// Why a frame fails whose objects are damaged. They are kept, and looked at again.
pub(crate) const DAMAGED: &str = "its objects are damaged where they are kept";

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error("the {0} object is missing")]
    Missing(&'static str),
    #[error(transparent)]
    NoDecoder(#[from] NoDecoder),
    #[error(transparent)]
    Network(#[from] purenet::DecodeError),
    #[error(transparent)]
    Quality(#[from] quality::QualityError),
    #[error("original does not decode: {0}")]
    Original(media::DecodeError),
    #[error("reconstruction cannot be written: {0}")]
    Write(#[from] picture::WriteError),
    #[error("decoder panicked")]
    Panic,
    #[error("{DAMAGED}")]
    Damaged,
    #[error("the process ended {0} times in a row while it decoded this frame alone")]
    Lethal(u32),
    #[error("the service is shutting down")]
    Stopped,
}

/// What every decode worker needs.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) objects: Objects,
    pub(crate) changes: Changes,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) decoders: Arc<Decoders>,
    pub(crate) pool: Arc<ThreadPool>,
    pub(crate) max_attempts: u32,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) company: Company,
}

/// Which decodings of this process run beside others. One that was cut short by the end of a process runs alone, so that it is known
/// which frame ends a process, should one do so.
#[derive(Clone, Default)]
pub(crate) struct Company {
    rooms: Arc<RwLock<()>>,
    /// Whether this process has decoded a frame to its end.
    proven: Arc<AtomicBool>,
}

/// Held by a decoding.
enum Room<'a> {
    Shared { _room: RwLockReadGuard<'a, ()> },
    Alone { _room: RwLockWriteGuard<'a, ()> },
}

impl Company {
    /// Waits until a decoding may begin.
    async fn room(&self, alone: bool) -> Room<'_> {
        match alone {
            true => Room::Alone {
                _room: self.rooms.write().await,
            },
            false => Room::Shared {
                _room: self.rooms.read().await,
            },
        }
    }
}

/// A frame to compare with.
pub(crate) struct Original {
    media_type: String,
    data: Bytes,
    /// Of its pixels, where the edge node told.
    crc32c: Option<u32>,
}

impl Original {
    /// Its pixels as RGB; `None` when they are not those that the edge node encoded.
    fn pixels(&self, width: u32, height: u32) -> Result<Option<Vec<u8>>, DecodeError> {
        let pixels = media::decode_as(&self.data, &self.media_type, (width, height));
        let pixels = pixels.map_err(DecodeError::Original)?;
        let same = self.crc32c.is_none_or(|crc| crc == crc32c(&pixels));
        Ok(same.then_some(pixels))
    }
}

/// A frame rebuilt from its latents.
struct Rebuilt {
    png: Bytes,
    thumbnail: Bytes,
    quality: Quality,
    /// The original's pixels are not those that the edge node encoded.
    differs: bool,
    work: Work,
}

impl Worker {
    /// Works until `stop`; the frame under way is given back then, unless it is nearly done.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.work_off_one(&stop).await {
                tracing::error!(%error, "decode queue");
                // Nothing is lost by either.
                timeout(PAUSE, stop.cancelled()).await.ok();
            }
        }
    }

    async fn work_off_one(&self, stop: &CancellationToken) -> Result<(), QueueError> {
        let Some(claim) = self.queue.take(stop).await? else {
            return Ok(());
        };
        let frame = &claim.frame;
        let cut_short = frame.begun > 1;
        let proven = self.company.proven.load(Ordering::Relaxed);
        if cut_short && !proven && self.catalogue.untried().await? {
            return self
                .queue
                .give_back(&claim, OTHERS_FIRST, End::NotBegun)
                .await;
        }
        let _room = self.company.room(cut_short).await;
        if cut_short && proven {
            self.catalogue.risk(frame.new.id).await?;
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
        self.company.proven.store(true, Ordering::Relaxed);
        if let Err(error) = &outcome
            && !matches!(error, DecodeError::Stopped)
        {
            self.metrics.attempts_failed.inc();
            span.record("otel.status_code", "ERROR");
            tracing::warn!(frame = %id, attempts, %error, "decoding failed");
        }
        // A claim that is not settled would hold the frame until it lapses.
        loop {
            match self.settle(&claim, &outcome).await {
                Ok(true) => return self.queue.done(claim).await,
                Ok(false) => return Ok(()),
                Err(QueueError::Catalogue(error @ CatalogueError::Database(_))) => {
                    tracing::error!(frame = %id, %error, "an outcome cannot be written now");
                    if timeout(PAUSE, stop.cancelled()).await.is_ok() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes down what became of an attempt, or gives the frame back. Whether the frame is done with.
    async fn settle(
        &self,
        claim: &Claim,
        outcome: &Result<(Quality, Work, u64), DecodeError>,
    ) -> Result<bool, QueueError> {
        let (id, attempts) = (claim.frame.new.id, claim.frame.attempts);
        let row = match outcome {
            Ok((quality, work, bytes)) => {
                let row = self.catalogue.decoded(id, *quality, *work, *bytes).await?;
                self.metrics.decoded.inc();
                let seconds = work.decode_ns as f64 / 1e9;
                self.metrics.decode_seconds.observe(seconds);
                self.metrics.measured(quality);
                tracing::debug!(frame = %id, decode_ms = work.decode_ns / 1_000_000, "frame decoded");
                row
            }
            Err(DecodeError::Stopped) => {
                let end = End::NotItsFault;
                self.queue.give_back(claim, Duration::ZERO, end).await?;
                return Ok(false);
            }
            Err(DecodeError::Objects(_)) => {
                self.queue.give_back(claim, DISK, End::NotItsFault).await?;
                return Ok(false);
            }
            Err(error) => {
                let final_now = matches!(
                    error,
                    DecodeError::NoDecoder(_) | DecodeError::Damaged | DecodeError::Lethal(_)
                );
                if !final_now && attempts < self.max_attempts {
                    let delay = RETRY * (1 << (attempts - 1).min(10));
                    self.queue.give_back(claim, delay, End::Failed).await?;
                    return Ok(false);
                }
                let row = self.catalogue.failed(id, &error.to_string()).await?;
                self.metrics.failed.inc();
                row
            }
        };
        if let Some(frame) = row {
            self.changes.publish(frame).await;
        }
        Ok(true)
    }

    /// Reads a frame's objects; those that are damaged more than once, for a server may have sent something else.
    async fn read(&self, frame: &Frame) -> Result<(LatentFrame, Option<Original>), DecodeError> {
        let mut pause = READ_AGAIN;
        for _ in 1..READS {
            match read_stored(&self.objects, frame).await {
                Err(DecodeError::Damaged) => self.metrics.damaged.inc(),
                read => return read,
            };
            sleep(pause).await;
            pause *= 2;
        }
        let read = read_stored(&self.objects, frame).await;
        if matches!(read, Err(DecodeError::Damaged)) {
            self.metrics.damaged.inc();
        }
        read
    }

    /// Quality, time taken, and bytes written.
    async fn decode(
        &self,
        frame: &Frame,
        stop: &CancellationToken,
    ) -> Result<(Quality, Work, u64), DecodeError> {
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
            tracing::warn!(frame = %id, "the original's pixels differ here from those at its edge node: it measures nothing");
        }
        let start = Instant::now();
        let bytes = (rebuilt.thumbnail.len() + rebuilt.png.len()) as u64;
        self.objects
            .put(Kind::Thumbnail, id, rebuilt.thumbnail)
            .await?;
        self.objects
            .put(Kind::Reconstruction, id, rebuilt.png)
            .await?;
        let mut work = rebuilt.work;
        work.store_ns += elapsed_ns(start);
        work.finished_ms = now_ms();
        Ok((rebuilt.quality, work, bytes))
    }
}

/// A frame's latents, and its original where it has one.
pub(crate) async fn read_stored(
    objects: &Objects,
    frame: &Frame,
) -> Result<(LatentFrame, Option<Original>), DecodeError> {
    let id = frame.new.id;
    let object = objects.get(Kind::Latents, id).await?;
    let Some(object) = object else {
        objects.are_here().await?;
        return Err(DecodeError::Missing("latents"));
    };
    let damaged = |error: String| {
        tracing::warn!(frame = %id, error, "an object is not as it was written");
        DecodeError::Damaged
    };
    let stored = StoredFrame::decode(object).map_err(|error| damaged(error.to_string()))?;
    // Checked before it was stored.
    let latents =
        LatentFrame::decode(stored.latents).map_err(|error| damaged(error.to_string()))?;
    let Some(media_type) = &frame.new.original_type else {
        return Ok((latents, None));
    };
    let Some(data) = objects.get(Kind::Original, id).await? else {
        objects.are_here().await?;
        tracing::warn!(frame = %id, "the original is gone: it measures nothing");
        return Ok((latents, None));
    };
    let whole = stored
        .record
        .is_none_or(|record| record.has_original(&data));
    if !whole {
        tracing::warn!(frame = %id, "the original is not as it was written");
        return Err(DecodeError::Damaged);
    }
    let original = Original {
        media_type: media_type.clone(),
        data,
        crc32c: frame.new.original_crc32c,
    };
    Ok((latents, Some(original)))
}

fn rebuild(
    decoders: &Decoders,
    latents: &LatentFrame,
    original: Option<Original>,
    stop: &CancellationToken,
) -> Result<Rebuilt, DecodeError> {
    let go_on = || !stop.is_cancelled();
    let decoder = decoders.of(latents)?;
    let (width, height) = (latents.width, latents.height);
    let start = Instant::now();
    let reconstructing = info_span!(target: SPANS, "reconstruct").entered();
    let rgb = match decoder.decode_while(&latents.payload, width, height, &go_on) {
        Err(purenet::DecodeError::Stopped) => return Err(DecodeError::Stopped),
        decoded => decoded?,
    };
    drop(reconstructing);
    let decode_ns = elapsed_ns(start);

    let start = Instant::now();
    let measuring = info_span!(target: SPANS, "measure").entered();
    let original = original.map(|original| original.pixels(width, height));
    let original = original.transpose()?;
    let differs = matches!(original, Some(None));
    let quality = match original.flatten() {
        None => Quality {
            seam_ratio: quality::seam_ratio(&rgb, width, height, quality::PATCH)?,
            ..Quality::default()
        },
        Some(original) => {
            let measured = quality::measure(&original, &rgb, width, height)?;
            Quality {
                psnr_db: Some(measured.psnr_db),
                ssim: Some(measured.ssim),
                ms_ssim: measured.ms_ssim,
                seam_ratio: measured.seam_ratio,
                original_seam_ratio: measured.original_seam_ratio,
            }
        }
    };
    drop(measuring);
    if !go_on() {
        return Err(DecodeError::Stopped);
    }
    let measure_ns = elapsed_ns(start);
    let start = Instant::now();
    let (png, thumbnail) = rayon::join(
        || media::encode::png(&rgb, width, height),
        || picture::thumbnail(&rgb, width, height),
    );
    Ok(Rebuilt {
        png: png.map_err(picture::WriteError::from)?.into(),
        thumbnail: thumbnail?,
        quality,
        differs,
        work: Work {
            decode_ns,
            measure_ns,
            store_ns: elapsed_ns(start),
            finished_ms: 0,
        },
    })
}

fn elapsed_ns(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Decodes one small frame of zeros with each decoder, so that a service that says it is ready can decode.
pub(crate) fn warm_up(decoders: &Decoders, pool: &ThreadPool) -> Result<(), purenet::DecodeError> {
    for decoder in decoders.iter() {
        let payload = vec![0; 4 * decoder.bits() as usize / 8];
        pool.install(|| decoder.decode(&payload, 64, 64))?;
    }
    Ok(())
}
