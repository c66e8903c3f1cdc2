//! Adapts frames to the cloud: one that is too large goes without its original, or waits.

use media::{Limits, encode};
use patchwire_proto::v1::{EncodedFrame, Original, Welcome};
use prost::Message as _;
use tokio::task::spawn_blocking;

use crate::error::LinkError;

/// Bytes that an `EdgeMessage` adds around a frame, at most.
const ENVELOPE_BYTES: usize = 16;

/// The frames that the cloud takes.
pub(crate) struct Capacity {
    max_message_bytes: usize,
    max_pixels: u64,
    takes_camera_originals: bool,
}

/// A frame as the cloud takes it, or why it does not.
pub(crate) struct Fitted {
    pub(crate) frame: EncodedFrame,
    /// Whether an original was left out.
    pub(crate) original_left_out: bool,
    /// Why the frame has to wait.
    pub(crate) too_large: Option<String>,
}

impl Capacity {
    /// The capacity by the cloud's welcome and this side's largest message in bytes.
    pub(crate) fn new(welcome: &Welcome, max_message_bytes: usize) -> Self {
        let theirs = usize::try_from(welcome.max_message_bytes).unwrap_or(usize::MAX);
        Self {
            max_message_bytes: max_message_bytes.min(theirs),
            max_pixels: match welcome.max_pixels {
                0 => u64::MAX,
                pixels => pixels,
            },
            takes_camera_originals: welcome.takes_camera_originals,
        }
    }

    pub(crate) fn max_message_bytes(&self) -> usize {
        self.max_message_bytes
    }

    /// Adapts a frame. An original in the camera's encoding becomes lossless for a cloud that does not take those; an
    /// original that makes the message too large is left out.
    ///
    /// # Errors
    /// The thread that re-encodes failed.
    pub(crate) async fn fit(&self, frame: EncodedFrame) -> Result<Fitted, LinkError> {
        let mut fitted = Fitted {
            frame,
            original_left_out: false,
            too_large: None,
        };
        let pixels = u64::from(fitted.frame.width) * u64::from(fitted.frame.height);
        if pixels > self.max_pixels {
            let max = self.max_pixels;
            let reason =
                format!("it has {pixels} pixels, more than the {max} that the cloud takes");
            fitted.too_large = Some(reason);
            return Ok(fitted);
        }
        let original = fitted.frame.original.as_ref();
        let is_cameras = original.is_some_and(|original| original.rgb_crc32c.is_some());
        if is_cameras && !self.takes_camera_originals {
            let frame = fitted.frame;
            let made = spawn_blocking(move || with_lossless_original(frame)).await;
            fitted.frame = made.map_err(|_| LinkError::Original)?;
        }
        if message_bytes(&fitted.frame) > self.max_message_bytes
            && fitted.frame.original.take().is_some()
        {
            fitted.original_left_out = true;
            fitted.frame.crc32c = fitted.frame.compute_crc32c();
        }
        let (bytes, max) = (message_bytes(&fitted.frame), self.max_message_bytes);
        if bytes > max {
            let reason = format!("its message of {bytes} bytes is larger than the {max} allowed");
            fitted.too_large = Some(reason);
        }
        Ok(fitted)
    }
}

fn message_bytes(frame: &EncodedFrame) -> usize {
    frame.encoded_len() + ENVELOPE_BYTES
}

/// The frame with a lossless original in place of the camera's file; without an original if the file does not decode
/// any more.
fn with_lossless_original(mut frame: EncodedFrame) -> EncodedFrame {
    frame.original = frame.original.and_then(|original| lossless(&original));
    frame.crc32c = frame.compute_crc32c();
    frame
}

fn lossless(original: &Original) -> Option<Original> {
    let media_type = Some(original.media_type.as_str());
    let decoded = media::decode(&original.data, media_type, None, Limits::NONE);
    let failed = |error: &media::DecodeError| {
        tracing::warn!(%error, "an original in the spool cannot be decoded");
    };
    let picture = decoded.inspect_err(failed).ok()?;
    let (media_type, data) = encode::lossless(&picture.rgb, picture.width, picture.height).ok()?;
    Some(Original {
        media_type: media_type.into(),
        data: data.into(),
        rgb_crc32c: None,
    })
}
