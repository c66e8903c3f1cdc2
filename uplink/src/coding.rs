//! The latents of frames as they travel over one stream: coded where both ends know the codec and the program's prior,
//! or else as the container that they are in the source.

use std::sync::Arc;

use bytes::Bytes;
use latent::{LatentFrame, codec, prior::Prior, stream::StreamEncoder};
use patchwire_proto::v1::{EncodedFrame, Welcome};
use prost::Message as _;
use tokio::task::spawn_blocking;

use crate::error::LinkError;

/// How a frame's latents travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Travelled {
    /// As a container.
    Plain,
    /// Coded alone.
    Intra,
    /// Coded with a reference to the camera's frame before.
    Reference,
}

/// A frame's latents as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentLatents {
    /// How they travelled.
    pub travelled: Travelled,
    /// Bytes that travelled.
    pub bytes: usize,
    /// Bytes of the container.
    pub container_bytes: usize,
}

/// Codes the latents of a stream's frames.
pub(crate) struct Coding {
    /// `None` if all frames travel as containers.
    encoder: Option<StreamEncoder>,
}

/// A frame that is ready to be sent.
pub(crate) struct Ready {
    pub(crate) frame: EncodedFrame,
    /// Bytes of the frame with its latents as a container, by which both ends count.
    pub(crate) plain_bytes: usize,
    /// Absent for a frame without latents.
    pub(crate) latents: Option<SentLatents>,
}

impl Coding {
    /// The codec as far as the welcome and these priors allow.
    pub(crate) fn new(welcome: &Welcome, mut priors: Vec<Arc<Prior>>) -> Self {
        let known = |prior: &Prior| welcome.prior_ids.iter().any(|id| id[..] == prior.id().0);
        priors.retain(|prior| known(prior));
        let offered = welcome.codec_versions.contains(&codec::VERSION.into());
        // A checked welcome offers at most 64 MiB.
        let table_bytes = welcome.reference_bytes as usize;
        Self {
            encoder: (offered && !priors.is_empty())
                .then(|| StreamEncoder::new(priors, table_bytes)),
        }
    }

    /// Prepares a frame, which must then be the next one on the stream.
    ///
    /// # Errors
    /// The thread that codes failed.
    pub(crate) async fn prepare(&mut self, mut frame: EncodedFrame) -> Result<Ready, LinkError> {
        let container_bytes = frame.latents.len();
        let plain_bytes = frame.encoded_len();
        let mut travelled = Travelled::Plain;
        if container_bytes > 0
            && let Some(encoder) = self.encoder.take()
        {
            let (camera, container) = (frame.camera_id.clone(), frame.latents.clone());
            let coding = spawn_blocking(move || code(encoder, &camera, container));
            let (encoder, coded) = coding.await.map_err(|_| LinkError::Codec)?;
            self.encoder = Some(encoder);
            if let Some(coded) = coded {
                travelled = match coded.referenced {
                    true => Travelled::Reference,
                    false => Travelled::Intra,
                };
                frame.coded_latents = coded.bytes;
                frame.latents = Bytes::new();
            }
        }
        let latents = (container_bytes > 0).then(|| SentLatents {
            travelled,
            bytes: frame.latents.len() + frame.coded_latents.len(),
            container_bytes,
        });
        Ok(Ready {
            frame,
            plain_bytes,
            latents,
        })
    }
}

fn code(
    mut encoder: StreamEncoder,
    camera: &str,
    container: Bytes,
) -> (StreamEncoder, Option<latent::stream::Coded>) {
    // A damaged container travels as it is, and the cloud refuses it.
    let latents = LatentFrame::decode(container).ok();
    let coded = latents.and_then(|mut latents| {
        // The table keeps the patches, and must not keep the message that they are a part of.
        latents.payload = Bytes::copy_from_slice(&latents.payload);
        encoder.encode(camera, &latents)
    });
    (encoder, coded)
}
