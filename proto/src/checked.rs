//! The codec of the uplink: protobuf messages that end with their checksum.
//!
//! The last five bytes of a message are field 15 as a `fixed32`: the CRC-32C of all bytes before it. To protobuf it is
//! a field like any other. It covers what the checksum of a frame does not: ids, acks, the limits in a welcome. So what
//! a link damages ends the stream with `DATA_LOSS` and is sent again, and nobody acts on it.
//!
//! Messages are decoded within the bounds of [`wire`](crate::wire) alone.

use std::marker::PhantomData;

use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::wire::Bounded;

/// Key of field 15 with wire type 5.
const KEY: u8 = 15 << 3 | 5;
/// Bytes that the checksum adds to a message.
pub const CHECKSUM_BYTES: usize = 5;

/// Sends `T`, receives `U`, both with a checksum.
#[derive(Debug, Clone)]
pub struct CheckedCodec<T, U>(PhantomData<(T, U)>);

/// Sending half of [`CheckedCodec`].
#[derive(Debug)]
pub struct CheckedEncoder<T>(PhantomData<T>);

/// Receiving half of [`CheckedCodec`].
#[derive(Debug)]
pub struct CheckedDecoder<U>(PhantomData<U>);

impl<T, U> Default for CheckedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for CheckedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Bounded + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = CheckedEncoder<T>;
    type Decoder = CheckedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        CheckedEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        CheckedDecoder(PhantomData)
    }
}

impl<T: Message> Encoder for CheckedEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let message = item.encode_to_vec();
        buf.reserve(message.len() + CHECKSUM_BYTES);
        buf.put_slice(&message);
        buf.put_u8(KEY);
        buf.put_u32_le(crc32c::crc32c(&message));
        Ok(())
    }
}

impl<U: Message + Bounded + Default> Decoder for CheckedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        decode(buf.copy_to_bytes(buf.remaining())).map(Some)
    }
}

/// Reads a message that ends with its checksum.
///
/// # Errors
/// The status that ends a stream: `DATA_LOSS` for a checksum that differs, `INVALID_ARGUMENT` for a message that is out
/// of its bounds or not readable.
pub fn decode<U: Message + Bounded + Default>(mut message: Bytes) -> Result<U, Status> {
    let body = message.len().saturating_sub(CHECKSUM_BYTES);
    let checksum = message.split_off(body);
    let mut expected = [KEY; CHECKSUM_BYTES];
    expected[1..].copy_from_slice(&crc32c::crc32c(&message).to_le_bytes());
    if checksum[..] != expected {
        return Err(Status::data_loss(
            "a message fails its checksum, it was damaged on the way",
        ));
    }
    let bounded = U::check_wire(&message);
    bounded.map_err(|refused| Status::invalid_argument(refused.to_string()))?;
    U::decode(message)
        .map_err(|error| Status::invalid_argument(format!("a message is not readable: {error}")))
}

/// The message with its checksum at the end, as [`decode`] reads it.
pub fn seal(message: &[u8]) -> Bytes {
    let mut sealed = Vec::with_capacity(message.len() + CHECKSUM_BYTES);
    sealed.extend_from_slice(message);
    sealed.put_u8(KEY);
    sealed.put_u32_le(crc32c::crc32c(message));
    sealed.into()
}
