//! The catalogue: one row a frame, in SQLite for one process or in PostgreSQL for many.

mod from_row;
mod history;
mod lead;
mod measured;
mod migrations;
mod postgres;
mod read;
mod row;
mod settle;
mod sqlite;
mod sums;
mod watchlist;

use serde::Serialize;
use tonic::async_trait;
use utoipa::ToSchema;
use uuid::Uuid;

use self::from_row::from_row;
use crate::frame::{Frame, FrameState, NewFrame, Quality, Work};

pub use history::{History, Line, Lines, MAX_LINES, Span};
pub use lead::Lead;
pub(crate) use measured::Measured;
pub use postgres::PostgresCatalogue;
pub use sqlite::SqliteCatalogue;
pub use watchlist::{
    Alarm, AlarmKind, AlarmPage, Bytes, Learned, Sighting, TrafficBy, TrafficLine, TrafficSpan,
    Watched, Watchlist,
};

/// Why the catalogue could not answer.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The database failed.
    #[error("catalogue database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("catalogue schema: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// A row holds what this version never writes.
    #[error("catalogue row of frame {id}: {what}")]
    Row {
        /// The frame.
        id: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// Some frames together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Kept {
    /// How many.
    pub frames: u64,
    /// Bytes of their objects.
    pub bytes: u64,
}

/// Where a frame stands among those that wait for a decoder. One in four times the oldest is taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Place {
    /// Frames that are to be taken before it, those being decoded included.
    pub ahead: i64,
    /// Frames that wait.
    pub waiting: i64,
    /// When the one arrived that has waited longest, milliseconds since the Unix epoch.
    pub oldest_received_ms: Option<i64>,
}

from_row! { Place: ahead, waiting, oldest_received_ms }

/// Which frames to list, newest arrival first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// All cameras when `None`.
    pub camera: Option<String>,
    /// Only frames in this state.
    pub state: Option<FrameState>,
    /// Frames that arrived before this one.
    pub before: Option<Uuid>,
    /// Most frames to return.
    pub limit: u32,
}

/// What the catalogue knows of one camera.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Camera {
    /// The camera's id.
    pub camera: String,
    /// The edge node that last sent a frame of it.
    pub node: String,
    /// Frames kept.
    pub frames: u64,
    /// Of these, reconstructed.
    pub decoded: u64,
    /// Of these, label only.
    pub labelled: u64,
    /// Of these, given up.
    pub failed: u64,
    /// Pixels of the frames with latents.
    pub pixels: u64,
    /// Bits of their latents.
    pub latent_bits: u64,
    /// Bytes as the camera sent them, of the frames with latents whose edge told.
    pub source_bytes: u64,
    /// Bits of latents of these frames.
    pub sourced_bits: u64,
    /// Mean bits per pixel of the frames with latents.
    pub mean_bpp: Option<f64>,
    /// Decoded frames with an original and a finite PSNR.
    pub measured: u64,
    /// Mean PSNR in dB of all measured frames.
    pub mean_psnr_db: Option<f64>,
    /// Mean PSNR in dB of the measured ones among the last 50 frames.
    pub recent_psnr_db: Option<f64>,
    /// When the last frame arrived, milliseconds since the Unix epoch.
    pub last_received_ms: i64,
    /// The last frame.
    pub last_frame: Uuid,
    /// The frame that was decoded last.
    pub last_decoded: Option<Uuid>,
    /// Longest usual time between two frames in milliseconds, once it is learned.
    pub expected_ms: Option<i64>,
    /// When the last frame came of a camera that is silent now, milliseconds since the Unix epoch.
    pub silent_since_ms: Option<i64>,
    /// Since when the scene is not the usual one.
    pub changed_since_ms: Option<i64>,
}

impl Camera {
    /// The order in which a person should look at cameras: silent ones, ones of which nothing can be decoded, changed scenes,
    /// the rest; by name among these.
    fn worst_first(&self) -> (u8, &str) {
        let failing = self.failed > 0 && self.decoded == 0 && self.labelled == 0;
        let rank = match (self.silent_since_ms, failing, self.changed_since_ms) {
            (Some(_), _, _) => 0,
            (_, true, _) => 1,
            (_, _, Some(_)) => 2,
            _ => 3,
        };
        (rank, &self.camera)
    }
}

/// Sums over all cameras.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Cameras of which frames are kept.
    pub cameras: i64,
    /// Of these, with a frame since a time.
    pub cameras_live: i64,
    /// Of these, with latents and without a usual scene yet.
    pub cameras_learning: i64,
    /// Frames kept.
    pub frames: i64,
    /// Of these, reconstructed.
    pub decoded: i64,
    /// Of these, label only.
    pub labelled: i64,
    /// Of these, given up.
    pub failed: i64,
    /// Pixels of the frames with latents.
    pub pixels: i64,
    /// Bits of their latents.
    pub latent_bits: i64,
    /// Decoded frames with a finite PSNR.
    pub measured: i64,
    /// Sum of their PSNR in dB.
    pub psnr_sum: f64,
}

