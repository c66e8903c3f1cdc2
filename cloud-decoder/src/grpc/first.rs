//! The first message of an uplink is a hello, and small: a larger one is refused by what its head announces, before
//! anything of it is kept.

use futures::StreamExt as _;
use http_body_util::{BodyStream, StreamBody};
use patchwire_proto::{checked::CHECKSUM_BYTES, wire::MAX_HELLO_BYTES};
use tonic::{Status, body::Body, codegen::http};

/// Path of the uplink.
const UPLINK: &str = "/patchwire.v1.Uplink/Stream";
/// Bytes in front of each message: whether it is compressed, and its length.
const HEAD: usize = 5;
/// Most bytes of the first message: a hello, what is around it, and fields that nodes to come may add.
const MOST: usize = MAX_HELLO_BYTES + 64 + CHECKSUM_BYTES;

/// The request, of which the first message is bounded if it is for the uplink.
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
