//! Rows of the `frames` and `cameras` tables, in types that both databases have.

use uuid::Uuid;

use super::{Camera, CatalogueError, Seen, from_row::from_row};
use crate::frame::{Frame, FrameState, Label, NewFrame, Quality, Work, is_sure};

pub(super) struct FrameRow {
    frame_id: Vec<u8>,
    node_id: String,
    camera_id: String,
    captured_ms: i64,
    received_ms: i64,
    width: i64,
    height: i64,
    source_format: String,
    state: String,
    attempts: i64,
    failure: String,
    latent_bits: i64,
    latent_ones: Option<f64>,
    bytes: i64,
    program_id: Option<Vec<u8>>,
    label_program_id: Option<Vec<u8>>,
    label_scores: Option<String>,
    original_type: Option<String>,
    encode_ns: i64,
    source_bytes: i64,
    latent_shares: Option<Vec<u8>>,
    scene_grid: Option<Vec<u8>>,
    wire_bytes: i64,
    original_bytes: i64,
    label_bytes: i64,
    original_crc32c: Option<i64>,
    digest: Option<Vec<u8>>,
    begun: i64,
    deaths: i64,
    traceparent: String,
    decode_ns: i64,
    measure_ns: i64,
    store_ns: i64,
    finished_ms: i64,
    psnr_db: Option<f64>,
    ssim: Option<f64>,
    ms_ssim: Option<f64>,
    seam_ratio: Option<f64>,
    original_seam_ratio: Option<f64>,
}

from_row! {
    FrameRow:
        frame_id, node_id, camera_id, captured_ms, received_ms, width, height, source_format,
        state, attempts, failure, latent_bits, latent_ones, bytes, program_id, label_program_id,
        label_scores, original_type, encode_ns, source_bytes, latent_shares, scene_grid,
        wire_bytes, original_bytes, label_bytes, original_crc32c, digest, begun, deaths,
        traceparent, decode_ns, measure_ns, store_ns, finished_ms, psnr_db, ssim, ms_ssim,
        seam_ratio, original_seam_ratio
}

impl TryFrom<FrameRow> for Frame {
    type Error = CatalogueError;

    fn try_from(row: FrameRow) -> Result<Self, CatalogueError> {
        let shown = hex::encode(&row.frame_id);
        let bad = |what| CatalogueError::Row {
            id: shown.clone(),
            what,
        };
        let hash =
            |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).map_err(|_| bad("a hash is not 32 bytes"));
        let label = match (row.label_program_id, row.label_scores) {
            (Some(id), Some(scores)) => Some(Label {
                program_id: hash(id)?,
                scores: serde_json::from_str(&scores).map_err(|_| bad("scores are not JSON"))?,
            }),
            _ => None,
        };
        let state = FrameState::named(&row.state).ok_or_else(|| bad("its state is unknown"))?;
        let side = |length: i64| u32::try_from(length).map_err(|_| bad("its size is wrong"));
        let quality = (state == FrameState::Decoded).then_some(Quality {
            psnr_db: row.psnr_db,
            ssim: row.ssim,
            ms_ssim: row.ms_ssim,
            seam_ratio: row.seam_ratio,
            original_seam_ratio: row.original_seam_ratio,
        });
        Ok(Self {
            new: NewFrame {
                id: frame_id(&row.frame_id)?,
                node_id: row.node_id,
                camera_id: row.camera_id,
                captured_ms: row.captured_ms,
                received_ms: row.received_ms,
                width: side(row.width)?,
                height: side(row.height)?,
                source_format: row.source_format,
                latent_bits: row.latent_bits as u64,
                latent_ones: row.latent_ones,
                bytes: row.bytes as u64,
                program_id: row.program_id.map(hash).transpose()?,
                label,
                original_type: row.original_type,
                encode_ns: row.encode_ns as u64,
                source_bytes: row.source_bytes as u64,
                latent_shares: row.latent_shares.unwrap_or_default(),
                scene_grid: row.scene_grid.unwrap_or_default(),
                wire_bytes: row.wire_bytes as u64,
                original_bytes: row.original_bytes as u64,
                label_bytes: row.label_bytes as u64,
                original_crc32c: row.original_crc32c.and_then(|crc| u32::try_from(crc).ok()),
                digest: row.digest.map(hash).transpose()?,
                traceparent: row.traceparent,
            },
            state,
            failure: row.failure,
            attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            begun: u32::try_from(row.begun).unwrap_or(u32::MAX),
            deaths: u32::try_from(row.deaths).unwrap_or(u32::MAX),
            quality,
            work: Work {
                decode_ns: row.decode_ns as u64,
                measure_ns: row.measure_ns as u64,
                store_ns: row.store_ns as u64,
                finished_ms: row.finished_ms,
            },
        })
    }
}

