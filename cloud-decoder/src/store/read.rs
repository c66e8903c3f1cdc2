//! Reading a frame's objects.

use bytes::Bytes;
use latent::LatentFrame;
use uuid::Uuid;

use super::{
    frame_store::FrameStore,
    objects::{Kind, ObjectError, Opened},
    stored_frame::StoredFrame,
};
use crate::frame::Frame;

/// Reason of frames that fail because their objects are damaged. The objects are kept and read again later.
pub(crate) const DAMAGED: &str = "its objects are damaged where they are kept";

/// Why a frame's objects could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error("the latents object is missing")]
    MissingLatents,
    #[error("{DAMAGED}")]
    Damaged,
}

/// An original, for measuring.
pub(crate) struct Original {
    pub(crate) media_type: String,
    pub(crate) data: Bytes,
    /// CRC-32C of its pixels, if the edge node sent one.
    pub(crate) crc32c: Option<u32>,
}

impl FrameStore {
    /// A frame's latents, and its original where it has one.
    pub(crate) async fn read_frame(
        &self,
        frame: &Frame,
    ) -> Result<(LatentFrame, Option<Original>), ReadError> {
        let id = frame.new.id;
        let stored = self.read_stored(id).await?;
        // The container was checked before it was stored.
        let latents =
            LatentFrame::decode(stored.latents).map_err(|error| damaged(id, &error.to_string()))?;
        let Some(media_type) = &frame.new.original_type else {
            return Ok((latents, None));
        };
        let Some(data) = self.objects.get(Kind::Original, id).await? else {
            self.objects.check_present().await?;
            tracing::warn!(frame = %id, "the original is gone: the frame is not measured");
            return Ok((latents, None));
        };
        let record = stored.record.as_ref();
        if !record.is_none_or(|record| record.has_original(&data)) {
            return Err(damaged(id, "the original"));
        }
        let original = Original {
            media_type: media_type.clone(),
            data,
            crc32c: frame.new.original_crc32c,
        };
        Ok((latents, Some(original)))
    }

    /// A frame's object: its record, and its latent container.
    pub(crate) async fn read_stored(&self, id: Uuid) -> Result<StoredFrame, ReadError> {
        let Some(object) = self.objects.get(Kind::Latents, id).await? else {
            self.objects.check_present().await?;
            return Err(ReadError::MissingLatents);
        };
        StoredFrame::decode(object).map_err(|error| damaged(id, &error.to_string()))
    }

    /// Reads an object; `None` when there is none.
    pub(crate) async fn read_object(
        &self,
        kind: Kind,
        frame: Uuid,
    ) -> Result<Option<Bytes>, ObjectError> {
        self.objects.get(kind, frame).await
    }

    /// Opens an object to be read piece by piece; `None` when there is none.
    pub(crate) async fn open_object(
        &self,
        kind: Kind,
        frame: Uuid,
    ) -> Result<Option<Opened>, ObjectError> {
        self.objects.open(kind, frame).await
    }
}

fn damaged(frame: Uuid, error: &str) -> ReadError {
    tracing::warn!(%frame, error, "an object was read damaged");
    ReadError::Damaged
}
