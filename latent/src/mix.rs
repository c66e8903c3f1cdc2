//! Mixes the logits of a bit's contexts into one probability.
//!
//! Two sets of weights make a logit each, and the mean of the two counts: one belongs to the bit's place and stays as
//! the prior has it; the other is shared by all places and learns with each bit of the frame, along the gradient of the
//! code length (Mahoney, "Adaptive weighing of context models for lossless data compression", 2005).

use crate::{
    contexts::{Contexts, INPUTS},
    logistic::{self, MOST, STEPS},
    prior::{LANES, Place, Statistics, Weights},
};

/// Weights of 1 are this, as a power of two.
const ONE: i32 = 12;
/// Shared weights have so many further bits behind those of the prior.
const FINER: i32 = 4;
/// A shared weight moves by error times logit over this power of two.
const LEARNING: i32 = 17;
/// Steps of a logit in a cell, in steps of a logit.
const CELL: i16 = 16;
/// Number of the lane that is always the same.
const CONSTANT: usize = INPUTS;

/// The shared weights of a frame.
pub(crate) struct Mixer {
    shared: Vec<Learned>,
}

/// Weights that learn.
struct Learned {
    fine: [i32; LANES],
    /// The same, rounded down to those of the prior.
    weights: Weights,
}

/// A prediction, to learn from once the bit is known.
pub(crate) struct Prediction {
    /// Probability of 1, in 65,536.
    pub(crate) one: u32,
    logits: Weights,
    set: usize,
    /// Probability by the shared weights alone.
    by_shared: u32,
}

impl Mixer {
    pub(crate) fn new(statistics: &Statistics) -> Self {
        let learned = |weights: &Weights| Learned {
            fine: weights.map(|weight| i32::from(weight) << FINER),
            weights: *weights,
        };
        Self {
            shared: statistics.shared.iter().map(learned).collect(),
        }
    }

    #[inline(always)]
    pub(crate) fn predict(&self, place: &Place, contexts: &Contexts) -> Prediction {
        let mut logits = [0; LANES];
        for (logit, (cells, cell)) in logits
            .iter_mut()
            .zip(place.cells.iter().zip(contexts.cells))
        {
            *logit = i16::from(cells[cell as usize & 127]) * CELL;
        }
        logits[CONSTANT] = STEPS as i16;
        let set = contexts.shared as usize;
        let own = &place.weights[contexts.own as usize & 7];
        let (own, shared) = mix(own, &self.shared[set].weights, &logits);
        Prediction {
            one: logistic::probability((own + shared) >> 1),
            logits,
            set,
            by_shared: logistic::probability(shared),
        }
    }

    #[inline(always)]
    pub(crate) fn learn(&mut self, prediction: &Prediction, bit: u8) {
        // Within 16 bits, for no probability is 0 or 1.
        let error = ((i32::from(bit) << 15) - (prediction.by_shared >> 1) as i32) as i16;
        let Learned { fine, weights } = &mut self.shared[prediction.set];
        for (weight, logit) in fine.iter_mut().zip(prediction.logits) {
            let step = (i32::from(error) * i32::from(logit) + (1 << (LEARNING - 1))) >> LEARNING;
            *weight = weight.wrapping_add(step);
        }
        let most = i32::from(i16::MAX);
        *weights = fine.map(|weight| (weight >> FINER).clamp(-most - 1, most) as i16);
    }
}

/// The logits that two sets of weights make of others. Not inlined, for there the compiler takes the vectors apart.
#[inline(never)]
fn mix(own: &Weights, shared: &Weights, logits: &Weights) -> (i32, i32) {
    let dot = |weights: &Weights| {
        let products = weights.iter().zip(logits);
        let sum: i32 = products
            .map(|(weight, logit)| i32::from(*weight) * i32::from(*logit))
            .sum();
        (sum >> ONE).clamp(-MOST, MOST)
    };
    (dot(own), dot(shared))
}
