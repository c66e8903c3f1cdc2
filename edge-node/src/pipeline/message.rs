//! The message of an encoded frame.

use bytes::Bytes;
use daemon::clock::now_ms;
use media::Picture;
use patchwire_proto::v1::{self, EncodedFrame, Label};
use uuid::Uuid;

use super::encode::{Classified, Encoded};

/// The message of a frame, without original and checksum.
pub(super) fn message(
    id: Uuid,
    camera_id: String,
    picture: &Picture,
    encoded: &Encoded,
) -> EncodedFrame {
    let latents = encoded.latents.as_ref();
    EncodedFrame {
        frame_id: Bytes::copy_from_slice(id.as_bytes()),
        camera_id,
        captured_unix_ms: now_ms(),
        width: picture.width,
        height: picture.height,
        latents: latents.map(|latents| latents.encode()).unwrap_or_default(),
        label: encoded.classified.as_ref().map(label),
        source_format: picture.source_format.into(),
        encode_ns: encoded.elapsed_ns,
        ..EncodedFrame::default()
    }
}

fn label(classified: &Classified) -> Label {
    let scores = classified.scores.iter();
    let scores = scores.map(|score| v1::Score {
        label: score.label.clone(),
        score: score.score,
    });
    Label {
        program_id: Bytes::copy_from_slice(&classified.program),
        scores: scores.collect(),
    }
}
