//! Weights packed for a kernel, and their products with windows.

use crate::element::Element;
use crate::kernel::Kernel;
use crate::lines::{self, Lines};
use crate::operands::{Lanes, TAP};
use crate::simd::Simd;
use crate::tiles::{self, Tiles};

/// Weights of some outputs for windows of equally long runs, packed for a kernel in panels of outputs.
#[derive(Debug)]
pub struct Matrix<T> {
    simd: Simd,
    runs: usize,
    /// Values of a run.
    run: usize,
    panels: Vec<Panel>,
    element: std::marker::PhantomData<T>,
}

#[derive(Debug)]
struct Panel {
    first: usize,
    outputs: usize,
    packed: Packed,
}

#[derive(Debug)]
enum Packed {
    Lines(Lines),
    Tiles(Tiles),
}

/// Where a matrix reads the values of a window; made by [`Matrix::reads`], and for that matrix alone.
#[derive(Debug, Default)]
pub struct Reads {
    /// Bytes from the window to the beginning of each run.
    pub(crate) starts: Vec<u32>,
    /// Bytes from the window to each tap, panel after panel.
    offsets: Vec<u32>,
    /// Bytes that are read of each run.
    run: usize,
    /// Bytes from the window to the end of what is read.
    reach: usize,
}

impl<T: Element> Matrix<T> {
    /// Packs weights for windows of `runs` runs of `run` values each: output `o` has `weight(r, i, o)` for value `i` of
    /// run `r`, and its sums start from `starts[o]`. No activation is larger than `most`; a smaller bound makes AVX2
    /// faster. The weights of u8 activations are -64 to 63, so that two neighbouring products fit 16 bits.
    ///
    /// # Panics
    /// If a weight is beyond that.
    pub fn new(
        simd: Simd,
        (runs, run): (usize, usize),
        most: T,
        starts: &[i32],
        weight: impl Fn(usize, usize, usize) -> T::Weight,
    ) -> Self {
        let outputs = starts.len();
        let in_tiles = simd.kernel() == Kernel::AmxInt8 && !T::WORDS && tiles::pay(runs, run);
        let width = if in_tiles {
            tiles::OUTPUTS
        } else {
            lines::panel(simd, outputs)
        };
        let panel = |first: usize| {
            let outputs = width.min(outputs - first);
            let starts = &starts[first..][..outputs];
            let weight = |index: usize, value: usize, output: usize| -> i32 {
                weight(index, value, first + output).into()
            };
            let packed = if in_tiles {
                Packed::Tiles(Tiles::new((runs, run), starts, weight))
            } else {
                Packed::Lines(Lines::new::<T>(simd, (runs, run), most, starts, weight))
            };
            Panel {
                first,
                outputs,
                packed,
            }
        };
        Self {
            simd,
            runs,
            run,
            panels: (0..outputs).step_by(width).map(panel).collect(),
            element: std::marker::PhantomData,
        }
    }

    /// Number of panels.
    pub fn panels(&self) -> usize {
        self.panels.len()
    }

    /// First output of a panel, and how many outputs it has.
    pub fn outputs(&self, panel: usize) -> (usize, usize) {
        (self.panels[panel].first, self.panels[panel].outputs)
    }

    /// Blocks of [`LANES`](crate::LANES) sums that a window has in a panel.
    pub fn blocks(&self, panel: usize) -> usize {
        match &self.panels[panel].packed {
            Packed::Lines(lines) => lines.blocks(),
            Packed::Tiles(_) => tiles::BLOCKS,
        }
    }

    /// Where windows whose runs begin at these values after the window's own place are read.
    ///
    /// # Panics
    /// Unless there is a beginning for each run.
    pub fn reads(&self, starts: impl IntoIterator<Item = usize>) -> Reads {
        let mut reads = Reads::default();
        self.reads_into(starts, &mut reads);
        reads
    }

    /// The same, into memory that is there.
    ///
    /// # Panics
    /// As [`Matrix::reads`].
    pub fn reads_into(&self, starts: impl IntoIterator<Item = usize>, reads: &mut Reads) {
        reads.starts.clear();
        let bytes = starts.into_iter().map(|start| start * size_of::<T>());
        reads.starts.extend(bytes.map(|start| start as u32));
        assert_eq!(reads.starts.len(), self.runs, "a beginning for each run");
        reads.offsets.clear();
        for panel in &self.panels {
            if let Packed::Lines(lines) = &panel.packed {
                let taps = lines.taps().iter();
                let starts = &reads.starts;
                let offsets = taps.map(|tap| starts[tap.run as usize] + tap.byte);
                reads.offsets.extend(offsets);
            }
        }
        reads.run = self.run_bytes();
        let last = reads.starts.iter().max().map_or(0, |&last| last as usize);
        reads.reach = if self.run == 0 { 0 } else { last + reads.run };
    }

    /// Bytes that are read of a run. All panels are packed alike.
    fn run_bytes(&self) -> usize {
        match self.panels.first().map(|panel| &panel.packed) {
            Some(Packed::Tiles(tiles)) => tiles.run_bytes(),
            _ => (self.run * size_of::<T>()).next_multiple_of(TAP),
        }
    }

    /// Writes the sums of a panel's outputs over some windows, which begin at these values of `input`: the blocks of
    /// window after window, outputs in their order. Lanes without an output mean nothing.
    ///
    /// # Panics
    /// If a window reaches beyond `input`, whose end may have to be [to spare](crate::Aligned), if there are not that
    /// many sums, or if the reads are of another matrix.
    #[allow(unsafe_code)]
    pub fn multiply(
        &self,
        panel: usize,
        reads: &Reads,
        input: &[T],
        windows: &[usize],
        sums: &mut [Lanes],
    ) {
        let last = windows.iter().max().copied().unwrap_or(0) * size_of::<T>();
        assert!(
            last + reads.reach <= size_of_val(input),
            "windows lie in the map"
        );
        let size = (reads.starts.len(), reads.run);
        assert_eq!(size, (self.runs, self.run_bytes()), "reads of this matrix");
        let sums = &mut sums[..windows.len() * self.blocks(panel)];
        match &self.panels[panel].packed {
            Packed::Lines(lines) => {
                let before = self.panels[..panel]
                    .iter()
                    .map(|panel| match &panel.packed {
                        Packed::Lines(lines) => lines.taps().len(),
                        Packed::Tiles(_) => 0,
                    });
                let offsets = &reads.offsets[before.sum()..][..lines.taps().len()];
                // SAFETY: checked above.
                unsafe { lines.multiply(self.simd, offsets, input, windows, sums) };
            }
            // SAFETY: checked above.
            Packed::Tiles(tiles) => unsafe { tiles.multiply(&reads.starts, input, windows, sums) },
        }
    }
}
