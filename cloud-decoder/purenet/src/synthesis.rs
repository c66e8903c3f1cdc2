//! The first stage: from the bits of patches to the first map, patch by patch.
//!
//! The inputs of the hidden layer are bits, -1 or +1: four weights have sixteen sums, which are made once for many
//! patches. All its sums fit 16 bits, as the format requires.

use std::cell::RefCell;

use kernels::{Aligned, LANES, Lanes, Matrix, Simd, Words, Work};
use rayon::prelude::*;

use crate::arithmetic::{Block, half};
use crate::ends::blocks;

/// Hidden units that are computed together.
const UNITS: usize = 64;
type Units = [i16; UNITS];
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
/// Patches whose sums are computed together.
const STRIP: usize = 48;

/// The stage's tensors, as `docs/formats.md` describes them.
pub(crate) struct SynthesisTensors {
    /// Unit, bit.
    pub(crate) hidden_weights: Vec<i16>,
    pub(crate) hidden_bias: Vec<i16>,
    pub(crate) hidden_multipliers: Vec<i16>,
    /// Output, unit.
    pub(crate) weights: Vec<i16>,
    pub(crate) bias: Vec<i32>,
    pub(crate) multipliers: Vec<i16>,
    pub(crate) shift: u32,
}

/// The stage, packed.
pub(crate) struct Synthesis {
    simd: Simd,
    panels: Vec<UnitPanel>,
    /// Units, filled up to whole panels.
    units: usize,
    last: Matrix<i16>,
    multipliers: Vec<Block<i16>>,
    shift: u32,
    outputs: usize,
}

/// Weights, biases and multipliers of some units.
struct UnitPanel {
    /// One per bit, in whole groups of [`BYTES`].
    weights: Vec<Units>,
    bias: Units,
    multipliers: [Block<i16>; UNITS / LANES],
}

/// Buffers of one thread.
#[derive(Default)]
struct Scratch {
    /// Units of patch after patch.
    units: Aligned<i16>,
    /// One panel of them.
    panel: Vec<Units>,
    sums: Vec<Lanes>,
    windows: Vec<usize>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Synthesis {
    pub(crate) fn new(simd: Simd, tensors: &SynthesisTensors) -> Self {
        let (units, outputs) = (tensors.hidden_bias.len(), tensors.bias.len());
        let bits = tensors.hidden_weights.len() / units;
        let padded = bits.next_multiple_of(8 * BYTES);
        let panel = |first: usize| {
            let mut panel = UnitPanel {
                weights: vec![[0; UNITS]; padded],
                bias: [0; UNITS],
                multipliers: [[0; LANES]; UNITS / LANES],
            };
            for unit in first..units.min(first + UNITS) {
                let weights = &tensors.hidden_weights[unit * bits..][..bits];
                for (lanes, &weight) in panel.weights.iter_mut().zip(weights) {
                    lanes[unit - first] = weight;
                }
                panel.bias[unit - first] = tensors.hidden_bias[unit];
                let place = panel.multipliers.as_flattened_mut();
                place[unit - first] = tensors.hidden_multipliers[unit];
            }
            panel
        };
        let starts: Vec<i32> = (tensors.bias.iter())
            .map(|bias| bias + half(tensors.shift))
            .collect();
        let last = Matrix::new(simd, (1, units), i16::MAX, &starts, |_, unit, output| {
            tensors.weights[output * units + unit]
        });
        Self {
            simd,
            panels: (0..units).step_by(UNITS).map(panel).collect(),
            units: units.next_multiple_of(UNITS),
            last,
            multipliers: blocks(&tensors.multipliers),
            shift: tensors.shift,
            outputs,
        }
    }

    /// The values of patch after patch, from each one's bits: whole bytes, of which the first bits are the lowest.
    pub(crate) fn run(&self, patches: &[&[u8]]) -> Vec<i16> {
        let share = patches.len().div_ceil(rayon::current_num_threads());
        let share = share.clamp(LEAST_SHARE, MOST_SHARE);
        let mut values = vec![0; patches.len() * self.outputs];
        values
            .par_chunks_mut(share * self.outputs)
            .zip(patches.par_chunks(share))
            .for_each(|(values, patches)| {
                SCRATCH.with_borrow_mut(|scratch| self.share(patches, values, scratch));
            });
        values
    }

    /// Bytes that [`Synthesis::run`] holds per patch.
    pub(crate) fn held(&self) -> usize {
        (self.outputs + self.units) * size_of::<i16>()
    }

    fn share(&self, patches: &[&[u8]], values: &mut [i16], scratch: &mut Scratch) {
        let Scratch {
            units,
            panel,
            sums,
            windows,
        } = scratch;
        units.resize(patches.len() * self.units);
        panel.resize(patches.len(), [0; UNITS]);
        for (index, weights) in self.panels.iter().enumerate() {
            self.simd.vectorized(Signs {
                panel: weights,
                patches,
                units: panel,
            });
            let places = units.chunks_exact_mut(self.units).zip(panel.iter());
            for (place, units) in places {
                place[index * UNITS..][..UNITS].copy_from_slice(units);
            }
        }
        windows.clear();
        windows.extend((0..patches.len()).map(|patch| patch * self.units));
        let reads = self.last.reads([0]);
        for panel in 0..self.last.panels() {
            let (first, outputs) = self.last.outputs(panel);
            let blocks = self.last.blocks(panel);
            let strips = windows
                .chunks(STRIP)
                .zip(values.chunks_mut(STRIP * self.outputs));
            for (windows, values) in strips {
                sums.resize(STRIP * blocks, Lanes::default());
                let sums = &mut sums[..windows.len() * blocks];
                self.last
                    .multiply(panel, &reads, units.with_spare(), windows, sums);
                self.simd.vectorized(Requantize {
                    sums,
                    blocks,
                    shift: self.shift,
                    multipliers: &self.multipliers[first / LANES..],
                    places: (first, outputs, self.outputs),
                    values,
                });
            }
        }
    }
}

/// A panel's units for patch after patch.
struct Signs<'a> {
    panel: &'a UnitPanel,
    patches: &'a [&'a [u8]],
    /// One per patch.
    units: &'a mut [Units],
}

