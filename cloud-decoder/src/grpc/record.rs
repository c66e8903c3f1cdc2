//! A frame's record as a protobuf message.

use patchwire_proto::v1;

use crate::frame::{Frame, FrameState, Travelled};

impl From<&Frame> for v1::FrameRecord {
    fn from(frame: &Frame) -> Self {
        let new = &frame.new;
        let latents = new.arrival.latents;
        Self {
            frame_id: new.id.as_bytes().to_vec().into(),
            node_id: new.node_id.clone(),
            camera_id: new.camera_id.clone(),
            captured_unix_ms: new.captured_ms,
            received_unix_ms: new.received_ms,
            width: new.width,
            height: new.height,
            state: v1::FrameState::from(frame.state).into(),
            failure: frame.failure.clone(),
            latent_bits: new.latent_bits,
            bits_per_pixel: frame.bits_per_pixel(),
            program_id: new
                .program_id
                .map(|id| id.to_vec())
                .unwrap_or_default()
                .into(),
            label: new.label.as_ref().map(|label| v1::Label {
                program_id: label.program_id.to_vec().into(),
                scores: label
                    .scores
                    .iter()
                    .map(|s| v1::Score {
                        label: s.label.clone(),
                        score: s.score,
                    })
                    .collect(),
            }),
            has_original: new.original_type.is_some(),
            quality: frame.quality.map(|q| v1::Quality {
                psnr_db: q.psnr_db,
                ssim: q.ssim,
                ms_ssim: q.ms_ssim,
                seam_ratio: q.seam_ratio,
                original_seam_ratio: q.original_seam_ratio,
            }),
            encode_ns: new.encode_ns,
            decode_ns: frame.work.decode_ns,
            decoder_id: frame
                .decoder_id
                .map(|id| id.to_vec())
                .unwrap_or_default()
                .into(),
            latents_travelled: latents
                .map_or(v1::Travelled::Unspecified, |latents| latents.how.into())
                .into(),
            latents_wire_bytes: latents.map_or(0, |latents| latents.bytes),
            container_bytes: new.container_bytes(),
        }
    }
}

impl From<Travelled> for v1::Travelled {
    fn from(travelled: Travelled) -> Self {
        match travelled {
            Travelled::Plain => Self::Plain,
            Travelled::Intra => Self::Intra,
            Travelled::Reference => Self::Reference,
        }
    }
}

impl From<FrameState> for v1::FrameState {
    fn from(state: FrameState) -> Self {
        match state {
            FrameState::Queued => Self::Queued,
            FrameState::Decoded => Self::Decoded,
            FrameState::Labelled => Self::Labelled,
            FrameState::Failed => Self::Failed,
        }
    }
}
