//! Frames that the node fetches by itself: from a folder, or from a camera's stream.
//!
//! Each source has a task of its own, with at most one frame of it under way. A folder waits for room and loses nothing.
//! A stream goes on whether there is room or not: of its frames the node takes the newest that it can, and counts the
//! rest. A source that fails is tried again after a random wait that grows with each failure.

mod camera;
mod config;
mod ffmpeg;
mod folder;
mod jpegs;
mod stream;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use daemon::{
    backoff::Backoff,
    boot::SPANS,
    error::{one_line, root_cause},
    files::FileError,
    trace,
};
use http_auth::PasswordClient;
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, field::Empty, info_span};
use utoipa::ToSchema;

use crate::{
    metrics::{Refusal, SourceOutcome, TaskKind},
    node::{Node, Submission},
    spool::{SpoolError, Taken},
};

pub(crate) use self::config::check;
use self::{config::From, folder::MAX_FILES};
pub use self::{
    config::Source,
    ffmpeg::{Ffmpeg, FfmpegError},
    jpegs::{Jpegs, TooLong},
};

/// Refused frames of a stream are told in the log this often at most.
const TELL_PERIOD: Duration = Duration::from_secs(60);
/// Bounds of the first wait after a failure and of all, in milliseconds.
const BACKOFF_MS: (u64, u64) = (250, 30_000);

