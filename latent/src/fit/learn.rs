//! Counts the ones of each cell, and fits the weights by gradient descent on the code length.
//!
//! The logits that weights are fitted to leave out the bit at hand, so that a cell with few examples is not trusted as
//! though it had been tried on others.

use super::samples::Sample;
use crate::{
    contexts::{CELLS, Contexts, INPUTS, Mode, OWN_SETS, SHARED_SETS},
    patches::Visitor,
    prior::{LANES, Place, Prior, Statistics, Weights},
};

/// Passes over the samples for the weights.
const PASSES: usize = 3;
/// Steps along the gradient, for the weights of a place at the beginning and at the end, and for shared ones.
const RATE: (f32, f32) = (0.016, 0.001);
const SHARED_SHARE: f32 = 0.25;
/// A cell counts as though so many more bits were there, with the place's own share of ones.
const PRIOR_COUNT: f32 = 1.5;
/// Weights at the beginning.
const START: f32 = 0.3;
/// Largest logit, in natural units: what fits a cell of the prior.
const MOST: f32 = 127.0 / 16.0;

type Cells = [[[u32; 2]; CELLS]; INPUTS];

/// How often the bits of a place were 0 and 1.
struct Counts {
    all: [u32; 2],
    cells: Box<Cells>,
}

struct Counter<'a, I> {
    bits: I,
    counts: &'a mut [Counts],
}

struct Learner<'a, I> {
    bits: I,
    counts: &'a [Counts],
    own: &'a mut [[[f32; LANES]; OWN_SETS]],
    shared: &'a mut [[f32; LANES]],
    rate: f32,
}

/// The statistics of samples, for the contexts that the prior names.
pub(super) fn learn(
    prior: &Prior,
    mode: Mode,
    samples: &[Sample],
    mut progress: impl FnMut(f64),
) -> Statistics {
    let places = &prior.statistics(mode).places;
    let empty = || Counts {
        all: [0; 2],
        cells: Box::new([[[0; 2]; CELLS]; INPUTS]),
    };
    let mut counts: Vec<_> = places.iter().map(|_| empty()).collect();
    for sample in samples {
        let bits = sample.bits();
        let counts = &mut counts;
        sample.walk(prior, &mut Counter { bits, counts });
    }
    let mut start = [START; LANES];
    start[INPUTS..].fill(0.0);
    let mut own = vec![[start; OWN_SETS]; places.len()];
    let mut shared = vec![start; SHARED_SETS];
    let all = (PASSES * samples.len()).max(1);
    for step in 0..PASSES * samples.len() {
        let done = step as f32 / all as f32;
        let sample = &samples[step % samples.len()];
        let mut learner = Learner {
            bits: sample.bits(),
            counts: &counts,
            own: &mut own,
            shared: &mut shared,
            rate: RATE.0 + (RATE.1 - RATE.0) * done,
        };
        sample.walk(prior, &mut learner);
        progress(f64::from(done));
    }
    let place = |((place, counts), own): ((&Place, &Counts), &[[f32; LANES]; OWN_SETS])| Place {
        names: place.names,
        cells: std::array::from_fn(|input| {
            std::array::from_fn(|cell| (16.0 * counts.logit(input, cell, None)).round() as i8)
        }),
        weights: own.map(rounded),
    };
    Statistics {
        shared: shared.into_iter().map(rounded).collect(),
        places: places.iter().zip(&counts).zip(&own).map(place).collect(),
    }
}

fn rounded(weights: [f32; LANES]) -> Weights {
    weights.map(|weight| (4096.0 * weight).round().clamp(-32768.0, 32767.0) as i16)
}

impl Counts {
    /// The logit of a cell in natural units, without one bit if one is given.
    fn logit(&self, input: usize, cell: usize, without: Option<u8>) -> f32 {
        let less = |bit: u8| f32::from(u8::from(without == Some(bit)));
        let share = |counts: [u32; 2]| [counts[0] as f32 - less(0), counts[1] as f32 - less(1)];
        let [zeros, ones] = share(self.all);
        let ones_of_all = (ones + 0.4) / (zeros + ones + 0.8);
        let [zeros, ones] = share(self.cells[input][cell]);
        let ones = ones + PRIOR_COUNT * ones_of_all;
        let zeros = zeros + PRIOR_COUNT * (1.0 - ones_of_all);
        (ones / zeros).ln().clamp(-MOST, MOST)
    }
}

impl<I: Iterator<Item = u8>> Visitor for Counter<'_, I> {
    fn bit(&mut self, _mode: Mode, place: usize, _statistics: &Place, contexts: &Contexts) -> u8 {
        let bit = self.bits.next().expect("as many bits as the frame has");
        let counts = &mut self.counts[place];
        counts.all[usize::from(bit)] += 1;
        for (cells, cell) in counts.cells.iter_mut().zip(contexts.cells) {
            cells[cell as usize][usize::from(bit)] += 1;
        }
        bit
    }

    fn goes_on(&mut self) -> bool {
        true
    }
}

impl<I: Iterator<Item = u8>> Visitor for Learner<'_, I> {
    fn bit(&mut self, _mode: Mode, place: usize, _statistics: &Place, contexts: &Contexts) -> u8 {
        let bit = self.bits.next().expect("as many bits as the frame has");
        let mut logits = [0.0; LANES];
        for (input, cell) in contexts.cells.iter().enumerate() {
            logits[input] = self.counts[place].logit(input, *cell as usize, Some(bit));
        }
        logits[INPUTS] = 1.0;
        let own = &mut self.own[place][contexts.own as usize];
        descend(own, &logits, bit, self.rate);
        let shared = &mut self.shared[contexts.shared as usize];
        descend(shared, &logits, bit, self.rate * SHARED_SHARE);
        bit
    }

    fn goes_on(&mut self) -> bool {
        true
    }
}

/// One step of weights along the gradient of the bit's code length.
fn descend(weights: &mut [f32; LANES], logits: &[f32; LANES], bit: u8, rate: f32) {
    let logit: f32 = weights
        .iter()
        .zip(logits)
        .map(|(weight, logit)| weight * logit)
        .sum();
    let error = f32::from(bit) - 1.0 / (1.0 + (-logit).exp());
    for (weight, logit) in weights.iter_mut().zip(logits) {
        *weight += rate * error * logit;
    }
}
