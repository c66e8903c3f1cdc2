//! What the cloud says after its welcome.

use daemon::one_line;
use patchwire_proto::{
    limits,
    v1::{AckStatus, CloudMessage, cloud_message::Body},
};
use uuid::Uuid;

use super::link::LinkError;
use crate::{metrics::AckKind, spool::FrameState};

/// A message, understood.
#[derive(Debug)]
pub enum Reply {
    /// What became of a frame.
    Verdict(Verdict),
    /// This stream is to end once all is acked.
    Drain,
}

/// An ack.
#[derive(Debug)]
pub struct Verdict {
    /// The frame.
    pub id: Uuid,
    /// What the metrics call it.
    pub status: AckKind,
    /// Where the frame is now.
    pub state: FrameState,
    /// What the cloud remarks on a frame that it accepted.
    pub notice: Option<String>,
}

impl TryFrom<CloudMessage> for Reply {
    type Error = LinkError;

    fn try_from(message: CloudMessage) -> Result<Self, LinkError> {
        let ack = match message.body {
            Some(Body::Ack(ack)) => ack,
            Some(Body::Drain(_)) => return Ok(Self::Drain),
            _ => return Err(LinkError::Protocol("an ack was expected".into())),
        };
        let id = limits::frame_id(&ack.frame_id)
            .map_err(|error| LinkError::Protocol(error.to_string()))?;
        let (status, state, notice) = match ack.status() {
            AckStatus::Accepted => {
                let notice = Some(one_line(&ack.reason)).filter(|notice| !notice.is_empty());
                (AckKind::Accepted, FrameState::Delivered, notice)
            }
            AckStatus::Duplicate => (AckKind::Duplicate, FrameState::Duplicate, None),
            AckStatus::Rejected => {
                let reason = ack.reason;
                (AckKind::Rejected, FrameState::Rejected { reason }, None)
            }
            AckStatus::Unspecified => {
                return Err(LinkError::Protocol(format!(
                    "ack status {} is not known",
                    ack.status
                )));
            }
        };
        Ok(Self::Verdict(Verdict {
            id,
            status,
            state,
            notice,
        }))
    }
}
