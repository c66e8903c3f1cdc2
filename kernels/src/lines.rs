//! Weights in lines: four bytes for each of 16 outputs, which meet four bytes of a window, a tap, that are copied to all
//! lanes of a register.

use crate::call::Call;
use crate::element::Element;
use crate::kernel::Kernel;
use crate::operands::{LANES, Lanes, Line, TAP};
use crate::simd::Simd;

/// Most blocks of 16 outputs of a panel.
pub(crate) const MOST_BLOCKS: usize = 4;

/// Outputs of a panel: AVX-512 has registers for four blocks. Panels have about the same number of blocks, since one
/// with few blocks takes the longest for each.
pub(crate) fn panel(simd: Simd, outputs: usize) -> usize {
    let most = match simd.kernel() {
        Kernel::Avx512Vnni | Kernel::AmxInt8 => MOST_BLOCKS,
        _ => 1,
    };
    let blocks = outputs.div_ceil(LANES).max(1);
    blocks.div_ceil(blocks.div_ceil(most)) * LANES
}

/// A tap's place: its run, and its first byte there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tap {
    pub(crate) run: u32,
    pub(crate) byte: u32,
}

/// A panel.
#[derive(Debug)]
pub(crate) struct Lines {
    words: bool,
    taps: Vec<Tap>,
    /// By tap and block.
    lines: Vec<Line>,
    /// What the sums of each block start from.
    starts: Vec<Lanes>,
    /// Taps whose products AVX2 can add in 16 bits, one number after the other.
    runs: Vec<u32>,
}

impl Lines {
    pub(crate) fn new<T: Element>(
        simd: Simd,
        (runs, run): (usize, usize),
        most: T,
        starts: &[i32],
        weight: impl Fn(usize, usize, usize) -> i32,
    ) -> Self {
        let (outputs, each) = (starts.len(), TAP / size_of::<T>());
        let blocks = outputs.div_ceil(LANES);
        let places = (0..runs).flat_map(|index| (0..run).step_by(each).map(move |at| (index, at)));
        let mut taps: Vec<(Tap, Vec<Line>)> = places
            .map(|(index, at)| {
                let mut lines = vec![Line([0; TAP * LANES]); blocks];
                for output in 0..outputs {
                    for value in at..run.min(at + each) {
                        let weight = weight(index, value, output);
                        assert!(
                            T::WORDS || (-64..64).contains(&weight),
                            "weights have 7 bits"
                        );
                        let byte = output % LANES * TAP + (value - at) * size_of::<T>();
                        T::store(weight, &mut lines[output / LANES].0[byte..]);
                    }
                }
                let byte = (at * size_of::<T>()) as u32;
                let run = index as u32;
                (Tap { run, byte }, lines)
            })
            .collect();
        let mut together = Vec::new();
        if simd.kernel() == Kernel::Avx2 && !T::WORDS {
            let budget = i32::from(i16::MAX) / most.number().max(1);
            alternate(&mut taps);
            together = group(&taps, budget);
        }
        let mut all = vec![Lanes::default(); blocks];
        for (output, &start) in starts.iter().enumerate() {
            all[output / LANES].0[output % LANES] = start;
        }
        if simd.subtracts_128() && !T::WORDS {
            for (block, start) in all.iter_mut().enumerate() {
                for (_, lines) in &taps {
                    let (fours, _) = lines[block].0.as_chunks::<TAP>();
                    for (start, four) in start.0.iter_mut().zip(fours) {
                        let sum: i32 = four.iter().copied().map(i32::from).sum();
                        *start = start.wrapping_add(128 * sum);
                    }
                }
            }
        }
        Self {
            words: T::WORDS,
            taps: taps.iter().map(|(tap, _)| *tap).collect(),
            lines: taps.into_iter().flat_map(|(_, lines)| lines).collect(),
            starts: all,
            runs: together,
        }
    }

    pub(crate) fn blocks(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// As [`Matrix::multiply`](crate::Matrix::multiply).
    ///
    /// # Safety
    /// Each window lies in the input, to the end of its last tap.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn multiply<T: Element>(
        &self,
        simd: Simd,
        offsets: &[u32],
        input: &[T],
        windows: &[usize],
        sums: &mut [Lanes],
    ) {
        let call = Call {
            words: self.words,
            input: input.as_ptr().cast(),
            value: size_of::<T>(),
            windows,
            offsets,
            lines: &self.lines,
            starts: &self.starts,
            runs: &self.runs,
        };
        // SAFETY: the caller's promise; `group` has counted the taps of a run.
        unsafe { simd.lines(&call, sums) };
    }
}

/// The largest sum of two neighbouring weights' magnitudes in each pair of bytes.
fn pairs(lines: &[Line]) -> impl Iterator<Item = i32> {
    let bytes = lines.iter().flat_map(|line| line.0.as_chunks::<2>().0);
    bytes.map(|[a, b]| i32::from(a.unsigned_abs()) + i32::from(b.unsigned_abs()))
}

/// Puts taps with large weights next to those with small ones, so that more of them fit 16 bits together.
fn alternate(taps: &mut Vec<(Tap, Vec<Line>)>) {
    taps.sort_by_key(|(_, lines)| std::cmp::Reverse(pairs(lines).max()));
    let small = taps.split_off(taps.len().div_ceil(2));
    let mut small = small.into_iter().rev();
    *taps = std::mem::take(taps)
        .into_iter()
        .flat_map(|large| [Some(large), small.next()])
        .flatten()
        .collect();
}

/// Numbers of consecutive taps, the magnitudes of whose weights add up to at most `budget` in each pair of bytes; at
/// least one, since the pairs of a single tap always fit.
fn group(taps: &[(Tap, Vec<Line>)], budget: i32) -> Vec<u32> {
    let mut groups: Vec<u32> = Vec::new();
    let mut sums: Vec<i32> = Vec::new();
    for (_, lines) in taps {
        let next: Vec<i32> = pairs(lines).collect();
        let fit = sums
            .iter()
            .zip(&next)
            .all(|(sum, pair)| sum + pair <= budget);
        match groups.last_mut() {
            Some(last) if fit => {
                *last += 1;
                sums.iter_mut()
                    .zip(next)
                    .for_each(|(sum, pair)| *sum += pair);
            }
            _ => {
                groups.push(1);
                sums = next;
            }
        }
    }
    groups
}
