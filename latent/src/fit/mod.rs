//! Fits a prior to example frames of one program.
//!
//! First [`select`] chooses, for each place, the bits that tell most about it. Then [`learn`] counts how often a bit is
//! 1 in each cell of its contexts, and fits the weights that mix them. The work is in floating point and is done once;
//! the prior is integers.

mod learn;
mod planes;
mod samples;
mod select;

use crate::{
    LatentFrame,
    contexts::Mode,
    prior::{Place, Prior, Statistics},
};
use samples::{Sample, following, shuffled};

/// A camera's frames are learned from at its own rate and at these fractions of it.
const STRIDES: [usize; 4] = [1, 2, 5, 10];
/// At each fraction, from so many beginnings at most.
const BEGINNINGS: usize = 3;

/// Fits the prior of a program whose latents have so many bits a patch, and returns its file. `stills` are frames
/// without a frame before, `videos` the frames of cameras in their order; those of other programs, or with other bits a
/// patch, are left out. `progress` is told the share that is done, 0 to 1.
pub fn fit(
    program: [u8; 32],
    bits: u32,
    stills: Vec<LatentFrame>,
    videos: &[Vec<LatentFrame>],
    mut progress: impl FnMut(f64),
) -> Vec<u8> {
    let fits = |frame: &LatentFrame| (frame.program, frame.bits) == (program, bits);
    let alone = stills.into_iter().filter(fits).map(|frame| Sample {
        frame,
        reference: None,
    });
    let alone = alone.collect();
    let mut after = Vec::new();
    for frames in videos {
        let frames: Vec<_> = frames.iter().filter(|frame| fits(frame)).collect();
        for stride in STRIDES {
            let beginnings = stride.min(BEGINNINGS);
            for beginning in 0..beginnings {
                let skipped = beginning * stride / beginnings;
                let taken = frames.iter().skip(skipped).step_by(stride);
                after.extend(following(taken.copied()));
            }
        }
    }
    let empty = || Statistics::new(bits as usize);
    let (mut prior, _) = Prior::new(program, bits, empty(), empty());
    for (mode, samples) in [(Mode::Intra, alone), (Mode::Inter, after)] {
        let begun = if mode == Mode::Intra { 0.0 } else { 0.5 };
        let samples = shuffled(samples);
        fit_mode(&mut prior, mode, &samples, |share| {
            progress(begun + share / 2.0)
        });
    }
    Prior::new(program, bits, prior.intra, prior.inter).1
}

fn fit_mode(prior: &mut Prior, mode: Mode, samples: &[Sample], mut progress: impl FnMut(f64)) {
    let planes = planes::gather(prior, samples);
    for place in 0..2 * prior.bits() as usize {
        let names = select::names(&planes, mode, place);
        prior.statistics_mut(mode).places[place] = Place::new(names);
        progress(0.5 * place as f64 / (2.0 * f64::from(prior.bits())));
    }
    drop(planes);
    let learned = learn::learn(prior, mode, samples, |share| progress(0.5 + share / 2.0));
    *prior.statistics_mut(mode) = learned;
}
