//! A frame as the cloud keeps it.

use latent::{OVERHEAD_BYTES, PATCH};
use patchwire_models::SURE;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::stored_frame::ContentDigest;

/// Progress of a frame from ingest to reconstruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FrameState {
    /// Durable, waiting for the decoder.
    Queued,
    /// Reconstructed and measured.
    Decoded,
    /// Only a label was sent.
    Labelled,
    /// Decoding failed for good.
    Failed,
}

impl FrameState {
    /// Its name in the catalogue.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Decoded => "decoded",
            Self::Labelled => "labelled",
            Self::Failed => "failed",
        }
    }

    /// The state of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [Self::Queued, Self::Decoded, Self::Labelled, Self::Failed];
        all.into_iter().find(|state| state.name() == name)
    }
}

/// One class of a label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Score {
    /// Name of the class.
    pub label: String,
    /// Softmax of the logits, 0 to 1.
    pub score: f32,
}

/// The result of the classification program, most likely class first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Label {
    /// The classification program.
    #[serde(serialize_with = "hex_id")]
    #[schema(value_type = String)]
    pub program_id: [u8; 32],
    /// At most 16 classes.
    pub scores: Vec<Score>,
}

/// Whether a label's score is high enough to be shown as sure.
pub(crate) fn is_sure(score: f64) -> bool {
    score >= f64::from(SURE)
}

/// Measured quality of a reconstruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Quality {
    /// Over RGB in dB; absent without an original.
    pub psnr_db: Option<f64>,
    /// On luma; absent without an original.
    pub ssim: Option<f64>,
    /// On luma; absent without an original or when a side is too small for five scales.
    pub ms_ssim: Option<f64>,
    /// Gradient across patch borders, divided by that inside patches; absent when the frame has no inner border.
    pub seam_ratio: Option<f64>,
    /// The original's own seam ratio.
    pub original_seam_ratio: Option<f64>,
}

/// How a frame's latents travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Travelled {
    /// As a container.
    Plain,
    /// Coded alone.
    Intra,
    /// Coded with a reference to the camera's frame before.
    Reference,
}

impl Travelled {
    /// Its name in the catalogue.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Intra => "intra",
            Self::Reference => "reference",
        }
    }

    /// The way of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [Self::Plain, Self::Intra, Self::Reference];
        all.into_iter().find(|travelled| travelled.name() == name)
    }
}

/// A frame's latents on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TravelledLatents {
    /// How they travelled.
    pub how: Travelled,
    /// Bytes that travelled.
    pub bytes: u64,
}

/// How a frame came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Bytes of the message that brought the frame; 0 for a frame from before they were counted.
    pub wire_bytes: u64,
    /// Absent for a frame without latents, from before it was noted, or whose row was made again from its object.
    pub latents: Option<TravelledLatents>,
}

/// A checked frame, as ingest stores it.
#[derive(Clone, Debug)]
pub struct NewFrame {
    /// UUIDv7 made at the edge, the idempotency key.
    pub id: Uuid,
    /// The edge node.
    pub node_id: String,
    /// The camera.
    pub camera_id: String,
    /// When the edge accepted the frame, milliseconds since the Unix epoch.
    pub captured_ms: i64,
    /// When the cloud took it, milliseconds since the Unix epoch.
    pub received_ms: i64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Format and decoder of the camera's bytes.
    pub source_format: String,
    /// Bits of latents, container excluded; 0 for a frame that only has a label.
    pub latent_bits: u64,
    /// Share of set bits in the latents.
    pub latent_ones: Option<f64>,
    /// Bytes of its objects.
    pub bytes: u64,
    /// Program that made the latents.
    pub program_id: Option<[u8; 32]>,
    /// Label, if the edge classified the frame.
    pub label: Option<Label>,
    /// Media type of the original, if one is attached.
    pub original_type: Option<String>,
    /// Nanoseconds that the encoder took.
    pub encode_ns: u64,
    /// Bytes of the frame as the camera sent it; 0 if the edge node did not report them.
    pub source_bytes: u64,
    /// How often each bit of a patch is set over the frame's patches, from 0 (never) to 255 (always); empty without
    /// latents.
    pub latent_shares: Vec<u8>,
    /// The same for the first bits, in a coarse grid over the frame.
    pub scene_grid: Vec<u8>,
    /// How it came.
    pub arrival: Arrival,
    /// Of the bytes of its message, the original.
    pub original_bytes: u64,
    /// Of these, the label.
    pub label_bytes: u64,
    /// CRC-32C of the original's RGB pixels as the edge node decoded them, if it sent one.
    pub original_crc32c: Option<u32>,
    /// SHA-256 of the frame's content; absent for a frame from before it was kept.
    pub digest: Option<ContentDigest>,
    /// W3C traceparent of the frame's trace, empty when it has none.
    pub traceparent: String,
}

