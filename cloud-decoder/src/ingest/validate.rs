//! Checks frames beyond the limits of the contract.

use bytes::Bytes;
use daemon::trace::is_traceparent;
use patchwire_proto::{
    limits,
    v1::{self, EncodedFrame},
};
use prost::Message as _;

use crate::{
    analysis::scene,
    frame::{Arrival, Label, NewFrame, Score},
    store::stored_frame::{Record, StoredFrame},
};

/// Bytes that gRPC puts before each message.
pub(super) const GRPC_PREFIX: usize = 5;

/// A frame that may be stored.
pub struct CheckedFrame {
    /// Its row.
    pub row: NewFrame,
    /// The object that holds it.
    pub object: Bytes,
    /// The original; empty if there is none.
    pub original: Bytes,
}

/// Checks a frame that arrived at `received_ms`, in milliseconds since the Unix epoch, with its latents decoded. A
/// decoder for it need not be installed: it may come later.
///
/// # Errors One sentence that says why the frame will never be accepted.
pub fn validate(
    max_pixels: u64,
    node: &str,
    received_ms: i64,
    frame: EncodedFrame,
) -> Result<CheckedFrame, String> {
    let wire_bytes = (frame.encoded_len() + GRPC_PREFIX) as u64;
    let label_bytes = frame
        .label
        .as_ref()
        .map_or(0, |label| label.encoded_len() as u64);
    let latents = limits::check_frame(&frame).map_err(|e| e.to_string())?;
    let id = limits::frame_id(&frame.frame_id).map_err(|e| e.to_string())?;
    let pixels = u64::from(frame.width) * u64::from(frame.height);
    if pixels > max_pixels {
        return Err(format!(
            "frame of {pixels} pixels is larger than the {max_pixels} that this service decodes"
        ));
    }
    let (record, digest) = Record::new(node, received_ms, &frame);
    let object = StoredFrame::encode(&record, &frame.latents);
    let mut original_crc32c = None;
    let (original_type, original) = match frame.original {
        Some(original) => {
            original_crc32c = original.rgb_crc32c;
            check_original_size(
                &original.media_type,
                &original.data,
                frame.width,
                frame.height,
            )?;
            (Some(original.media_type), original.data)
        }
        None => (None, Bytes::new()),
    };
    let shares = latents.as_ref().map(scene::describe).unwrap_or_default();
    let row = NewFrame {
        id,
        node_id: node.to_owned(),
        camera_id: frame.camera_id,
        captured_ms: frame.captured_unix_ms,
        received_ms,
        width: frame.width,
        height: frame.height,
        source_format: frame.source_format,
        latent_bits: latents.as_ref().map_or(0, |l| l.total_bits()),
        latent_ones: latents.as_ref().map(|l| ones(&l.payload)),
        bytes: (object.len() + original.len()) as u64,
        program_id: latents.as_ref().map(|l| l.program),
        label: frame.label.map(label),
        original_type,
        encode_ns: frame.encode_ns,
        source_bytes: frame.source_bytes,
        traceparent: Some(frame.traceparent)
            .filter(|text| is_traceparent(text))
            .unwrap_or_default(),
        latent_shares: shares.whole,
        scene_grid: shares.grid,
        arrival: Arrival {
            wire_bytes,
            latents: None,
        },
        original_bytes: original.len() as u64,
        label_bytes,
        original_crc32c,
        digest: Some(digest),
    };
    Ok(CheckedFrame {
        row,
        object,
        original,
    })
}

/// A label whose program's id was checked to have 32 bytes.
fn label(label: v1::Label) -> Label {
    let scores = label.scores.into_iter();
    Label {
        program_id: (&*label.program_id).try_into().expect("checked above"),
        scores: scores
            .map(|v1::Score { label, score }| Score { label, score })
            .collect(),
    }
}

fn check_original_size(
    media_type: &str,
    data: &[u8],
    width: u32,
    height: u32,
) -> Result<(), String> {
    let size = media::size(data, media_type)
        .map_err(|e| format!("original is not a readable {media_type}: {e}"))?;
    if size != (width, height) {
        return Err(format!(
            "original is of {}x{} pixels, the frame is {width}x{height}",
            size.0, size.1
        ));
    }
    Ok(())
}

/// Share of set bits.
fn ones(payload: &[u8]) -> f64 {
    let ones: u64 = payload.iter().map(|b| u64::from(b.count_ones())).sum();
    ones as f64 / (payload.len() * 8) as f64
}
