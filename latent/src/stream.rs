//! The codec's state on one uplink stream: which priors both ends know, and the table of references.
//!
//! Both ends begin empty. [`StreamEncoder::encode`] and [`StreamDecoder::decode`] are called once for each frame, in
//! the order in which the frames go over the stream; the frames that travel as plain containers do not take part.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use crate::{
    LatentFrame,
    codec::{self, CodecError, Header},
    prior::{Prior, PriorId},
    references::References,
};

/// The sending end of a stream.
#[derive(Debug)]
pub struct StreamEncoder {
    /// By the program.
    priors: HashMap<[u8; 32], Arc<Prior>>,
    references: References,
}

/// The receiving end of a stream.
#[derive(Debug)]
pub struct StreamDecoder {
    priors: HashMap<PriorId, Arc<Prior>>,
    references: References,
}

/// A frame as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coded {
    /// The coded bytes, as [`codec`] describes them.
    pub bytes: Bytes,
    /// Whether the frame refers to the camera's frame before.
    pub referenced: bool,
}

impl StreamEncoder {
    /// An encoder with the priors that both ends know. `table_bytes` is the most that the table of references holds.
    pub fn new(priors: impl IntoIterator<Item = Arc<Prior>>, table_bytes: usize) -> Self {
        let priors = priors.into_iter().map(|prior| (*prior.program(), prior));
        Self {
            priors: priors.collect(),
            references: References::new(table_bytes),
        }
    }

    /// Codes a frame; `None` when it has to travel as a plain container.
    pub fn encode(&mut self, camera: &str, frame: &LatentFrame) -> Option<Coded> {
        let prior = self.priors.get(&frame.program)?;
        if !prior.describes(frame) {
            return None;
        }
        let LatentFrame { width, height, .. } = *frame;
        let found = self.references.find(camera, &frame.program, width, height);
        let bytes = codec::encode(prior, frame, found);
        let referenced = Header::read(&bytes).is_ok_and(|header| header.referenced);
        self.references.keep(camera, frame.clone());
        Some(Coded { bytes, referenced })
    }
}

impl StreamDecoder {
    /// A decoder that knows these priors. `table_bytes` is the most that the table of references holds.
    pub fn new(priors: impl IntoIterator<Item = Arc<Prior>>, table_bytes: usize) -> Self {
        let priors = priors.into_iter().map(|prior| (prior.id(), prior));
        Self {
            priors: priors.collect(),
            references: References::new(table_bytes),
        }
    }

    /// Bytes that the table of references takes.
    pub fn table_bytes(&self) -> usize {
        self.references.bytes()
    }

    /// Decodes a camera's frame, which the caller has found by its [`Header`] to be of an allowed size. `goes_on` is
    /// asked now and then whether to continue.
    ///
    /// # Errors
    /// The first thing that is wrong; the stream cannot be continued then, for the table may differ from the sender's.
    pub fn decode(
        &mut self,
        camera: &str,
        coded: &[u8],
        goes_on: impl FnMut() -> bool,
    ) -> Result<LatentFrame, CodecError> {
        let header = Header::read(coded)?;
        let Some(prior) = self.priors.get(&header.prior) else {
            return Err(CodecError::Prior(header.prior));
        };
        let reference = match header.referenced {
            true => {
                let (width, height) = (header.width, header.height);
                let found = self.references.find(camera, prior.program(), width, height);
                Some(found.ok_or(CodecError::Reference)?)
            }
            false => None,
        };
        let frame = codec::decode(prior, coded, reference, goes_on)?;
        self.references.keep(camera, frame.clone());
        Ok(frame)
    }
}
