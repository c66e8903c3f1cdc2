//! Dense kernels repacked for AMX, where runs of bytes fill tiles that are 64 bytes deep.
//!
//! A tile of windows that lie evenly spaced (at the same place of consecutive patches, or side by side in a row) is
//! read where it is; other windows are copied together first. What is read beyond a run has weight 0.

use std::cell::RefCell;

use amx::{Amx, MAX_RUNS, ROWS, Sums, Tile, Weights, Windows};

use crate::layer::StoredKernel;
use crate::layout::Bytes;
use crate::simd::{BLOCKS, LANES, Lanes};

/// Windows computed together: two tiles.
const TILES: usize = 2 * ROWS;
/// Taps of four bytes that a tile of 64 must save, or padding and copies cost more than it gains.
const GAIN: usize = 4;
/// Bytes between windows copied together besides their own, so that windows do not share cache sets.
const PAD: usize = 64;

/// Up to 32 kernels of one group without pruned channels.
#[derive(Debug)]
pub(crate) struct TileBank {
    /// Where runs begin in a window, and their bytes.
    starts: Vec<usize>,
    run: usize,
    weights: Weights<u8>,
    biases: [Lanes; BLOCKS],
}

thread_local! {
    /// Windows copied together.
    static GATHERED: RefCell<Bytes> = RefCell::default();
}

impl TileBank {
    /// Whether it is worth it for windows of so many runs of so many bytes.
    pub(crate) fn pays(runs: usize, run: usize) -> bool {
        runs <= MAX_RUNS && run.div_ceil(4) >= GAIN * run.div_ceil(64)
    }

    /// Packs kernels whose runs begin at `starts`.
    pub(crate) fn new(
        starts: Vec<usize>,
        run: usize,
        kernels: &[StoredKernel<'_>],
        biases: &[Lanes],
    ) -> Self {
        let weights = Weights::new(starts.len(), run, kernels.len(), |index, byte, kernel| {
            kernels[kernel].weights[index * run + byte]
        });
        let mut all = [Lanes::default(); BLOCKS];
        all[..biases.len()].copy_from_slice(biases);
        Self {
            starts,
            run,
            weights,
            biases: all,
        }
    }

    /// Calls `sink(window, block of lanes, sums)` for each of the windows and blocks.
    pub(crate) fn run(
        &self,
        amx: Amx,
        input: &[u8],
        windows: &[usize],
        mut sink: impl FnMut(usize, usize, &Lanes),
    ) {
        let mut sums = [Sums::default(); TILES];
        for (part, windows) in windows.chunks(TILES).enumerate() {
            let rows = windows.len().min(ROWS);
            let firsts = [0, windows.len() - rows];
            match spacing(windows, &firsts, rows) {
                Some(stride) => {
                    let tiles = firsts.map(|first| Tile {
                        at: windows[first],
                        first,
                    });
                    let from = |start: usize| &input[start..];
                    self.multiply(amx, from, stride, rows, &tiles, &mut sums);
                }
                None => GATHERED.with_borrow_mut(|bytes| {
                    let reach = self.weights.reach();
                    let stride = self.starts.len() * reach + PAD;
                    bytes.resize(windows.len() * stride);
                    for (window, copy) in windows.iter().zip(bytes.chunks_exact_mut(stride)) {
                        for (start, copy) in self.starts.iter().zip(copy.chunks_exact_mut(reach)) {
                            copy[..self.run].copy_from_slice(&input[window + start..][..self.run]);
                        }
                    }
                    let tiles = firsts.map(|first| Tile {
                        at: first * stride,
                        first,
                    });
                    let mut runs = 0..;
                    let from = |_| &bytes[runs.next().unwrap_or(0) * reach..];
                    self.multiply(amx, from, stride, rows, &tiles, &mut sums);
                }),
            }
            for (window, sums) in sums[..windows.len()].iter().enumerate() {
                let (blocks, _) = sums.0.as_chunks::<LANES>();
                for (block, (sums, bias)) in blocks.iter().zip(&self.biases).enumerate() {
                    let mut lanes = Lanes(*sums);
                    for (sum, bias) in lanes.0.iter_mut().zip(bias.0) {
                        *sum += bias;
                    }
                    sink(part * TILES + window, block, &lanes);
                }
            }
        }
    }

    /// The products of tiles of windows, of whose runs each lies in what `from` gives for where it begins in a window.
    fn multiply<'a>(
        &self,
        amx: Amx,
        from: impl FnMut(usize) -> &'a [u8],
        stride: usize,
        rows: usize,
        tiles: &[Tile; 2],
        sums: &mut [Sums<i32>],
    ) {
        let mut runs: [&[u8]; MAX_RUNS] = [&[]; MAX_RUNS];
        for (run, lies) in runs.iter_mut().zip(self.starts.iter().copied().map(from)) {
            *run = lies;
        }
        let windows = Windows {
            runs: &runs[..self.starts.len()],
            stride,
            rows,
        };
        let needed = if rows < ROWS { 1 } else { 2 };
        amx.multiply(&self.weights, windows, &tiles[..needed], sums);
    }
}

