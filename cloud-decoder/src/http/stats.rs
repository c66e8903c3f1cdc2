//! `GET /api/v1/cameras`, `/api/v1/summary` and `/api/v1/series`.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use purenet::Decoder;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{
    App,
    error::{ApiError, Told},
    frames::{camera, limit},
};
use crate::{
    catalogue::{AlarmPage, Bytes, Camera, Kept, Metric, Series, TrafficSpan},
    clock::DAY_MS,
    config::Retention,
    retention::bounds,
};

/// A camera is live when a frame of it arrived this recently, in milliseconds.
const LIVE_MS: i64 = 60_000;
/// Most cameras of a page.
const MAX_CAMERAS: u32 = 500;
/// Most alarms that are counted.
const MAX_ALARMS: u32 = 10_000;
/// Days of bytes in the summary.
const TRAFFIC_DAYS: u32 = 7;
/// Cameras of one series answer when none is named.
const MAX_SERIES: u32 = 24;
const DEFAULT_POINTS: u32 = 300;
const MAX_POINTS: u32 = 2000;

/// A loaded decoder, as the summary shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct DecoderInfo {
    pub(crate) program_id: String,
    pub(crate) bits_per_patch: u32,
    pub(crate) parameters: u64,
    pub(crate) macs_per_pixel: f64,
}

impl From<&Decoder> for DecoderInfo {
    fn from(decoder: &Decoder) -> Self {
        Self {
            program_id: hex::encode(decoder.program()),
            bits_per_patch: decoder.bits(),
            parameters: decoder.parameters(),
            macs_per_pixel: decoder.macs_per_pixel(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct CameraJson {
    /// Whether a frame came within the last minute.
    live: bool,
    #[serde(flatten)]
    camera: Camera,
}

/// A page of cameras.
#[derive(Serialize, ToSchema)]
pub(super) struct Cameras {
    cameras: Vec<CameraJson>,
    /// Cameras in all.
    total: u64,
    /// The `offset` of the next page, null on the last.
    next: Option<u32>,
}

/// Names of all cameras.
#[derive(Serialize, ToSchema)]
pub(super) struct CameraNames {
    names: Vec<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CamerasQuery {
    limit: Option<u32>,
    /// Cameras to leave out at the beginning.
    offset: Option<u32>,
}

/// What is kept, and what a policy would remove.
#[derive(Serialize, ToSchema)]
pub(super) struct RetentionJson {
    policy: Retention,
    kept: Kept,
    due: Kept,
}

/// A line a camera.
#[derive(Serialize, ToSchema)]
pub(super) struct SeriesList {
    series: Vec<Series>,
}

/// Totals over all cameras.
#[derive(Serialize, ToSchema)]
pub(super) struct Summary {
    /// Of this binary.
    version: &'static str,
    /// The main one.
    decoder: DecoderInfo,
    /// All of them.
    decoders: Vec<DecoderInfo>,
    frames: u64,
    decoded: u64,
    labelled: u64,
    failed: u64,
    /// Waiting for the decoder.
    queued: u64,
    /// When the one arrived that has waited longest, milliseconds since the Unix epoch.
    queued_since_ms: Option<i64>,
    cameras: u64,
    /// That sent a frame within `live_ms`.
    cameras_live: u64,
    /// With latents, of which too few came to know the usual scene.
    cameras_learning: u64,
    live_ms: i64,
    mean_bpp: Option<f64>,
    mean_psnr_db: Option<f64>,
    /// Alarms that stand.
    alarms: u64,
    /// When the certificate of this service expires, if that is within 14 days or past, milliseconds since the Unix epoch.
    certificate_expires_ms: Option<i64>,
    /// Days over which `traffic` goes, today included, in UTC.
    traffic_days: u32,
    traffic: Bytes,
    /// Share of the cameras' bytes that did not travel on to this service, over the same days; negative when more did, null
    /// where an edge node does not tell.
    saved: Option<f64>,
}

/// Cameras, worst first: silent ones, ones of which nothing can be decoded, ones whose scene has changed, the rest; each by name.
#[utoipa::path(
    get,
    path = "/api/v1/cameras",
    params(CamerasQuery),
    responses(
        (status = 200, description = "A page", body = Cameras),
        (status = 400, description = "A parameter is wrong", body = Told),
    ),
)]
pub(super) async fn cameras(
    State(app): State<App>,
    query: Result<Query<CamerasQuery>, QueryRejection>,
) -> Result<Json<Cameras>, ApiError> {
    let Query(query) = query.map_err(|e| ApiError::bad_request(e.body_text()))?;
    let limit = limit(query.limit, MAX_CAMERAS, MAX_CAMERAS)?;
    let offset = query.offset.unwrap_or(0);
    let oldest = app.catalogue.now_ms().await? - LIVE_MS;
    let total = app.catalogue.totals(oldest).await?.cameras as u64;
    let cameras: Vec<_> = app
        .catalogue
        .cameras(limit, offset)
        .await?
        .into_iter()
        .map(|camera| CameraJson {
            live: camera.last_received_ms >= oldest,
            camera,
        })
        .collect();
    let end = offset.saturating_add(limit);
    let next = (cameras.len() == limit as usize && u64::from(end) < total).then_some(end);
    Ok(Json(Cameras {
        cameras,
        total,
        next,
    }))
}

/// The names of all cameras, in their order.
#[utoipa::path(
    get,
    path = "/api/v1/cameras/names",
    responses(
        (status = 200, description = "All of them, up to 100,000", body = CameraNames),
    ),
)]
pub(super) async fn camera_names(State(app): State<App>) -> Result<Json<CameraNames>, ApiError> {
    let watched = app.cameras.watched().await?.into_iter();
    let names = watched.map(|watched| watched.camera_id).collect();
    Ok(Json(CameraNames { names }))
}

/// Totals over all cameras, the queue, the decoder and the service itself.
#[utoipa::path(
    get,
    path = "/api/v1/summary",
    responses(
        (status = 200, description = "Totals", body = Summary),
    ),
)]
pub(super) async fn summary(State(app): State<App>) -> Result<Json<Summary>, ApiError> {
    let now = app.catalogue.now_ms().await?;
    let totals = app.catalogue.totals(now - LIVE_MS).await?;
    let standing = AlarmPage::standing(MAX_ALARMS);
    let span = TrafficSpan {
        from_day: now / DAY_MS - i64::from(TRAFFIC_DAYS) + 1,
        ..TrafficSpan::default()
    };
    let lines = app.cameras.traffic(&span).await?;
    let traffic = lines
        .iter()
        .map(|line| line.bytes)
        .fold(Bytes::default(), Bytes::plus);
    let ratio = |part: f64, whole: i64| (whole > 0).then(|| part / whole as f64);
    Ok(Json(Summary {
        version: env!("CARGO_PKG_VERSION"),
        decoder: app.decoder.clone(),
        decoders: app.decoders.to_vec(),
        frames: totals.frames as u64,
        decoded: totals.decoded as u64,
        labelled: totals.labelled as u64,
        failed: totals.failed as u64,
        queued: app.catalogue.queued().await?,
        queued_since_ms: app.catalogue.queued_since().await?,
        cameras: totals.cameras as u64,
        cameras_live: totals.cameras_live as u64,
        cameras_learning: totals.cameras_learning as u64,
        live_ms: LIVE_MS,
        mean_bpp: ratio(totals.latent_bits as f64, totals.pixels),
        mean_psnr_db: ratio(totals.psnr_sum, totals.measured),
        alarms: app.cameras.alarms(&standing).await?.len() as u64,
        certificate_expires_ms: app.certificate.expires_soon_ms(),
        traffic_days: TRAFFIC_DAYS,
        saved: ratio(traffic.uplink() as f64, traffic.source_bytes)
            .filter(|_| traffic.told_frames == traffic.frames)
            .map(|share| 1.0 - share),
        traffic,
    }))
}