pub(super) struct CameraRow {
    camera_id: String,
    node_id: String,
    frames: i64,
    decoded: i64,
    labelled: i64,
    failed: i64,
    pixels: i64,
    latent_bits: i64,
    source_bytes: i64,
    sourced_bits: i64,
    measured: i64,
    psnr_sum: f64,
    last_received_ms: i64,
    last_frame: Vec<u8>,
    last_decoded: Option<Vec<u8>>,
    recent_psnr: Option<f64>,
    expected_ms: Option<i64>,
    silent_ms: Option<i64>,
    drifting_ms: Option<i64>,
}

from_row! {
    CameraRow:
        camera_id, node_id, frames, decoded, labelled, failed, pixels, latent_bits,
        source_bytes, sourced_bits, measured, psnr_sum, last_received_ms, last_frame,
        last_decoded, recent_psnr, expected_ms, silent_ms, drifting_ms
}

impl TryFrom<CameraRow> for Camera {
    type Error = CatalogueError;

    fn try_from(row: CameraRow) -> Result<Self, CatalogueError> {
        let mean = |sum: f64, count: i64| (count > 0).then(|| sum / count as f64);
        Ok(Self {
            frames: row.frames as u64,
            decoded: row.decoded as u64,
            labelled: row.labelled as u64,
            failed: row.failed as u64,
            pixels: row.pixels as u64,
            latent_bits: row.latent_bits as u64,
            mean_bpp: mean(row.latent_bits as f64, row.pixels),
            source_bytes: row.source_bytes as u64,
            sourced_bits: row.sourced_bits as u64,
            measured: row.measured as u64,
            mean_psnr_db: mean(row.psnr_sum, row.measured),
            recent_psnr_db: row.recent_psnr,
            last_received_ms: row.last_received_ms,
            last_frame: frame_id(&row.last_frame)?,
            last_decoded: row.last_decoded.as_deref().map(frame_id).transpose()?,
            expected_ms: row.expected_ms,
            silent_since_ms: row.silent_ms,
            changed_since_ms: row.drifting_ms,
            camera: row.camera_id,
            node: row.node_id,
        })
    }
}

pub(super) struct SeenRow {
    frame_id: Vec<u8>,
    camera_id: String,
    captured_ms: i64,
    label: String,
    score: f64,
}

from_row! { SeenRow: frame_id, camera_id, captured_ms, label, score }

impl TryFrom<SeenRow> for Seen {
    type Error = CatalogueError;

    fn try_from(row: SeenRow) -> Result<Self, CatalogueError> {
        Ok(Self {
            frame: frame_id(&row.frame_id)?,
            camera: row.camera_id,
            captured_ms: row.captured_ms,
            label: row.label,
            sure: is_sure(row.score),
            score: row.score,
        })
    }
}

/// The id in a row.
pub(super) fn frame_id(bytes: &[u8]) -> Result<Uuid, CatalogueError> {
    Uuid::from_slice(bytes).map_err(|_| CatalogueError::Row {
        id: hex::encode(bytes),
        what: "the id is not 16 bytes",
    })
}