/// Bytes from window to window, if they are the same within both tiles.
fn spacing(windows: &[usize], firsts: &[usize; 2], rows: usize) -> Option<usize> {
    let stride = match windows {
        [first, second, ..] => second.checked_sub(*first)?,
        _ => 0,
    };
    let even = |&first: &usize| {
        let steps = windows[first..first + rows].windows(2);
        steps.into_iter().all(|pair| pair[1] == pair[0] + stride)
    };
    firsts.iter().all(even).then_some(stride)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pack::{Packed, Scratch};
    use crate::simd::Simd;
    use crate::sinks::Target;
    use crate::{Output, PATCH_BYTES, Program, Task, reference};

    use crate::common::{Noise, programs};

    /// Two patches at once, by tiles in plain code, are what the reference makes of each.
    fn agrees(program: &Program, seed: u64) -> Result<(), TestCaseError> {
        let Some(simd) = Simd::with_emulated_tiles() else {
            return Ok(());
        };
        let packed = Packed::new(program, simd);
        let patches = packed.batch().min(2);
        let pixels = Noise(seed).bytes(patches * PATCH_BYTES);
        let (pixels, _) = pixels.as_chunks::<PATCH_BYTES>();
        let count = program.output().count() as usize;
        let (mut bits, mut logits) = (vec![0; patches * count / 8], vec![0; patches * count]);
        let mut target = match program.task() {
            Task::Compress => Target::Bits(&mut bits),
            Task::Classify => Target::Logits(&mut logits),
        };
        let fill = |patch: usize, to: &mut [u8; PATCH_BYTES]| *to = pixels[patch];
        packed.run(patches, fill, &mut Scratch::default(), &mut target);
        for (patch, pixels) in pixels.iter().enumerate() {
            match reference::run(program, pixels) {
                Output::Bits(expected) => {
                    prop_assert_eq!(&bits[patch * count / 8..][..count / 8], expected);
                }
                Output::Logits(expected) => {
                    prop_assert_eq!(&logits[patch * count..][..count], expected);
                }
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn tiles_in_plain_code_equal_the_reference(program in programs(), seed: u64) {
            agrees(&program, seed)?;
        }
    }

    #[test]
    fn the_shipped_programs_run_on_tiles() {
        for bytes in [patchwire_models::COMPRESS, patchwire_models::CLASSIFY] {
            agrees(&Program::from_bytes(bytes).unwrap(), 7).unwrap();
        }
    }

    #[test]
    fn runs_that_fill_tiles_are_worth_it() {
        assert!(TileBank::pays(1, 3072) && TileBank::pays(3, 192));
        assert!(
            !TileBank::pays(3, 9),
            "three channels leave most of a tile empty"
        );
        assert!(
            !TileBank::pays(MAX_RUNS + 1, 64),
            "more runs than are read at once"
        );
    }
}
