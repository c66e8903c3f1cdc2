//! Latents as they travel: coded by the codec of the uplink, or plain where it has no prior.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::latent::stream::{StreamDecoder, StreamEncoder};
use ::latent::{LatentFrame, prior::Prior};
use anyhow::{Result, ensure};
use bytes::Bytes;
use patchwire_proto::checked::CHECKSUM_BYTES;
use patchwire_proto::v1::{EdgeMessage, EncodedFrame, edge_message::Body};
use prost::Message as _;
use serde::Serialize;

use super::means::mean;

/// The camera's name in messages.
const CAMERA: &str = "camera-1";
/// Bytes of gRPC before each message: a flag, and its length.
const GRPC_PREFIX_BYTES: usize = 5;

/// Cost of a frame's latents as they travel, headers included.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Wire {
    /// Bits over pixels of the frame.
    pub(super) wire_bpp: f64,
    /// Bits over bits of the latents.
    pub(super) wire_bits_per_latent_bit: f64,
}

impl Wire {
    pub(super) fn of(frame: &LatentFrame, bytes: usize) -> Self {
        let ratio = 8.0 * bytes as f64 / frame.total_bits() as f64;
        Self {
            wire_bpp: ratio * frame.bits_per_pixel(),
            wire_bits_per_latent_bit: ratio,
        }
    }

    /// The means of each figure; `None` unless there are some and all are there.
    pub(super) fn mean(all: impl Iterator<Item = Option<Self>>) -> Option<Self> {
        let all: Vec<Self> = all.collect::<Option<_>>()?;
        let mean = |of: fn(&Self) -> f64| mean(all.iter().map(|wire| Some(of(wire))));
        Some(Self {
            wire_bpp: mean(|wire| wire.wire_bpp)?,
            wire_bits_per_latent_bit: mean(|wire| wire.wire_bits_per_latent_bit)?,
        })
    }
}

/// Load of the uplink by a video, in kbit/s of whole messages.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Load {
    /// With the frame before as reference.
    pub(super) kbit_s: f64,
    /// Each frame coded alone.
    pub(super) intra_kbit_s: f64,
    /// As plain containers.
    pub(super) plain_kbit_s: f64,
    /// Bits of latents that travel, each frame coded alone, over bits of the latents.
    pub(super) intra_wire_bits_per_latent_bit: f64,
}

/// Both ends of an uplink stream, and the time that its codec takes.
pub(super) struct Stream {
    encoder: StreamEncoder,
    decoder: StreamDecoder,
    frames: u32,
    encoding: Duration,
    decoding: Duration,
}

impl Stream {
    /// A stream whose table of references holds `table_bytes`; with 0, each frame is coded alone.
    pub(super) fn new(prior: Option<&Arc<Prior>>, table_bytes: usize) -> Self {
        Self {
            encoder: StreamEncoder::new(prior.cloned(), table_bytes),
            decoder: StreamDecoder::new(prior.cloned(), table_bytes),
            frames: 0,
            encoding: Duration::ZERO,
            decoding: Duration::ZERO,
        }
    }

    /// The bytes in which a frame travels, and the frame that arrives.
    ///
    /// # Errors
    /// Another frame arrives.
    pub(super) fn carry(&mut self, frame: &LatentFrame) -> Result<(Bytes, LatentFrame)> {
        let start = Instant::now();
        let coded = self.encoder.encode(CAMERA, frame);
        let encoded = Instant::now();
        let (bytes, received) = match coded {
            Some(coded) => {
                let received = self.decoder.decode(CAMERA, &coded.bytes, || true)?;
                (coded.bytes, received)
            }
            None => {
                let container = frame.encode();
                (container.clone(), LatentFrame::decode(container)?)
            }
        };
        self.frames += 1;
        self.encoding += encoded - start;
        self.decoding += encoded.elapsed();
        ensure!(received == *frame, "the codec gave back other latents");
        Ok((bytes, received))
    }

    /// Mean time to encode and to decode a frame, in milliseconds.
    pub(super) fn mean_ms(&self) -> (f64, f64) {
        let mean = |all: Duration| 1e3 * all.as_secs_f64() / f64::from(self.frames.max(1));
        (mean(self.encoding), mean(self.decoding))
    }
}

/// Bytes of the message in which a frame's latents travel, with checksum and gRPC's prefix; HTTP/2, TLS, TCP and IP add
/// theirs. The frame has neither label, original nor trace.
pub(super) fn message_bytes(frame: &LatentFrame, latents: Bytes) -> usize {
    let message = EncodedFrame {
        frame_id: Bytes::from_static(&[1; 16]),
        camera_id: CAMERA.to_owned(),
        captured_unix_ms: 1 << 40,
        width: frame.width,
        height: frame.height,
        crc32c: u32::MAX,
        latents,
        source_format: "jpeg (zune-jpeg 0.5)".to_owned(),
        encode_ns: 1 << 20,
        source_bytes: 1 << 17,
        ..EncodedFrame::default()
    };
    let message = EdgeMessage {
        body: Some(Body::Frame(message)),
    };
    GRPC_PREFIX_BYTES + message.encoded_len() + CHECKSUM_BYTES
}

/// kbit/s of bytes that travel in so many seconds.
pub(super) fn kbit_s(bytes: u64, seconds: f64) -> f64 {
    8e-3 * bytes as f64 / seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> LatentFrame {
        LatentFrame {
            bits: 256,
            width: 64,
            height: 33,
            program: [7; 32],
            payload: Bytes::from(vec![9; 4 * 32]),
        }
    }

    #[test]
    fn latents_without_a_prior_travel_as_their_container() {
        let frame = frame();
        let mut stream = Stream::new(None, usize::MAX);
        for _ in 0..2 {
            let (bytes, received) = stream.carry(&frame).expect("it arrives");
            assert_eq!(bytes, frame.encode());
            assert_eq!(received, frame);
        }
        let wire = Wire::of(&frame, 4 * 32 + 52);
        assert!((wire.wire_bits_per_latent_bit - 180.0 / 128.0).abs() < 1e-12);
        assert!((wire.wire_bpp - 8.0 * 180.0 / (64.0 * 33.0)).abs() < 1e-12);
    }

    #[test]
    fn a_message_has_all_that_travels_with_latents() {
        let frame = frame();
        let bytes = message_bytes(&frame, frame.encode()) - frame.encode().len();
        // Id, camera, time, size, format and checksums.
        assert!((80..130).contains(&bytes), "{bytes}");
    }
}
