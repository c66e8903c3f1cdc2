//! Bounds the first message of an uplink, the hello. A larger one is refused by the length in its head, before any of
//! it is stored.

use futures::StreamExt as _;
use http_body_util::{BodyStream, StreamBody};
use patchwire_proto::{checked::CHECKSUM_BYTES, wire::MAX_HELLO_BYTES};
use tonic::{Status, body::Body, codegen::http};

/// Path of the uplink.
const UPLINK: &str = "/patchwire.v1.Uplink/Stream";
/// Bytes in front of each message: whether it is compressed, and its length.
const HEAD: usize = 5;
/// Most bytes of the first message: a hello, its envelope, and fields that later versions may add.
const MOST: usize = MAX_HELLO_BYTES + 64 + CHECKSUM_BYTES;

/// Bounds the first message of the request if it is for the uplink.
pub(super) fn bounded(request: http::Request<Body>) -> http::Request<Body> {
    if request.uri().path() != UPLINK {
        return request;
    }
    request.map(|body| {
        let mut head = Vec::with_capacity(HEAD);
        let frames = BodyStream::new(body).map(move |frame| {
            let frame = frame?;
            if let Some(data) = frame.data_ref()
                && head.len() < HEAD
            {
                head.extend(data.iter().take(HEAD - head.len()));
                let length = head.get(1..).and_then(|length| length.try_into().ok());
                let length = length.map_or(0, u32::from_be_bytes);
                if length as usize > MOST {
                    return Err(Status::invalid_argument(format!(
                        "the first message is {length} bytes long, a hello has at most {MOST}"
                    )));
                }
            }
            Ok(frame)
        });
        Body::new(StreamBody::new(frames))
    })
}
