//! Patchwire's wire contract: the gRPC services and the limits of their messages.
#![forbid(unsafe_code)]

pub mod checked;
pub mod limits;
pub mod wire;

/// Messages, clients and servers generated from `proto/patchwire/v1/patchwire.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("patchwire.v1");
    tonic::include_proto!("patchwire.v1.Uplink");
}

/// The contract's encoded `FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/patchwire.bin"));

/// The checksum that an [`v1::EncodedFrame`] carries: CRC-32C (Castagnoli) over the latent
/// container, then over the original's bytes; either may be empty.
pub fn frame_crc32c(latents: &[u8], original: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(latents), original)
}

impl v1::EncodedFrame {
    /// [`frame_crc32c`] of what this frame holds, to be stored in or compared with its `crc32c`.
    pub fn compute_crc32c(&self) -> u32 {
        let original = self
            .original
            .as_ref()
            .map_or(&[][..], |original| &original.data);
        frame_crc32c(&self.latents, original)
    }
}
