//! Frames to learn from.

use crate::{
    LatentFrame,
    patches::{Visitor, walk},
    prior::Prior,
    references::Reference,
};

/// A frame to learn from, with the camera's frame before.
pub(super) struct Sample {
    pub(super) frame: LatentFrame,
    pub(super) reference: Option<Reference>,
}

/// Each frame but the first with the one before.
pub(super) fn following<'a>(mut frames: impl Iterator<Item = &'a LatentFrame>) -> Vec<Sample> {
    let mut samples = Vec::new();
    let Some(first) = frames.next() else {
        return samples;
    };
    let mut reference = Reference::new(first.clone());
    for frame in frames {
        if (frame.width, frame.height) != (reference.frame.width, reference.frame.height) {
            reference = Reference::new(frame.clone());
            continue;
        }
        samples.push(Sample {
            frame: frame.clone(),
            reference: Some(reference.clone()),
        });
        reference.follow(frame.clone());
    }
    samples
}

/// The samples in an order without pattern, always the same.
pub(super) fn shuffled(mut samples: Vec<Sample>) -> Vec<Sample> {
    // A linear congruential generator (Knuth's MMIX).
    let mut state: u64 = 1;
    for last in (1..samples.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        samples.swap(last, (state >> 33) as usize % (last + 1));
    }
    samples
}

impl Sample {
    /// Takes a visitor that gives this frame's bits over it.
    pub(super) fn walk(&self, prior: &Prior, visitor: &mut impl Visitor) {
        walk(prior, self.frame.shape(), self.reference.as_ref(), visitor);
    }

    /// The bits of the frame, in their order.
    pub(super) fn bits(&self) -> impl Iterator<Item = u8> {
        let bytes = self.frame.payload.iter();
        bytes.flat_map(|byte| (0..8).map(move |k| byte >> k & 1))
    }
}
