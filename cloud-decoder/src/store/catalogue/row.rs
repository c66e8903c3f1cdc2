//! A row of the table `frames`.

use sqlx::{FromRow, Row as _, any::AnyRow};
use uuid::Uuid;

use super::error::BadRow;
use crate::frame::{
    Arrival, Frame, FrameState, Label, NewFrame, Quality, Travelled, TravelledLatents, Work,
};

impl FromRow<'_, AnyRow> for Frame {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let frame = row.try_get("frame_id").map(hex::encode::<&[u8]>)?;
        let bad = |what| BadRow {
            row: format!("frame {frame}"),
            what,
        };
        let text = |column| row.try_get::<String, _>(column);
        let whole = |column| row.try_get::<i64, _>(column);
        let count = |column| whole(column).map(|value| value as u64);
        let number = |column| row.try_get::<Option<f64>, _>(column);
        let bytes = |column| row.try_get::<Option<Vec<u8>>, _>(column);
        let hash = |column| {
            let id = bytes(column)?.map(<[u8; 32]>::try_from).transpose();
            id.map_err(|_| sqlx::Error::from(bad("a hash is not 32 bytes")))
        };
        let small = |column| {
            u32::try_from(whole(column)?)
                .map_err(|_| sqlx::Error::from(bad("a number is out of range")))
        };
        let scores: Option<String> = row.try_get("label_scores")?;
        let label = match (hash("label_program_id")?, scores) {
            (Some(program_id), Some(scores)) => Some(Label {
                program_id,
                scores: serde_json::from_str(&scores).map_err(|_| bad("scores are not JSON"))?,
            }),
            _ => None,
        };
        let state = FrameState::named(row.try_get("state")?);
        let state = state.ok_or_else(|| bad("its state is unknown"))?;
        let quality = Quality {
            psnr_db: number("psnr_db")?,
            ssim: number("ssim")?,
            ms_ssim: number("ms_ssim")?,
            seam_ratio: number("seam_ratio")?,
            original_seam_ratio: number("original_seam_ratio")?,
        };
        let original_crc32c: Option<i64> = row.try_get("original_crc32c")?;
        let how: Option<&str> = row.try_get("latents_travelled")?;
        let wire_bytes: Option<i64> = row.try_get("latents_wire_bytes")?;
        let latents = match how.zip(wire_bytes) {
            Some((how, wire_bytes)) => Some(TravelledLatents {
                how: Travelled::named(how)
                    .ok_or_else(|| bad("how its latents travelled is unknown"))?,
                bytes: wire_bytes as u64,
            }),
            None => None,
        };
        Ok(Self {
            new: NewFrame {
                id: id(row, "frame_id")?,
                node_id: text("node_id")?,
                camera_id: text("camera_id")?,
                captured_ms: whole("captured_ms")?,
                received_ms: whole("received_ms")?,
                width: small("width")?,
                height: small("height")?,
                source_format: text("source_format")?,
                latent_bits: count("latent_bits")?,
                latent_ones: number("latent_ones")?,
                bytes: count("bytes")?,
                program_id: hash("program_id")?,
                label,
                original_type: row.try_get("original_type")?,
                encode_ns: count("encode_ns")?,
                source_bytes: count("source_bytes")?,
                latent_shares: bytes("latent_shares")?.unwrap_or_default(),
                scene_grid: bytes("scene_grid")?.unwrap_or_default(),
                arrival: Arrival {
                    wire_bytes: count("wire_bytes")?,
                    latents,
                },
                original_bytes: count("original_bytes")?,
                label_bytes: count("label_bytes")?,
                original_crc32c: original_crc32c.and_then(|crc| u32::try_from(crc).ok()),
                digest: hash("digest")?,
                traceparent: text("traceparent")?,
            },
            state,
            failure: text("failure")?,
            attempts: small("attempts")?,
            begun: small("begun")?,
            deaths: small("deaths")?,
            decoder_id: hash("decoder_id")?,
            quality: (state == FrameState::Decoded).then_some(quality),
            work: Work {
                decode_ns: count("decode_ns")?,
                measure_ns: count("measure_ns")?,
                store_ns: count("store_ns")?,
                finished_ms: whole("finished_ms")?,
            },
        })
    }
}

/// A frame id on its own, in a column `frame_id`.
pub(super) struct FrameId(pub(super) Uuid);

impl FromRow<'_, AnyRow> for FrameId {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        id(row, "frame_id").map(Self)
    }
}

/// The id in a column.
pub(super) fn id(row: &AnyRow, column: &str) -> Result<Uuid, sqlx::Error> {
    let bytes: &[u8] = row.try_get(column)?;
    let id = Uuid::from_slice(bytes).map_err(|_| BadRow {
        row: hex::encode(bytes),
        what: "the id is not 16 bytes",
    });
    Ok(id?)
}