from_row! {
    Totals:
        cameras, cameras_live, cameras_learning, frames, decoded, labelled, failed, pixels,
        latent_bits, measured, psnr_sum
}

/// A number that is plotted over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// PSNR in dB.
    PsnrDb,
    /// SSIM.
    Ssim,
    /// MS-SSIM.
    MsSsim,
    /// Seam visibility.
    SeamRatio,
    /// Bits per pixel.
    Bpp,
    /// Share of set latent bits.
    LatentOnes,
    /// Milliseconds that the encoder took.
    EncodeMs,
    /// Milliseconds that the decoder took.
    DecodeMs,
}

/// Points of one camera's metric, oldest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Series {
    /// The camera's id.
    pub camera: String,
    /// When each frame was captured, milliseconds since the Unix epoch.
    pub captured_ms: Vec<i64>,
    /// The metric of each.
    pub values: Vec<f64>,
}

/// The likeliest class of a frame.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Seen {
    /// The frame.
    pub frame: Uuid,
    /// The camera's id.
    pub camera: String,
    /// When the frame was captured, milliseconds since the Unix epoch.
    pub captured_ms: i64,
    /// Name of the class.
    pub label: String,
    /// Its softmax, 0 to 1.
    pub score: f64,
    /// Whether that is high enough to be shown as sure.
    pub sure: bool,
}

/// What a frame's latents say of its scene.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentSample {
    /// When the frame was captured, milliseconds since the Unix epoch.
    pub captured_ms: i64,
    /// PSNR in dB, if it was measured.
    pub psnr_db: Option<f64>,
    /// Share of set latent bits.
    pub latent_ones: Option<f64>,
    /// How often each bit of a patch is set, from 0 (never) to 255 (always).
    pub shares: Vec<u8>,
}

from_row! { LatentSample: captured_ms, psnr_db, latent_ones, shares }

/// How a decoding ended of a frame that is to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By the frame's fault, as far as is known.
    Failed,
    /// By the fault of a disk or a server.
    NotItsFault,
    /// It was not begun.
    NotBegun,
}

/// Which store a catalogue belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId {
    /// Its id.
    pub id: Uuid,
    /// Whether the objects carry the id, too.
    pub paired: bool,
}