/// What is kept, and what a policy would remove now: the service's own, or the one in the query. Nothing is removed.
#[utoipa::path(
    get,
    path = "/api/v1/retention",
    params(RetentionQuery),
    responses(
        (status = 200, description = "What is kept, and what would go", body = RetentionJson),
        (status = 400, description = "A parameter is wrong", body = Told),
    ),
)]
pub(super) async fn retention(
    State(app): State<App>,
    query: Result<Query<RetentionQuery>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(asked) = query.map_err(|e| ApiError::bad_request(e.body_text()))?;
    let policy = match (asked.max_age_s, asked.max_bytes) {
        (None, None) => app.retention,
        (max_age_s, max_bytes) => Retention {
            max_age_s,
            max_bytes,
        },
    };
    let checked = policy.check();
    checked.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let kept = app.catalogue.kept().await?;
    let (before_ms, excess) = bounds(&policy, kept, app.catalogue.now_ms().await?);
    let due = app.catalogue.due(before_ms, excess).await?;
    Ok(Json(json!(RetentionJson { policy, kept, due })))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RetentionQuery {
    max_age_s: Option<u64>,
    max_bytes: Option<u64>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SeriesQuery {
    #[param(inline)]
    metric: Metric,
    camera: Option<String>,
    limit: Option<u32>,
}

/// The last points of a metric, of one camera or of the most recent ones.
#[utoipa::path(
    get,
    path = "/api/v1/series",
    params(SeriesQuery),
    responses(
        (status = 200, description = "A line a camera", body = SeriesList),
        (status = 400, description = "A parameter is wrong", body = Told),
    ),
)]
pub(super) async fn series(
    State(app): State<App>,
    query: Result<Query<SeriesQuery>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(query) = query.map_err(|e| ApiError::bad_request(e.body_text()))?;
    let limit = limit(query.limit, DEFAULT_POINTS, MAX_POINTS)?;
    let cameras = match camera(query.camera)? {
        Some(camera) => vec![camera],
        None => {
            let cameras = app.catalogue.cameras(MAX_SERIES, 0).await?;
            cameras.into_iter().map(|c| c.camera).collect()
        }
    };
    let mut series = Vec::with_capacity(cameras.len());
    for camera in &cameras {
        series.push(app.catalogue.series(camera, query.metric, limit).await?);
    }
    Ok(Json(json!(SeriesList { series })))
}
