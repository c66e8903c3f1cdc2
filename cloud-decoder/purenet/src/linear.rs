//! The first stage in full precision: linear layers on many patches.
//!
//! Inputs of the first of them are bits, -1 or +1: four weights have sixteen sums, which are made once for many patches.

use crate::engine;
use crate::simd::{Isa, Lanes, PANEL, Windows, Work};
use rayon::prelude::*;

/// Weights whose sums are in one table.
const GROUP: usize = 4;
const SUMS: usize = 1 << GROUP;
/// Tables for a byte of latents.
const HALVES: usize = u8::BITS as usize / GROUP;
/// Bytes of a patch that are summed together: their tables fit the first-level cache.
const BYTES: usize = 4;

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

    /// The sums of `count` patches, panel by panel of outputs; `sum` fills a panel's from its weights and biases.
    fn panels(
        &self,
        count: usize,
        sum: impl Fn(&[Lanes], &[f32], &mut [Lanes]) + Sync,
    ) -> Vec<Lanes> {
        let weights = self.weights.par_chunks_exact(self.inputs);
        let mut sums = vec![ZERO; weights.len() * count];
        sums.par_chunks_exact_mut(count)
            .zip(weights)
            .zip(self.bias.par_chunks(PANEL))
            .for_each(|((sums, weights), bias)| sum(weights, bias, sums));
        sums
    }
}

/// The values of patch after patch from latents of `bytes` a patch.
pub(crate) fn synthesize(
    isa: Isa,
    hidden: Option<&Linear>,
    last: &Linear,
    latents: &[u8],
    bytes: usize,
) -> Vec<f32> {
    let count = latents.len() / bytes;
    let signs = |weights: &[Lanes], sums: &mut [Lanes]| {
        isa.apply(Signs {
            weights,
            latents,
            bytes,
            sums,
        });
    };
    let sums = match hidden {
        None => last.panels(count, |weights, _, sums| signs(weights, sums)),
        Some(hidden) => {
            let units = hidden.panels(count, |weights, bias, sums| {
                signs(weights, sums);
                isa.apply(Activation { bias, sums });
            });
            let windows = Windows {
                input: Lanes::flatten(&units),
                rows: hidden.bias.len().div_ceil(PANEL),
                row_len: PANEL,
                row_stride: count * PANEL,
                pixel_stride: PANEL,
            };
            last.panels(count, |weights, bias, sums| {
                isa.multiply(windows, weights, bias.len(), sums);
            })
        }
    };
    let panels: Vec<_> = sums.chunks_exact(count).collect();
    engine::join(&panels, |lanes| &lanes.0, &last.bias, count, false)
}

/// Adds biases; what is negative becomes zero.
struct Activation<'a> {
    bias: &'a [f32],
    sums: &'a mut [Lanes],
}

impl Work for Activation<'_> {
    #[inline(always)]
    fn run(self) {
        let mut biases = [0.0; PANEL];
        biases[..self.bias.len()].copy_from_slice(self.bias);
        for sums in self.sums {
            for (sum, bias) in sums.0.iter_mut().zip(biases) {
                *sum = (*sum + bias).max(0.0);
            }
        }
    }
}

/// A panel's sums for patch after patch.
struct Signs<'a> {
    /// One a bit. Those after a patch's last bit count nothing.
    weights: &'a [Lanes],
    latents: &'a [u8],
    /// Of each patch.
    bytes: usize,
    /// One a patch, zero before.
    sums: &'a mut [Lanes],
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
            .zip([None, Some(3), Some(40)].into_iter().cycle())
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