/// Everything that is kept about frames, except their bytes.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// Stores frames in one durable transaction. Each answer is the new row, or `None` when the
    /// frame was there already and nothing changed.
    async fn insert(&self, frames: Vec<NewFrame>) -> Result<Vec<Option<Frame>>, CatalogueError>;

    /// One frame.
    async fn get(&self, id: Uuid) -> Result<Option<Frame>, CatalogueError>;

    /// A page of frames, newest arrival first; `None` when `page.before` is not kept.
    async fn list(&self, page: &Page) -> Result<Option<Vec<Frame>>, CatalogueError>;

    /// The likeliest classes of a page of frames with a label; `None` when `page.before` is not kept.
    async fn labels(&self, page: &Page) -> Result<Option<Vec<Seen>>, CatalogueError>;

    /// Records a reconstruction, whose objects have so many bytes. `None` when the frame was not queued any more.
    async fn decoded(
        &self,
        id: Uuid,
        quality: Quality,
        work: Work,
        bytes: u64,
    ) -> Result<Option<Frame>, CatalogueError>;

    /// Gives a frame up. `None` when it was not queued any more.
    async fn failed(&self, id: Uuid, reason: &str) -> Result<Option<Frame>, CatalogueError>;

    /// Queues a decoded or failed frame once more, as if it had just come; its objects have so many bytes without those
    /// that the decoder makes. `None` when it was neither.
    async fn requeue(&self, id: Uuid, bytes: u64) -> Result<Option<Frame>, CatalogueError>;

    /// Frames that were given up for a reason, first arrival first, at most `limit`.
    async fn failed_for(&self, reason: &str, limit: u32) -> Result<Vec<Uuid>, CatalogueError>;

    /// Frames that do not wait for the decoder, first arrival first, at most `limit`.
    async fn oldest(&self, limit: u32) -> Result<Vec<Frame>, CatalogueError>;

    /// Forgets frames, except those that wait for the decoder, and takes them out of their cameras' sums.
    async fn remove(&self, frames: &[Uuid]) -> Result<(), CatalogueError>;

    /// All frames.
    async fn kept(&self) -> Result<Kept, CatalogueError>;

    /// Those of [`oldest`](Self::oldest) that arrived before a time, in milliseconds since the Unix epoch, or without
    /// which so many `bytes` are not yet freed.
    async fn due(&self, before_ms: i64, bytes: u64) -> Result<Kept, CatalogueError>;

    /// Frames waiting for the decoder, claimed ones included.
    async fn queued(&self) -> Result<u64, CatalogueError>;

    /// Where a frame stands among them; `None` when it does not wait.
    async fn place(&self, id: Uuid) -> Result<Option<Place>, CatalogueError>;

    /// When the oldest of them arrived, milliseconds since the Unix epoch; `None` when none waits.
    async fn queued_since(&self) -> Result<Option<i64>, CatalogueError>;

    /// Cameras after the first `offset`, at most `limit`: silent ones first, then failing ones, then ones whose scene has changed,
    /// then the rest, each by name.
    async fn cameras(&self, limit: u32, offset: u32) -> Result<Vec<Camera>, CatalogueError>;

    /// Sums over all cameras; live are those that sent a frame since a time, in milliseconds since the Unix epoch.
    async fn totals(&self, live_since_ms: i64) -> Result<Totals, CatalogueError>;

    /// The last `limit` points of a metric for one camera.
    async fn series(
        &self,
        camera: &str,
        metric: Metric,
        limit: u32,
    ) -> Result<Series, CatalogueError>;

    /// Means over time of frames with latents.
    async fn history(&self, span: &Span) -> Result<History, CatalogueError>;

    /// What the last `limit` frames of a camera's newest program say, newest arrival first.
    async fn latents(&self, camera: &str, limit: u32) -> Result<Vec<LatentSample>, CatalogueError>;

    /// Which store this catalogue belongs to; `None` when it has never been told.
    async fn store(&self) -> Result<Option<StoreId>, CatalogueError>;

    /// Gives the catalogue the id of its store, unless it has one.
    async fn name_store(&self, id: Uuid) -> Result<(), CatalogueError>;

    /// Notes that the objects carry the store's id.
    async fn pair_store(&self) -> Result<(), CatalogueError>;

    /// Those frames of which there is no row.
    async fn absent(&self, frames: &[Uuid]) -> Result<Vec<Uuid>, CatalogueError>;

    /// The clock of all processes that share the catalogue, in milliseconds since the Unix epoch.
    async fn now_ms(&self) -> Result<i64, CatalogueError>;

    /// Whether a frame waits whose decoding is not under way and was never cut short.
    async fn untried(&self) -> Result<bool, CatalogueError>;

    /// Notes that a frame's decoding is the only one under way in a process that has decoded others, until it ends.
    async fn risk(&self, id: Uuid) -> Result<(), CatalogueError>;

    /// The right to remove frames and to repair, which one process has at a time; `None` while another has it.
    async fn lead(&self) -> Result<Option<Lead>, CatalogueError>;

    /// Lets go of the database; calls under way end with an error.
    async fn close(&self);
}

/// Frames whose PSNR makes a camera's recent mean.
const RECENT_FRAMES: u32 = 50;

impl Kept {
    /// From sums, which databases have as signed integers.
    fn new(frames: i64, bytes: i64) -> Self {
        Self {
            frames: frames.max(0) as u64,
            bytes: bytes.max(0) as u64,
        }
    }
}

impl Series {
    /// From times of capture and values in any order.
    fn new(camera: &str, mut points: Vec<(i64, f64)>) -> Self {
        points.sort_by_key(|&(captured_ms, _)| captured_ms);
        let (captured_ms, values) = points.into_iter().unzip();
        Self {
            camera: camera.to_owned(),
            captured_ms,
            values,
        }
    }
}

/// Of a camera's id and the most points.
fn series_query(metric: Metric) -> &'static str {
    macro_rules! query {
        ($value:literal) => {
            concat!(
                "SELECT captured_ms, ",
                $value,
                " FROM frames WHERE camera_id = $1 AND ",
                $value,
                " IS NOT NULL AND state <> 'labelled' ORDER BY seq DESC LIMIT $2"
            )
        };
    }
    match metric {
        Metric::PsnrDb => query!("psnr_db"),
        Metric::Ssim => query!("ssim"),
        Metric::MsSsim => query!("ms_ssim"),
        Metric::SeamRatio => query!("seam_ratio"),
        Metric::Bpp => query!("CAST(latent_bits AS DOUBLE PRECISION) / (width * height)"),
        Metric::LatentOnes => query!("latent_ones"),
        Metric::EncodeMs => query!("CAST(encode_ns AS DOUBLE PRECISION) / 1e6"),
        Metric::DecodeMs => query!("CAST(nullif(decode_ns, 0) AS DOUBLE PRECISION) / 1e6"),
    }
}
