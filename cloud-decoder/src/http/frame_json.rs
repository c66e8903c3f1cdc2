//! A frame's record as JSON.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    frame::{Frame, FrameState, Label, Quality, Travelled, is_sure},
    store::catalogue::QueuePosition,
};

/// The frame's JSON. Numbers that do not apply are null; an infinite PSNR is null too.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FrameJson<'a> {
    id: Uuid,
    node: &'a str,
    camera: &'a str,
    captured_ms: i64,
    received_ms: i64,
    width: u32,
    height: u32,
    source_format: &'a str,
    state: FrameState,
    failure: &'a str,
    latent_bits: u64,
    latent_ones: Option<f64>,
    bpp: f64,
    source_bytes: Option<u64>,
    program_id: Option<String>,
    label: Option<&'a Label>,
    /// Whether the likeliest class is far enough ahead.
    label_sure: Option<bool>,
    /// SHA-256 of the file of the decoder that made the pictures; null for a frame that is not decoded, and for pictures of
    /// an earlier decoder, from before it was kept.
    decoder_id: Option<String>,
    quality: Option<Quality>,
    encode_ms: f64,
    decode_ms: f64,
    measure_ms: f64,
    store_ms: f64,
    finished_ms: Option<i64>,
    /// Bytes of the message that brought the frame, and of its original and label.
    wire_bytes: Option<u64>,
    original_bytes: u64,
    label_bytes: u64,
    /// How its latents travelled; null for a frame without latents, from before it was noted, or whose record was made
    /// again from its object.
    latents: Option<LatentsJson>,
    /// The original decodes to other pixels here than at the edge node, so the frame is not measured.
    original_differs: bool,
    /// Place in the queue of a frame that waits; only in the record of a single frame.
    pub(crate) queue: Option<QueuePosition>,
    images: Images,
}

/// A frame's latents on their way from the edge node.
#[derive(Debug, Serialize, ToSchema)]
struct LatentsJson {
    travelled: Travelled,
    /// Bytes that travelled.
    wire_bytes: u64,
    /// Bytes of the container that they travelled as or decode to.
    container_bytes: u64,
}

/// Addresses of a frame's images, null where there is none.
#[derive(Debug, Serialize, ToSchema)]
struct Images {
    original: Option<String>,
    reconstruction: Option<String>,
    thumbnail: Option<String>,
}

impl<'a> From<&'a Frame> for FrameJson<'a> {
    fn from(frame: &'a Frame) -> Self {
        let new = &frame.new;
        let base = format!("/api/v1/frames/{}", new.id);
        let decoded = frame.state == FrameState::Decoded;
        Self {
            id: new.id,
            node: &new.node_id,
            camera: &new.camera_id,
            captured_ms: new.captured_ms,
            received_ms: new.received_ms,
            width: new.width,
            height: new.height,
            source_format: &new.source_format,
            state: frame.state,
            failure: &frame.failure,
            latent_bits: new.latent_bits,
            latent_ones: new.latent_ones,
            bpp: frame.bits_per_pixel(),
            source_bytes: Some(new.source_bytes).filter(|&bytes| bytes > 0),
            program_id: new.program_id.map(hex::encode),
            label: new.label.as_ref(),
            label_sure: new.label.as_ref().and_then(|label| {
                let best = label.scores.first()?;
                Some(is_sure(best.score.into()))
            }),
            decoder_id: frame.decoder_id.map(hex::encode),
            quality: frame.quality,
            encode_ms: new.encode_ns as f64 / 1e6,
            decode_ms: frame.work.decode_ns as f64 / 1e6,
            measure_ms: frame.work.measure_ns as f64 / 1e6,
            store_ms: frame.work.store_ns as f64 / 1e6,
            finished_ms: Some(frame.work.finished_ms).filter(|&ms| ms > 0),
            wire_bytes: Some(new.arrival.wire_bytes).filter(|&bytes| bytes > 0),
            original_bytes: new.original_bytes,
            label_bytes: new.label_bytes,
            latents: new.arrival.latents.map(|latents| LatentsJson {
                travelled: latents.how,
                wire_bytes: latents.bytes,
                container_bytes: new.container_bytes(),
            }),
            original_differs: decoded
                && new.original_type.is_some()
                && frame
                    .quality
                    .is_some_and(|quality| quality.psnr_db.is_none()),
            queue: None,
            images: Images {
                original: new
                    .original_type
                    .as_ref()
                    .map(|_| format!("{base}/original")),
                reconstruction: decoded.then(|| format!("{base}/reconstruction.png")),
                thumbnail: decoded.then(|| format!("{base}/thumbnail.jpg")),
            },
        }
    }
}
