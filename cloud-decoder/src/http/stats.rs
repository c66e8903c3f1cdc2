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
    catalogue::{Camera, Kept, Metric, Series},
    clock::now_ms,
    config::Retention,
    retention::bounds,
};

/// A camera is live when a frame of it arrived this recently, in milliseconds.
const LIVE_MS: i64 = 60_000;
/// Cameras of one series answer when none is named.
const MAX_SERIES: usize = 24;
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
    live: bool,
    #[serde(flatten)]
    camera: Camera,
}

/// Cameras.
#[derive(Serialize, ToSchema)]
pub(super) struct Cameras {
    cameras: Vec<CameraJson>,
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
    cameras: usize,
    /// That sent a frame within `live_ms`.
    cameras_live: usize,
    live_ms: i64,
    latent_bytes: u64,
    /// Of the same frames as 8-bit RGB.
    raw_bytes: u64,
    mean_bpp: Option<f64>,
    mean_psnr_db: Option<f64>,
    /// As the cameras sent the frames, where the edge told.
    source_bytes: u64,
    /// Latents of these.
    sourced_latent_bytes: u64,
    /// Share of the bits of raw RGB that latents save.
    saved: Option<f64>,
}

/// Cameras, the one that sent last first.
#[utoipa::path(
    get,
    path = "/api/v1/cameras",
    responses(
        (status = 200, description = "All of them", body = Cameras),
    ),
)]
pub(super) async fn cameras(State(app): State<App>) -> Result<Json<Cameras>, ApiError> {
    let oldest = now_ms() - LIVE_MS;
    let cameras: Vec<_> = app
        .catalogue
        .cameras()
        .await?
        .into_iter()
        .map(|camera| CameraJson {
            live: camera.last_received_ms >= oldest,
            camera,
        })
        .collect();
    Ok(Json(Cameras { cameras }))
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
    let cameras = app.catalogue.cameras().await?;
    let queued = app.catalogue.queued().await?;
    let oldest = now_ms() - LIVE_MS;
    let live = cameras.iter().filter(|c| c.last_received_ms >= oldest);
    let sum = |of: fn(&Camera) -> u64| cameras.iter().map(of).sum::<u64>();
    let (pixels, bits, measured) = (
        sum(|c| c.pixels),
        sum(|c| c.latent_bits),
        sum(|c| c.measured),
    );
    let psnr_sum: f64 = cameras
        .iter()
        .filter_map(|c| Some(c.mean_psnr_db? * c.measured as f64))
        .sum();
    let ratio = |part: f64, whole: u64| (whole > 0).then(|| part / whole as f64);
    let mean_bpp = ratio(bits as f64, pixels);
    Ok(Json(Summary {
        version: env!("CARGO_PKG_VERSION"),
        decoder: app.decoder.clone(),
        decoders: app.decoders.to_vec(),
        frames: sum(|c| c.frames),
        decoded: sum(|c| c.decoded),
        labelled: sum(|c| c.labelled),
        failed: sum(|c| c.failed),
        queued,
        cameras: cameras.len(),
        cameras_live: live.count(),
        live_ms: LIVE_MS,
        latent_bytes: bits / 8,
        raw_bytes: pixels * 3,
        mean_bpp,
        mean_psnr_db: ratio(psnr_sum, measured),
        source_bytes: sum(|c| c.source_bytes),
        sourced_latent_bytes: sum(|c| c.sourced_bits) / 8,
        saved: mean_bpp.map(|bpp| 1.0 - bpp / 24.0),
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
    let (before_ms, excess) = bounds(&policy, kept);
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
            let cameras = app.catalogue.cameras().await?;
            let names = cameras.into_iter().map(|c| c.camera);
            names.take(MAX_SERIES).collect()
        }
    };
    let mut series = Vec::with_capacity(cameras.len());
    for camera in &cameras {
        series.push(app.catalogue.series(camera, query.metric, limit).await?);
    }
    Ok(Json(json!(SeriesList { series })))
}