impl NewFrame {
    /// A frame with latents, for unit tests.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self {
            id: Uuid::now_v7(),
            node_id: "node".to_owned(),
            camera_id: "gate".to_owned(),
            captured_ms: 1_790_000_000_000,
            received_ms: 1_790_000_001_000,
            width: 64,
            height: 48,
            source_format: "jpeg".to_owned(),
            latent_bits: 1024,
            latent_ones: Some(0.5),
            bytes: 100,
            program_id: Some([7; 32]),
            label: None,
            original_type: None,
            encode_ns: 1_500_000,
            source_bytes: 1000,
            latent_shares: vec![128; 256],
            scene_grid: vec![128; 64],
            arrival: Arrival {
                wire_bytes: 150,
                latents: None,
            },
            original_bytes: 0,
            label_bytes: 0,
            original_crc32c: None,
            digest: None,
            traceparent: String::new(),
        }
    }

    /// Queued when there is something to decode.
    pub fn state(&self) -> FrameState {
        match self.program_id {
            Some(_) => FrameState::Queued,
            None => FrameState::Labelled,
        }
    }

    /// Bytes of its latent container; 0 for a frame that only has a label.
    pub fn container_bytes(&self) -> u64 {
        match self.latent_bits {
            0 => 0,
            bits => bits / 8 + OVERHEAD_BYTES as u64,
        }
    }

    /// Bits of a patch's latents; 0 for a frame that only has a label.
    pub fn bits_per_patch(&self) -> u32 {
        let patches =
            u64::from(self.width.div_ceil(PATCH)) * u64::from(self.height.div_ceil(PATCH));
        u32::try_from(self.latent_bits / patches.max(1)).unwrap_or(u32::MAX)
    }
}

/// Times of the cloud's work on a reconstruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Nanoseconds that the decoder took.
    pub decode_ns: u64,
    /// Nanoseconds that measuring its quality took.
    pub measure_ns: u64,
    /// Nanoseconds that writing the pictures took, compression included.
    pub store_ns: u64,
    /// End of the work, milliseconds since the Unix epoch; 0 before that.
    pub finished_ms: i64,
}

/// A frame's row in the catalogue.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The frame as ingest stored it.
    pub new: NewFrame,
    /// Progress.
    pub state: FrameState,
    /// Why decoding failed, empty otherwise.
    pub failure: String,
    /// Decodings that ended, with or without success; of a claimed frame, including the current one.
    pub attempts: u32,
    /// Decodings that began and have not ended, including the current one.
    pub begun: u32,
    /// Of these, decodings that ran alone in a process that had decoded other frames.
    pub deaths: u32,
    /// Id of the decoder that made the pictures, once decoded; absent for a picture of an earlier decoder, from before
    /// it was kept.
    pub decoder_id: Option<[u8; 32]>,
    /// Set once decoded.
    pub quality: Option<Quality>,
    /// All 0 until decoded.
    pub work: Work,
}

impl Frame {
    /// A frame that has just been stored.
    pub(crate) fn queued(new: NewFrame) -> Self {
        Self {
            state: new.state(),
            new,
            failure: String::new(),
            attempts: 0,
            begun: 0,
            deaths: 0,
            decoder_id: None,
            quality: None,
            work: Work::default(),
        }
    }

    /// The frame as a worker has it, with this attempt counted.
    pub(crate) fn under_way(mut self) -> Self {
        self.attempts = self.attempts.saturating_add(1);
        self
    }

    /// Latent bits over width * height; 0 for a frame without latents.
    pub fn bits_per_pixel(&self) -> f64 {
        let pixels = f64::from(self.new.width) * f64::from(self.new.height);
        self.new.latent_bits as f64 / pixels
    }
}

fn hex_id<S: Serializer>(id: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(id))
}
