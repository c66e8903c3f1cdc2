//! Weights in tiles of Intel AMX, where runs of bytes fill tiles that are 64 bytes deep.
//!
//! A tile holds 16 rows of 64 bytes. `tdpbusd` multiplies a tile of 16 windows by a tile of weights of 16 outputs, over
//! a depth of 64 bytes, and adds to a tile of 16 x 16 sums. Two tiles of windows are multiplied by two of weights, so
//! that each loaded tile is multiplied twice. Windows that lie evenly spaced are read where they are; others are copied
//! together first. Bytes that are read beyond a run have weight 0.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod machine;
mod shape;

use std::cell::RefCell;

use crate::element::Element;
use crate::operands::{Aligned, LANES, Lanes};
pub(crate) use shape::BLOCKS;
use shape::{DEPTH, MOST_RUNS, Pair, ROWS, Row, Weights};

/// Outputs of a panel.
pub(crate) const OUTPUTS: usize = BLOCKS * LANES;
/// Windows copied together at a time.
const GATHERED: usize = 2 * ROWS;
/// Bytes between windows copied together besides their own, so that windows do not share cache sets.
const PAD: usize = 64;
/// Taps of four bytes that a tile of 64 bytes must save, or padding and copies cost more than it gains.
const GAIN: usize = 4;

/// Whether tiles are worth it for windows of so many runs of so many bytes.
pub(crate) fn pay(runs: usize, run: usize) -> bool {
    run > 0 && (1..=MOST_RUNS).contains(&runs) && run.div_ceil(4) >= GAIN * run.div_ceil(DEPTH)
}

/// A panel of [`OUTPUTS`].
#[derive(Debug)]
pub(crate) struct Tiles {
    runs: usize,
    /// Bytes of a run.
    run: usize,
    weights: Weights,
}

thread_local! {
    static COPIES: RefCell<Aligned<u8>> = RefCell::default();
}

/// Whether the machine has tiles, and this process may use them.
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "only asked on x86-64")
)]
pub(crate) fn present() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    return machine::present();
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    false
}

impl Tiles {
    pub(crate) fn new(
        (runs, run): (usize, usize),
        starts: &[i32],
        weight: impl Fn(usize, usize, usize) -> i32,
    ) -> Self {
        let steps = run.div_ceil(DEPTH);
        let mut rows = vec![Row([0; DEPTH]); runs * steps * BLOCKS * ROWS];
        for index in 0..runs {
            for byte in 0..run {
                let tile = (index * steps + byte / DEPTH) * BLOCKS;
                for output in 0..starts.len() {
                    let row = (tile + output / LANES) * ROWS + byte % DEPTH / 4;
                    let weight = weight(index, byte, output);
                    rows[row].0[output % LANES * 4 + byte % 4] = weight as i8;
                }
            }
        }
        let mut all = [Lanes::default(); BLOCKS];
        for (output, &start) in starts.iter().enumerate() {
            all[output / LANES].0[output % LANES] = start;
        }
        Self {
            runs,
            run,
            weights: Weights {
                steps,
                rows,
                starts: all,
            },
        }
    }

    /// Bytes that are read of a run.
    pub(crate) fn run_bytes(&self) -> usize {
        self.weights.steps * DEPTH
    }

    /// As [`Matrix::multiply`](crate::Matrix::multiply).
    ///
    /// # Safety
    /// Each window lies in the input, to the end of the last tile of its last run, and has its sums.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn multiply<T: Element>(
        &self,
        starts: &[u32],
        input: &[T],
        windows: &[usize],
        sums: &mut [Lanes],
    ) {
        let input: *const u8 = input.as_ptr().cast();
        match spacing(windows) {
            Some(stride) => {
                let first = windows.first().copied().unwrap_or(0);
                let runs = starts
                    .iter()
                    .map(|&start| input.wrapping_add(first + start as usize));
                self.evenly(runs, stride, windows.len(), sums);
            }
            None => {
                let parts = windows
                    .chunks(GATHERED)
                    .zip(sums.chunks_mut(GATHERED * BLOCKS));
                parts.for_each(|(windows, sums)| self.copied(starts, input, windows, sums));
            }
        }
    }

    /// Windows that begin `stride` bytes apart where `runs` begin.
    fn evenly(
        &self,
        runs: impl Iterator<Item = *const u8>,
        stride: usize,
        windows: usize,
        sums: &mut [Lanes],
    ) {
        let mut places = [std::ptr::null(); MOST_RUNS];
        places
            .iter_mut()
            .zip(runs)
            .for_each(|(place, run)| *place = run);
        let rows = windows.min(ROWS);
        // The last tile may overlap the one before, and the last of an odd number is computed twice.
        let first = |tile: usize| (tile * ROWS).min(windows - rows);
        let pairs = (0..windows.div_ceil(ROWS)).step_by(2).map(|tile| {
            let first = [first(tile), first(tile + 1)];
            let at = first.map(|first| first * stride);
            Pair { at, first }
        });
        multiply(
            &self.weights,
            &places[..self.runs],
            stride,
            rows,
            pairs,
            sums,
        );
    }

    /// Windows anywhere, which are copied together.
    #[allow(unsafe_code)]
    fn copied(&self, starts: &[u32], input: *const u8, windows: &[usize], sums: &mut [Lanes]) {
        let reach = self.run_bytes();
        let stride = self.runs * reach + PAD;
        COPIES.with_borrow_mut(|bytes| {
            bytes.resize(windows.len() * stride);
            for (window, copy) in windows.iter().zip(bytes.chunks_exact_mut(stride)) {
                for (&start, copy) in starts.iter().zip(copy.chunks_exact_mut(reach)) {
                    let from = input.wrapping_add(window + start as usize);
                    // SAFETY: `Matrix::multiply` has checked that the runs of each window lie in the input, which is
                    // not the copy.
                    let run = unsafe { std::slice::from_raw_parts(from, self.run) };
                    copy[..self.run].copy_from_slice(run);
                }
            }
            let begin = bytes.as_ptr();
            let runs = (0..self.runs).map(|run| begin.wrapping_add(run * reach));
            self.evenly(runs, stride, windows.len(), sums);
        });
    }
}

/// Bytes from window to window, if they are the same for all.
fn spacing(windows: &[usize]) -> Option<usize> {
    let stride = match windows {
        [first, second, ..] => second.checked_sub(*first)?,
        _ => 0,
    };
    let even = windows.windows(2).all(|pair| pair[1] == pair[0] + stride);
    even.then_some(stride)
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use machine::multiply;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn multiply(
    _: &Weights,
    _: &[*const u8],
    _: usize,
    _: usize,
    _: impl Iterator<Item = Pair>,
    _: &mut [Lanes],
) {
    unreachable!("tiles are packed only where they are present")
}