/// Why a source does not go on as it is.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("the folder cannot be read: {0}")]
    Folder(io::Error),
    #[error("the folder has more than {MAX_FILES} images, move some away")]
    TooMany,
    #[error("{0}")]
    Later(String),
    #[error("{}", .0)]
    Spool(#[from] SpoolError),
    #[error("{0}")]
    File(#[from] FileError),
    #[error("{0} is not USER:PASSWORD")]
    Login(String),
    #[error("the login that it asks for is not known here: {0}")]
    Challenge(String),
    #[error("{0} (through the proxy {1}, which the environment names)")]
    Through(Box<SourceError>, String),
    #[error("it answers 401 Unauthorized: it wants a login, which login_file would name")]
    NoLogin,
    #[error("it answers 401 Unauthorized to the login in {0}")]
    Refused(String),
    #[error("it answers {0}")]
    Status(reqwest::StatusCode),
    #[error("it does not answer: {}", root_cause(.0))]
    Http(#[from] reqwest::Error),
    #[error("{0}")]
    Ffmpeg(#[from] FfmpegError),
    #[error("reading what ffmpeg makes failed: {0}")]
    Pipe(io::Error),
    #[error("{0}")]
    TooLong(#[from] TooLong),
    #[error("no frame came for {} seconds", .0.as_secs())]
    Silent(Duration),
    #[error("it ended without a frame")]
    Empty,
    #[error("it ended without a JPEG, and says that it is {0:?}")]
    NoJpeg(String),
}

impl SourceError {
    /// Whether a proxy on the way may be why.
    fn is_of_the_way(&self) -> bool {
        matches!(self, Self::Status(_) | Self::Http(_) | Self::Silent(_))
    }
}

/// Why a frame was not taken.
enum Refused {
    /// It is no frame.
    ForGood,
    /// There is no room, or something failed that may work again.
    ForNow(String),
}

/// How a source fares.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(crate) struct SourceStatus {
    camera: String,
    /// The folder or the address.
    from: String,
    /// Whether the folder is watched or the stream runs.
    up: bool,
    /// Frames that were encoded and stored.
    taken: u64,
    /// Frames of a stream that came too soon or while another was under way.
    skipped: u64,
    /// Frames that were refused.
    refused: u64,
    /// Why the last of them was, for a file with its name.
    refusal: Option<String>,
    #[serde(skip)]
    told: Option<Instant>,
    /// What went wrong last, until it works again.
    error: Option<String>,
}

/// How all sources fare.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Vec<SourceStatus>>>);

impl Board {
    pub(crate) fn new(sources: &[Source]) -> Self {
        let status = |source: &Source| SourceStatus {
            camera: source.camera.clone(),
            from: source
                .from()
                .map(|from| from.to_string())
                .unwrap_or_default(),
            ..SourceStatus::default()
        };
        Self(Arc::new(Mutex::new(sources.iter().map(status).collect())))
    }

    pub(crate) fn list(&self) -> Vec<SourceStatus> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SourceStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fetches from all sources until the node stops.
pub(crate) async fn run(node: Arc<Node>, stop: CancellationToken) {
    let mut feeds = JoinSet::new();
    for (index, source) in node.config.sources.iter().enumerate() {
        let desk = Desk {
            node: Arc::clone(&node),
            source: source.clone(),
            index,
        };
        let feed = Feed {
            desk: Arc::new(desk),
            due: Instant::now(),
            backoff: Backoff::new(BACKOFF_MS.0, BACKOFF_MS.1),
            challenge: None,
        };
        let stop = stop.clone();
        feeds.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = feed.run() => {}
            }
        });
    }
    feeds.join_all().await;
}

/// Where the frames of one source are taken.
struct Desk {
    node: Arc<Node>,
    source: Source,
    index: usize,
}

/// One source at work.
struct Feed {
    desk: Arc<Desk>,
    /// When the next frame may be taken.
    due: Instant,
    backoff: Backoff,
    /// What the camera asks for by way of a login.
    challenge: Option<PasswordClient>,
}

impl Feed {
    async fn run(mut self) {
        let source = self.desk.source.clone();
        loop {
            let result = match source.from() {
                Some(From::Folder(folder)) => self.watch(folder).await,
                Some(From::Mjpeg(url)) => self.mjpeg(url).await,
                Some(From::Rtsp(url)) => self.rtsp(url).await,
                None => return,
            };
            // A stream that ended after some frames is up while the next one is waited for.
            if let Err(error) = result {
                self.down(&error);
            }
            let wait = Instant::now() + self.backoff.wait();
            sleep_until(wait.max(self.due)).await;
        }
    }

    /// The source works.
    fn up(&mut self) {
        self.backoff.reset();
        let was_up = self.desk.note(|status| {
            status.error = None;
            std::mem::replace(&mut status.up, true)
        });
        if !was_up {
            self.desk.node.metrics.sources_up.inc();
            tracing::info!(camera = self.desk.source.camera, "a source is up");
        }
    }

    fn down(&self, error: &SourceError) {
        let error = one_line(error);
        let (was_up, told) = self.desk.note(|status| {
            let told = status.error.replace(error.clone()).as_ref() == Some(&error);
            (std::mem::replace(&mut status.up, false), told)
        });
        if was_up {
            self.desk.node.metrics.sources_up.dec();
        }
        self.desk.node.metrics.source_failures.inc();
        if !told {
            tracing::warn!(camera = self.desk.source.camera, error, "a source is down");
        }
    }

    /// Waits until the next frame may be taken.
    async fn pace(&mut self) {
        sleep_until(self.due).await;
        self.took();
    }

    /// A frame is taken now.
    fn took(&mut self) {
        if let Some(rate) = self.desk.source.rate {
            // A frame that came late does not make the next one late.
            let period = Duration::from_secs_f64(1.0 / rate);
            let now = Instant::now();
            let on_time = if self.due + period > now {
                self.due
            } else {
                now
            };
            self.due = on_time + period;
        }
    }
}

impl Desk {
    fn note<T>(&self, change: impl FnOnce(&mut SourceStatus) -> T) -> T {
        change(&mut self.node.sources.lock()[self.index])
    }

    fn count(&self, outcome: SourceOutcome) {
        self.node
            .metrics
            .source_frames
            .get_or_create(&outcome)
            .inc();
        self.note(|status| match outcome {
            SourceOutcome::Taken => status.taken += 1,
            SourceOutcome::Skipped => status.skipped += 1,
            SourceOutcome::Refused => status.refused += 1,
        });
    }

    /// Encodes and stores an image, as soon as there is room.
    async fn submit(&self, body: Bytes, taken: Option<Taken>) -> Result<(), Refused> {
        let permit = self.node.admit_in_turn().await;
        let Some(permit) = permit else {
            return Err(Refused::ForNow("the node is shutting down".into()));
        };
        let most = self.node.config.http.max_body_bytes;
        let file = taken.as_ref().map(|taken| taken.name.clone());
        let file = file.as_deref();
        let never = |reason: Refusal, sentence: &str| {
            self.refused(reason, sentence, file);
            Err(Refused::ForGood)
        };
        if body.len() > most {
            return never(
                Refusal::TooLarge,
                &format!("it is larger than {most} bytes"),
            );
        }
        let content_type = match media::media_type(&body) {
            Ok(media_type) => media_type.to_owned(),
            Err(sentence) => return never(Refusal::UnsupportedType, &sentence),
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
        let stored = Arc::clone(&self.node)
            .submit(submission)
            .instrument(span)
            .await;
        match stored {
            Ok(_) => {
                let task = TaskKind::from(task);
                self.node.metrics.accepted.get_or_create(&task).inc();
                self.count(SourceOutcome::Taken);
                Ok(())
            }
            Err(error) => {
                let sentence = error.to_string();
                self.refused(error.refusal(), &sentence, file);
                Err(match error.refusal() {
                    Refusal::BadRequest | Refusal::TooLarge | Refusal::UnsupportedType => {
                        Refused::ForGood
                    }
                    _ => Refused::ForNow(sentence),
                })
            }
        }
    }

    /// Counts and tells a frame that was refused, in the log each file and now and then one of a stream.
    fn refused(&self, reason: Refusal, sentence: &str, file: Option<&[u8]>) {
        self.node.metrics.refused.get_or_create(&reason).inc();
        self.count(SourceOutcome::Refused);
        let file = file.map(|name| String::from_utf8_lossy(name).into_owned());
        let refusal = match &file {
            Some(file) => format!("{file}: {sentence}"),
            None => sentence.to_owned(),
        };
        let tell = self.note(|status| {
            status.refusal = Some(refusal);
            let due = status.told.is_none_or(|at| at.elapsed() >= TELL_PERIOD);
            if due {
                status.told = Some(Instant::now());
            }
            due
        });
        if tell || file.is_some() {
            let camera = &self.source.camera;
            tracing::warn!(camera, file, error = sentence, "a frame was refused");
        }
    }
}
