//! The sums of a layer whose inputs are bits, -1 or +1: four weights have sixteen sums, which are made once for many patches.

use crate::simd::{Lanes, PANEL, Work};

/// Weights whose sums are in one table.
const GROUP: usize = 4;
const SUMS: usize = 1 << GROUP;
/// Tables for a byte of latents.
const HALVES: usize = u8::BITS as usize / GROUP;
/// Bytes of a patch that are summed together: their tables fit the first-level cache.
const BYTES: usize = 4;

const ZERO: Lanes = Lanes([0.0; PANEL]);

/// A panel's sums for patch after patch.
pub(crate) struct Signs<'a> {
    /// One a bit. Those after a patch's last bit count nothing.
    pub(crate) weights: &'a [Lanes],
    pub(crate) latents: &'a [u8],
    /// Of each patch.
    pub(crate) bytes: usize,
    /// One a patch, zero before.
    pub(crate) sums: &'a mut [Lanes],
}

impl Work for Signs<'_> {
    #[inline(always)]
    fn run(self) {
        let mut tables = [[[ZERO; SUMS]; HALVES]; BYTES];
        let weights = self.weights.chunks(BYTES * HALVES * GROUP);
        for (first, weights) in (0..self.bytes).step_by(BYTES).zip(weights) {
            let (weights, _) = weights.as_chunks::<GROUP>();
            for (table, weights) in tables.as_flattened_mut().iter_mut().zip(weights) {
                fill(table, weights);
            }
            let tables = &tables[..weights.len() / HALVES];
            let patches = self.latents.chunks_exact(self.bytes);
            for (patch, sums) in patches.zip(self.sums.iter_mut()) {
                let mut total = sums.0;
                for (&byte, [low, high]) in patch[first..].iter().zip(tables) {
                    let (low, high) = (&low[usize::from(byte % 16)], &high[usize::from(byte / 16)]);
                    for ((total, low), high) in total.iter_mut().zip(&low.0).zip(&high.0) {
                        *total += low + high;
                    }
                }
                sums.0 = total;
            }
        }
    }
}

/// The sums of four weights for all signs; bit `i` is that of weight `i`. What is read and written is copied, or the compiler
/// would fear that it is the same.
#[inline(always)]
fn fill(table: &mut [Lanes; SUMS], weights: &[Lanes; GROUP]) {
    let mut sums = [0.0; PANEL];
    for &Lanes(weight) in weights {
        sums.iter_mut().zip(weight).for_each(|(sum, w)| *sum -= w);
    }
    table[0].0 = sums;
    for (bit, &Lanes(weight)) in weights.iter().enumerate() {
        for without in 0..1 << bit {
            let mut sums = table[without].0;
            let weights = sums.iter_mut().zip(weight);
            weights.for_each(|(sum, weight)| *sum += 2.0 * weight);
            table[without | 1 << bit].0 = sums;
        }
    }
}
