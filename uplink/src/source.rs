//! The frames that a client sends.

use std::{future::Future, sync::Arc, time::Duration};

use latent::prior::Prior;
use patchwire_proto::v1::{EncodedFrame, NodeStatus};
use tonic::transport::{self, Channel, Endpoint};

use crate::{
    ack::Ack,
    coding::SentLatents,
    error::{LinkError, SourceError},
    link::End,
};

/// A frame and its place in the queue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Grows with every frame.
    pub seq: i64,
    /// The message of the frame.
    pub frame: EncodedFrame,
}

/// A queue of frames, which keeps each frame until its ack: the spool of an edge node, or a load generator.
///
/// The methods that return nothing report events, for metrics and statistics.
pub trait Source: Send + Sync + 'static {
    /// The oldest frame after place `seq`.
    fn next_after(
        &self,
        seq: i64,
    ) -> impl Future<Output = Result<Option<Entry>, SourceError>> + Send;

    /// Returns once there is a new frame since the last call returned.
    fn arrival(&self) -> impl Future<Output = ()> + Send;

    /// Removes frames by their acks, each with the time since the frame was sent.
    fn acknowledge(
        &self,
        acks: &[(Ack, Duration)],
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// State of the queue, for the cloud. The client fills in `held_frames`.
    fn status(&self) -> NodeStatus;

    /// Whether all frames are acknowledged and no further one comes: the client then ends.
    fn is_finished(&self) -> bool {
        false
    }

    /// Priors of the latent codec for the frames' programs, asked for each stream anew.
    fn priors(&self) -> Vec<Arc<Prior>> {
        Vec::new()
    }

    /// Connects to the cloud.
    fn dial(
        &self,
        endpoint: Endpoint,
    ) -> impl Future<Output = Result<Channel, transport::Error>> + Send {
        async move { endpoint.connect().await }
    }

    /// The client opens a stream.
    fn connecting(&self) {}

    /// The cloud has welcomed the client, with a window of so many frames.
    fn connected(&self, _window: usize) {}

    /// A stream ended or could not be opened.
    fn disconnected(&self, _end: &Result<End, LinkError>) {}

    /// A frame was sent whose message has so many bytes, with its latents if it has some.
    fn sent(&self, _bytes: usize, _latents: Option<SentLatents>) {}

    /// So many frames are sent and not acknowledged.
    fn unacknowledged(&self, _frames: usize) {}

    /// So many frames are larger than the cloud takes.
    fn held(&self, _frames: u64) {}

    /// An original was left out because the message was too large for the cloud.
    fn original_left_out(&self) {}
}
