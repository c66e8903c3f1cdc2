//! The instructions in plain code.

use half::bf16;

use crate::operands::private::Sealed;
use crate::operands::{COLUMNS, DEPTH, Element, Line, STEP, Sums, Tile, Weights, Windows};

pub(crate) fn multiply<T: Element>(
    weights: &Weights<T>,
    windows: Windows<'_, T>,
    tiles: &[Tile],
    sums: &mut [Sums<T::Sum>],
) {
    for tile in tiles {
        for (row, sums) in sums[tile.first..][..windows.rows].iter_mut().enumerate() {
            let mut acc = [T::Sum::default(); COLUMNS];
            let lines = weights.lines().chunks_exact(weights.steps() * STEP);
            for (run, lines) in windows.runs.iter().zip(lines) {
                let values = &run[tile.at + row * windows.stride..][..weights.reach()];
                for (values, lines) in values.chunks_exact(T::DEEP).zip(lines.chunks_exact(STEP)) {
                    T::add_products(values, lines, &mut acc);
                }
            }
            sums.0 = acc;
        }
    }
}

impl Sealed for u8 {
    const INTEGER: bool = true;

    fn store(weight: i8, bytes: &mut [u8]) {
        bytes.copy_from_slice(&weight.to_ne_bytes());
    }

    fn add_products(values: &[Self], weights: &[Line], sums: &mut [i32; COLUMNS]) {
        for (deep, &value) in values.iter().enumerate() {
            for (column, sum) in sums.iter_mut().enumerate() {
                let line = &weights[column / 16 * DEPTH + deep / 4];
                let weight = line.0[4 * (column % 16) + deep % 4] as i8;
                *sum = sum.wrapping_add(i32::from(value) * i32::from(weight));
            }
        }
    }
}

impl Sealed for bf16 {
    const INTEGER: bool = false;

    fn store(weight: bf16, bytes: &mut [u8]) {
        bytes.copy_from_slice(&weight.to_ne_bytes());
    }

    /// Even and odd values are summed apart, then both together, then that with what was there before.
    fn add_products(values: &[Self], weights: &[Line], sums: &mut [f32; COLUMNS]) {
        let mut parts = [[0.0f32; COLUMNS]; 2];
        for (pair, values) in values.chunks_exact(2).enumerate() {
            let values = [values[0].to_f32(), values[1].to_f32()];
            for (tile, half) in [0, 16].into_iter().enumerate() {
                let line = &weights[tile * DEPTH + pair].0;
                let (words, _) = line.as_chunks::<4>();
                for (column, word) in words.iter().enumerate() {
                    // A bf16 is the upper half of an f32. Products are exact, as if added in one step.
                    let word = u32::from_ne_bytes(*word);
                    let (even, odd) = (word << 16, word & 0xffff_0000);
                    parts[0][half + column] += values[0] * f32::from_bits(even);
                    parts[1][half + column] += values[1] * f32::from_bits(odd);
                }
            }
        }
        for (column, sum) in sums.iter_mut().enumerate() {
            *sum += parts[0][column] + parts[1][column];
        }
    }
}
