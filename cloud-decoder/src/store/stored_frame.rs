//! The object that holds a frame: everything that its row needs, and its latents. A catalogue that is lost can be made
//! again from these objects.
//!
//! # Layout
//!
//! Little-endian.
//!
//! | offset    | bytes | field                                                           |
//! |-----------|-------|-----------------------------------------------------------------|
//! | 0         | 4     | magic `PWF1`                                                    |
//! | 4         | 4     | n, length of the record                                         |
//! | 8         | n     | record, a protobuf message: [`Record`]                          |
//! | 8 + n     | m     | latent container; nothing for a frame that only has a label     |
//! | 8 + n + m | 4     | CRC-32C of all bytes before it                                  |
//!
//! Objects of earlier versions are a latent container alone.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use crc32c::crc32c;
use patchwire_proto::v1::EncodedFrame;
use prost::Message;
use sha2::{Digest as _, Sha256};

const MAGIC: &[u8; 4] = b"PWF1";
const HEADER_BYTES: usize = 8;
const CRC_BYTES: usize = 4;

/// SHA-256 of a frame's content, the same however often it is sent. A field that `EncodedFrame` gains must stay out of
/// it: processes of several versions have to agree.
pub type ContentDigest = [u8; 32];

/// The fields that a frame's row needs besides its latents.
#[derive(Clone, PartialEq, Message)]
pub struct Record {
    /// The edge node.
    #[prost(string, tag = "1")]
    pub node_id: String,
    /// When the cloud took the frame, milliseconds since the Unix epoch.
    #[prost(int64, tag = "2")]
    pub received_unix_ms: i64,
    /// The message that brought the frame, without its latents and without the original's bytes.
    #[prost(message, optional, tag = "3")]
    pub frame: Option<EncodedFrame>,
    /// Bytes of the original; 0 without one.
    #[prost(uint64, tag = "4")]
    pub original_bytes: u64,
    /// CRC-32C of the original's bytes; 0 without one.
    #[prost(fixed32, tag = "5")]
    pub original_crc32c: u32,
    /// [`ContentDigest`].
    #[prost(bytes = "bytes", tag = "6")]
    pub digest: Bytes,
}

/// Why bytes are no stored frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// Shorter than header and checksum, or than the record.
    #[error("it ends too early")]
    TooShort,
    /// The checksum differs.
    #[error("its checksum is {stored:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// Checksum in the object.
        stored: u32,
        /// Checksum of its bytes.
        computed: u32,
    },
    /// The record cannot be read.
    #[error("its record cannot be read: {0}")]
    Record(#[from] prost::DecodeError),
}

/// A frame's object, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredFrame {
    /// Absent in objects of earlier versions.
    pub record: Option<Record>,
    /// The latent container; empty for a frame that only has a label.
    pub latents: Bytes,
}

impl Record {
    /// The record of a frame as it came, and the digest of its content.
    pub(crate) fn new(node: &str, received_ms: i64, frame: &EncodedFrame) -> (Self, ContentDigest) {
        let empty = Bytes::new();
        let original = frame.original.as_ref().map_or(&empty, |o| &o.data);
        let mut kept = EncodedFrame {
            latents: Bytes::new(),
            coded_latents: Bytes::new(),
            traceparent: String::new(),
            label: frame.label.clone(),
            original: None,
            frame_id: frame.frame_id.clone(),
            camera_id: frame.camera_id.clone(),
            source_format: frame.source_format.clone(),
            ..*frame
        };
        kept.original = frame
            .original
            .as_ref()
            .map(|o| patchwire_proto::v1::Original {
                media_type: o.media_type.clone(),
                data: Bytes::new(),
                ..*o
            });
        let digest: ContentDigest = Sha256::new()
            .chain_update((node.len() as u64).to_le_bytes())
            .chain_update(node)
            .chain_update(kept.encode_to_vec())
            .chain_update((frame.latents.len() as u64).to_le_bytes())
            .chain_update(&frame.latents)
            .chain_update(original)
            .finalize()
            .into();
        kept.traceparent.clone_from(&frame.traceparent);
        let record = Self {
            node_id: node.to_owned(),
            received_unix_ms: received_ms,
            frame: Some(kept),
            original_bytes: original.len() as u64,
            original_crc32c: crc32c(original),
            digest: Bytes::copy_from_slice(&digest),
        };
        (record, digest)
    }