impl Work for Signs<'_> {
    #[inline(always)]
    fn run<W: Words>(self) {
        let mut tables = [[[[0; UNITS]; SUMS]; HALVES]; BYTES];
        self.units.fill(self.panel.bias);
        let most = self.patches.iter().map(|patch| patch.len()).max();
        let weights = self.panel.weights.chunks_exact(BYTES * HALVES * GROUP);
        for (first, weights) in (0..most.unwrap_or(0)).step_by(BYTES).zip(weights) {
            let (weights, _) = weights.as_chunks::<GROUP>();
            for (table, weights) in tables.as_flattened_mut().iter_mut().zip(weights) {
                fill(table, weights);
            }
            for (patch, units) in self.patches.iter().zip(self.units.iter_mut()) {
                let mut total = *units;
                for (&byte, [low, high]) in patch.iter().skip(first).zip(&tables) {
                    let (low, high) = (&low[usize::from(byte % 16)], &high[usize::from(byte / 16)]);
                    for ((total, low), high) in total.iter_mut().zip(low).zip(high) {
                        *total = total.wrapping_add(low.wrapping_add(*high));
                    }
                }
                *units = total;
            }
        }
        for units in self.units {
            let (blocks, _) = units.as_chunks_mut::<LANES>();
            for (block, multipliers) in blocks.iter_mut().zip(&self.panel.multipliers) {
                W::load(block).scaled_each(multipliers).relu().store(block);
            }
        }
    }
}

/// The sums of four weights for all signs; bit `i` is that of weight `i`. What is read and written is copied, or the
/// compiler would fear that it is the same.
#[inline(always)]
fn fill(table: &mut [Units; SUMS], weights: &[Units; GROUP]) {
    let mut sums = [0i16; UNITS];
    for weight in weights {
        let sums = sums.iter_mut().zip(weight);
        sums.for_each(|(sum, weight)| *sum = sum.wrapping_sub(*weight));
    }
    table[0] = sums;
    for (bit, &weight) in weights.iter().enumerate() {
        for without in 0..1 << bit {
            let mut sums = table[without];
            let weights = sums.iter_mut().zip(weight);
            weights.for_each(|(sum, weight)| *sum = sum.wrapping_add(weight).wrapping_add(weight));
            table[without | 1 << bit] = sums;
        }
    }
}

/// The end of the last layer for some patches and a panel of outputs.
struct Requantize<'a> {
    sums: &'a [Lanes],
    blocks: usize,
    shift: u32,
    multipliers: &'a [Block<i16>],
    /// First output of the panel, how many it has, and how many a patch has.
    places: (usize, usize, usize),
    values: &'a mut [i16],
}

impl Work for Requantize<'_> {
    #[inline(always)]
    fn run<W: Words>(self) {
        let (first, outputs, all) = self.places;
        let patches = self.sums.chunks_exact(self.blocks);
        for (sums, values) in patches.zip(self.values.chunks_exact_mut(all)) {
            let values = values[first..][..outputs].chunks_mut(LANES);
            for ((sums, multipliers), values) in sums.iter().zip(self.multipliers).zip(values) {
                let block = W::requantized(sums, self.shift, multipliers);
                match values.first_chunk_mut() {
                    Some(values) => block.store(values),
                    None => {
                        let mut all = [0; LANES];
                        block.store(&mut all);
                        values.copy_from_slice(&all[..values.len()]);
                    }
                }
            }
        }
    }
}
