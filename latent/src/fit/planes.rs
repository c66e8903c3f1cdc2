//! Bits of many patches as planes, 64 patches in a word, to count with.

use super::samples::Sample;
use crate::{
    contexts::{Contexts, Mode, PLANES, Surroundings},
    patches::Visitor,
    prior::{Place, Prior},
};

/// Most patches that are gathered, evenly spread over all.
const MOST: usize = 40_000;

/// The surroundings of patches: for each bit of each plane, that of all patches.
pub(super) struct Planes {
    /// Bits of a plane.
    pub(super) bits: usize,
    pub(super) patches: usize,
    words: usize,
    planes: Vec<u64>,
}

/// Gathers planes.
struct Gatherer<I> {
    bits: I,
    seen: usize,
    every: usize,
    planes: Planes,
}

/// Gathers the surroundings of the patches of samples.
pub(super) fn gather(prior: &Prior, samples: &[Sample]) -> Planes {
    let bits = prior.bits() as usize;
    let all: usize = samples
        .iter()
        .map(|sample| sample.frame.payload.len() * 8 / bits)
        .sum();
    let every = all.div_ceil(MOST).max(1);
    let words = all.div_ceil(every).div_ceil(64);
    let mut planes = Planes {
        bits,
        patches: 0,
        words,
        planes: vec![0; words * PLANES * bits],
    };
    let mut seen = 0;
    for sample in samples {
        let bits = sample.bits();
        let mut gatherer = Gatherer {
            bits,
            seen,
            every,
            planes,
        };
        sample.walk(prior, &mut gatherer);
        (seen, planes) = (gatherer.seen, gatherer.planes);
    }
    planes
}

impl Planes {
    /// Bit `name % bits` of plane `name / bits` of all patches.
    pub(super) fn plane(&self, name: usize) -> &[u64] {
        &self.planes[name * self.words..(name + 1) * self.words]
    }

    /// A one for each patch.
    pub(super) fn all(&self) -> Vec<u64> {
        let word = |at: usize| match self.patches.saturating_sub(at * 64) {
            left @ 0..64 => (1 << left) - 1,
            _ => u64::MAX,
        };
        (0..self.words).map(word).collect()
    }
}

impl<I: Iterator<Item = u8>> Visitor for Gatherer<I> {
    fn bit(&mut self, _mode: Mode, _place: usize, _statistics: &Place, _contexts: &Contexts) -> u8 {
        self.bits.next().expect("as many bits as the frame has")
    }

    fn goes_on(&mut self) -> bool {
        true
    }

    fn ends(&mut self, around: &Surroundings) {
        if self.seen % self.every == 0 {
            let (word, shift) = (self.planes.patches / 64, self.planes.patches % 64);
            for (name, bit) in around.named().iter().enumerate() {
                self.planes.planes[name * self.planes.words + word] |= u64::from(*bit) << shift;
            }
            self.planes.patches += 1;
        }
        self.seen += 1;
    }
}
