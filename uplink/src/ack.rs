//! Messages of the cloud after its welcome.

use daemon::error::one_line;
use patchwire_proto::{
    limits,
    v1::{AckStatus, CloudMessage, cloud_message::Body},
};
use uuid::Uuid;

use crate::error::LinkError;

/// A checked message of the cloud.
#[derive(Debug)]
pub enum Reply {
    /// An ack.
    Ack(Ack),
    /// A request to end this stream once all frames are acknowledged.
    Drain,
}

/// The cloud's answer to a frame.
#[derive(Debug)]
pub struct Ack {
    /// Id of the frame.
    pub id: Uuid,
    /// The cloud's verdict.
    pub outcome: Outcome,
}

/// The cloud's verdict on a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The frame is stored.
    Accepted {
        /// A remark, such as that the frame cannot be decoded now.
        notice: Option<String>,
    },
    /// The cloud had the frame already.
    Duplicate,
    /// The frame is refused for good.
    Rejected {
        /// The cloud's sentence.
        reason: String,
    },
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
        let outcome = match ack.status() {
            AckStatus::Accepted => Outcome::Accepted {
                notice: Some(one_line(&ack.reason)).filter(|notice| !notice.is_empty()),
            },
            AckStatus::Duplicate => Outcome::Duplicate,
            AckStatus::Rejected => Outcome::Rejected { reason: ack.reason },
            AckStatus::Unspecified => {
                let reason = format!("ack status {} is not known", ack.status);
                return Err(LinkError::Protocol(reason));
            }
        };
        Ok(Self::Ack(Ack { id, outcome }))
    }
}
