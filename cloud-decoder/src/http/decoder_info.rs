//! A loaded decoder, as the API shows it.

use purenet::Decoder;
use serde::Serialize;
use utoipa::ToSchema;

/// A loaded decoder.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct DecoderInfo {
    /// SHA-256 of its file.
    pub(crate) id: String,
    pub(crate) program_id: String,
    pub(crate) bits_per_patch: u32,
    pub(crate) parameters: u64,
    pub(crate) macs_per_pixel: f64,
}

impl From<&Decoder> for DecoderInfo {
    fn from(decoder: &Decoder) -> Self {
        Self {
            id: hex::encode(decoder.id()),
            program_id: hex::encode(decoder.program()),
            bits_per_patch: decoder.bits(),
            parameters: decoder.parameters(),
            macs_per_pixel: decoder.macs_per_pixel(),
        }
    }
}
