//! Patchwire's wire contract: the gRPC services and the latent container.
#![forbid(unsafe_code)]

/// Messages, clients and servers generated from `proto/patchwire/v1/patchwire.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("patchwire.v1");
}

/// The contract's encoded `FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/patchwire.bin"));