    /// Whether these are the original's bytes.
    pub(crate) fn has_original(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.original_bytes && crc32c(bytes) == self.original_crc32c
    }
}

impl StoredFrame {
    /// The object's bytes.
    pub(crate) fn encode(record: &Record, latents: &[u8]) -> Bytes {
        let length = record.encoded_len();
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + length + latents.len() + CRC_BYTES);
        bytes.put_slice(MAGIC);
        bytes.put_u32_le(u32::try_from(length).expect("a record is smaller than a message"));
        record.encode(&mut bytes).expect("there is room");
        bytes.put_slice(latents);
        let crc = crc32c(&bytes);
        bytes.put_u32_le(crc);
        bytes.freeze()
    }

    /// Parses an object without copying it.
    ///
    /// # Errors
    /// The bytes are not those that were written.
    pub fn decode(mut bytes: Bytes) -> Result<Self, Damaged> {
        if !bytes.starts_with(MAGIC) {
            // A latent container has a checksum of its own.
            return Ok(Self {
                record: None,
                latents: bytes,
            });
        }
        if bytes.len() < HEADER_BYTES + CRC_BYTES {
            return Err(Damaged::TooShort);
        }
        let stored = bytes.split_off(bytes.len() - CRC_BYTES).get_u32_le();
        let computed = crc32c(&bytes);
        if stored != computed {
            return Err(Damaged::Checksum { stored, computed });
        }
        bytes.advance(MAGIC.len());
        let length = bytes.get_u32_le() as usize;
        if length > bytes.len() {
            return Err(Damaged::TooShort);
        }
        let record = Record::decode(bytes.split_to(length))?;
        Ok(Self {
            record: Some(record),
            latents: bytes,
        })
    }

    /// The digest of its content; `None` in objects of earlier versions.
    pub(crate) fn digest(&self) -> Option<ContentDigest> {
        let record = self.record.as_ref()?;
        (&*record.digest).try_into().ok()
    }

    /// The message that brought the frame, with its original if that is given.
    pub(crate) fn message(self, original: Option<Bytes>) -> Option<(Record, EncodedFrame)> {
        let record = self.record?;
        let mut frame = record.frame.clone()?;
        frame.latents = self.latents;
        frame.original = match (frame.original.take(), original) {
            (Some(kept), Some(data)) => Some(patchwire_proto::v1::Original { data, ..kept }),
            _ => None,
        };
        Some((record, frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> EncodedFrame {
        EncodedFrame {
            camera_id: "gate".to_owned(),
            latents: Bytes::from_static(b"latents"),
            ..EncodedFrame::default()
        }
    }

    #[test]
    fn a_frame_comes_back_as_it_went_and_any_flipped_bit_is_noticed() {
        let sent = frame();
        let (record, digest) = Record::new("node", 7, &sent);
        let object = StoredFrame::encode(&record, &sent.latents);
        let stored = StoredFrame::decode(object.clone()).expect("whole");
        assert_eq!(stored.digest(), Some(digest));
        assert_eq!(stored.message(None), Some((record, sent)));
        for at in 0..object.len() * 8 {
            let mut flipped = object.to_vec();
            flipped[at / 8] ^= 1 << (at % 8);
            let read = StoredFrame::decode(flipped.into());
            let noticed = read.is_err() || read.is_ok_and(|read| read.record.is_none());
            assert!(noticed, "bit {at} was flipped");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_content_and_not_of_its_trace() {
        let digest = |frame: &EncodedFrame, node| Record::new(node, 7, frame).1;
        let traced = EncodedFrame {
            traceparent: "00-1".to_owned(),
            ..frame()
        };
        let other = EncodedFrame {
            latents: Bytes::from_static(b"latentS"),
            ..frame()
        };
        assert_eq!(digest(&frame(), "a"), digest(&traced, "a"));
        assert_ne!(digest(&frame(), "a"), digest(&other, "a"));
        assert_ne!(digest(&frame(), "a"), digest(&frame(), "b"));
    }
}
