//! The first stage in full precision: linear layers on many patches.
//!
//! Inputs of the first of them are bits, -1 or +1: four weights have sixteen sums, which are made once for many
//! patches.

use crate::engine;
use crate::engines::simd::{Isa, Lanes, PANEL, Vector, Windows, Work};
use rayon::prelude::*;

/// Weights whose sums are in one table.
const GROUP: usize = 4;
const SUMS: usize = 1 << GROUP;
/// Tables for a byte of latents.
const HALVES: usize = u8::BITS as usize / GROUP;
/// Bytes of a patch that are summed together: their tables fit the first-level cache.
const BYTES: usize = 4;

/// Patches that are computed together: the more, the more use weights that are loaded, while what is computed from them
/// stays near.
const LEAST_SHARE: usize = 32;
const MOST_SHARE: usize = 256;
/// Panels of hidden units that are computed before the last layer takes them.
const UNIT_PANELS: usize = 4;

/// Values that [`synthesize`] holds for a patch of so many: its result twice, by panels of channels and by patches, and
/// hidden units.
pub(crate) const fn held_values(values: usize) -> usize {
    2 * values.next_multiple_of(PANEL) + UNIT_PANELS * PANEL
}

const ZERO: Lanes = Lanes([0.0; PANEL]);

/// Weights and biases of a layer, outputs and inputs filled up to whole panels with zeros.
pub(crate) struct Linear {
    inputs: usize,
    /// By panel of outputs and input.
    weights: Vec<Lanes>,
    bias: Vec<f32>,
}

impl Linear {
    /// Packs weights in PyTorch's order: output, input.
    pub(crate) fn new(weights: &[f32], bias: Vec<f32>, inputs: usize) -> Self {
        let padded = inputs.next_multiple_of(PANEL);
        let mut packed = vec![ZERO; bias.len().div_ceil(PANEL) * padded];
        for (output, weights) in weights.chunks_exact(inputs).enumerate() {
            let panel = &mut packed[output / PANEL * padded..];
            for (lanes, &weight) in panel.iter_mut().zip(weights) {
                lanes.0[output % PANEL] = weight;
            }
        }
        Self {
            inputs: padded,
            weights: packed,
            bias,
        }
    }

    /// Values that packing takes.
    pub(crate) fn packed_len(outputs: usize, inputs: usize) -> usize {
        outputs.next_multiple_of(PANEL) * inputs.next_multiple_of(PANEL)
    }
}

/// The values of patch after patch from latents of `bytes` bytes per patch.
pub(crate) fn synthesize(
    isa: Isa,
    hidden: Option<&Linear>,
    last: &Linear,
    latents: &[u8],
    bytes: usize,
) -> Vec<f32> {
    let (count, outputs) = (latents.len() / bytes, last.bias.len());
    let share = count.div_ceil(rayon::current_num_threads());
    let share = share.clamp(LEAST_SHARE, MOST_SHARE);
    let mut values = vec![0.0; count * outputs];
    values
        .par_chunks_mut(share * outputs)
        .zip(latents.par_chunks(share * bytes))
        .for_each(|(values, latents)| {
            let sums = match hidden {
                Some(hidden) => last.of_units(isa, hidden, latents, bytes),
                None => last.of_bits(isa, latents, bytes),
            };
            let panels = sums.chunks_exact(latents.len() / bytes);
            for (patch, values) in values.chunks_exact_mut(outputs).enumerate() {
                let sums = panels.clone().map(|sums| &sums[patch].0);
                engine::join(sums, &last.bias, false, values);
            }
        });
    values
}

impl Linear {
    fn panels(&self) -> impl Iterator<Item = (&[Lanes], &[f32])> {
        let weights = self.weights.chunks_exact(self.inputs);
        weights.zip(self.bias.chunks(PANEL))
    }

    /// The sums over the bits of some patches, panel by panel of outputs.
    fn of_bits(&self, isa: Isa, latents: &[u8], bytes: usize) -> Vec<Lanes> {
        let count = latents.len() / bytes;
        let mut sums = vec![ZERO; self.panels().count() * count];
        for ((weights, _), sums) in self.panels().zip(sums.chunks_exact_mut(count)) {
            isa.apply(Signs {
                weights,
                start: ZERO,
                relu: false,
                latents,
                bytes,
                sums,
            });
        }
        sums
    }

    /// The same over the units of a layer before, of which some are computed and used while they are in the
    /// second-level cache.
    fn of_units(&self, isa: Isa, hidden: &Self, latents: &[u8], bytes: usize) -> Vec<Lanes> {
        let count = latents.len() / bytes;
        let mut sums = vec![ZERO; self.panels().count() * count];
        let mut units = vec![ZERO; UNIT_PANELS * count];
        let hidden: Vec<_> = hidden.panels().collect();
        for (index, hidden) in hidden.chunks(UNIT_PANELS).enumerate() {
            let units = &mut units[..hidden.len() * count];
            for (&(weights, bias), sums) in hidden.iter().zip(units.chunks_exact_mut(count)) {
                let mut start = ZERO;
                start.0[..bias.len()].copy_from_slice(bias);
                isa.apply(Signs {
                    weights,
                    start,
                    relu: true,
                    latents,
                    bytes,
                    sums,
                });
            }
            let windows = Windows {
                input: Lanes::flatten(units),
                rows: hidden.len(),
                row_len: PANEL,
                row_stride: count * PANEL,
                pixel_stride: PANEL,
            };
            let first = index * UNIT_PANELS * PANEL;
            for ((weights, bias), sums) in self.panels().zip(sums.chunks_exact_mut(count)) {
                let weights = &weights[first..][..hidden.len() * PANEL];
                isa.multiply_onto(windows, weights, bias.len(), sums);
            }
        }
        sums
    }
}

/// A panel's sums for patch after patch.
struct Signs<'a> {
    /// One a bit. Those after a patch's last bit count nothing.
    weights: &'a [Lanes],
    /// Start values of the sums.
    start: Lanes,
    /// Whether sums below zero become zero.
    relu: bool,
    latents: &'a [u8],
    /// Of each patch.
    bytes: usize,
    /// One per patch.
    sums: &'a mut [Lanes],
}

impl Work for Signs<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
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
                let mut total = if first == 0 { self.start.0 } else { sums.0 };
                for (&byte, [low, high]) in patch[first..].iter().zip(tables) {
                    let (low, high) = (&low[usize::from(byte % 16)], &high[usize::from(byte / 16)]);
                    for ((total, low), high) in total.iter_mut().zip(&low.0).zip(&high.0) {
                        *total += low + high;
                    }
                }
                if self.relu && first + BYTES >= self.bytes {
                    total.iter_mut().for_each(|total| *total = total.max(0.0));
                }
                sums.0 = total;
            }
        }
    }
}

/// The sums of four weights for all signs; bit `i` is that of weight `i`. What is read and written is copied, or the
/// compiler would fear that it is the same.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::noise;

    /// A layer in f64 on some values.
    fn layer(weights: &[f32], bias: &[f32], inputs: &[f64]) -> Vec<f64> {
        let rows = weights.chunks_exact(inputs.len()).zip(bias);
        let sum = |(weights, &bias): (&[f32], &f32)| {
            let terms = weights.iter().zip(inputs);
            terms.map(|(&w, input)| f64::from(w) * input).sum::<f64>() + f64::from(bias)
        };
        rows.map(sum).collect()
    }

    #[test]
    fn patches_are_synthesized_from_the_signs_of_their_bits() {
        let (outputs, count) = (70, 5);
        let shapes = [(8, 1), (24, 3), (80, 10), (80, 4), (256, 32), (256, 31)];
        for ((bits, bytes), units) in shapes
            .into_iter()
            .zip([None, Some(3), Some(160)].into_iter().cycle())
        {
            let latents: Vec<u8> = (0..count * bytes).map(|i| (i * 89 + 7) as u8).collect();
            let sign = |patch: &[u8], bit: usize| match patch.get(bit / 8) {
                Some(byte) if byte >> (bit % 8) & 1 == 1 => 1.0,
                Some(_) => -1.0,
                None => 0.0,
            };
            let inputs = units.unwrap_or(bits);
            let (weights, bias) = (noise(inputs * outputs, 3), noise(outputs, 5));
            let hidden = units.map(|units| (noise(bits * units, 7), noise(units, 11)));
            let expected = latents.chunks_exact(bytes).flat_map(|patch| {
                let mut values: Vec<f64> = (0..bits).map(|bit| sign(patch, bit)).collect();
                if let Some((weights, bias)) = &hidden {
                    values = layer(weights, bias, &values);
                    values.iter_mut().for_each(|value| *value = value.max(0.0));
                }
                layer(&weights, &bias, &values)
            });
            let expected: Vec<_> = expected.collect();
            let last = Linear::new(&weights, bias.clone(), inputs);
            let hidden = (hidden.as_ref()).map(|(w, bias)| Linear::new(w, bias.clone(), bits));
            for isa in [Isa::Portable, Isa::best()] {
                let actual = synthesize(isa, hidden.as_ref(), &last, &latents, bytes);
                assert_eq!(actual.len(), expected.len());
                for (at, (&a, b)) in actual.iter().zip(&expected).enumerate() {
                    let (patch, output) = (at / outputs, at % outputs);
                    assert!(
                        (f64::from(a) - b).abs() < 1e-4,
                        "{isa:?}, {bytes} bytes of {bits} bits, {units:?} units, patch {patch}, output {output}: {a}, not {b}"
                    );
                }
            }
        }
    }
}
