//! Convolutions worked out 32 windows at a time, a row of sums for each stored kernel.
//!
//! Channels that share kernels are then a bias each on a row, and kernels of a 1x1 map that keep few channels add up the
//! rows of codes that they keep. Lanes of a row are windows, so that nothing is lost where kernels are few or sparse.

use crate::banks::Banks;
use crate::layout::Layout;
use crate::reference::quantize;
use crate::simd::Simd;
use crate::{Conv, Element, Layer, Map};

/// Windows, of a map or of a batch of patches, in a row.
pub(crate) const ROW: usize = 32;

/// Sums or codes of one channel.
pub(crate) type Row<T> = [T; ROW];

#[derive(Debug)]
enum Sums {
    Dense(Banks),
    /// For each stored kernel, the input channels with a weight, and this weight.
    Sparse(Vec<Vec<(u16, i16)>>),
}

#[derive(Debug)]
pub(crate) struct RowConv {
    sums: Sums,
    kernels: usize,
    kernel_of: Vec<u16>,
    biases: Vec<i32>,
    shift: u32,
}

/// Whether a layer behind another convolution reads rows: few weights, each of a channel of its own.
pub(crate) fn reads_rows(conv: &Conv, input: Map) -> bool {
    let spec = &conv.spec;
    let dense = u64::from(conv.wiring.kernels(spec)) * u64::from(input.channels);
    input.height * input.width == 1
        && input.element == Element::Code
        && spec.kernel_height * spec.kernel_width == 1
        && (spec.groups, spec.padding) == (1, 0)
        && conv.wiring.pruned.is_some()
        && conv.weights.len() as u64 * 8 <= dense
}

impl RowConv {
    /// `sparse` where the layer reads rows of codes.
    pub(crate) fn new(conv: &Conv, layer: &Layer, input: &Layout, sparse: bool) -> Self {
        let conv = &*conv.whole(layer.input);
        let stored = conv.kernels(layer.input);
        let sums = if sparse {
            let weights = stored.iter().map(|kernel| {
                let kept = kernel.kept.unwrap_or_default().iter().copied();
                kept.zip(kernel.weights.iter().map(|&weight| weight.into()))
                    .collect()
            });
            Sums::Sparse(weights.collect())
        } else {
            Sums::Dense(Banks::new(conv, None, input, layer.output))
        };
        let channels = conv.spec.out_channels as usize;
        Self {
            sums,
            kernels: stored.len(),
            kernel_of: (0..channels).map(|c| conv.kernel_of(c) as u16).collect(),
            biases: conv.biases.clone(),
            shift: conv.spec.shift,
        }
    }

    /// Windows of a batch; those of sparse kernels are the patches themselves.
    pub(crate) fn windows(&self, layout: &Layout, patches: usize, windows: &mut Vec<usize>) {
        windows.clear();
        match &self.sums {
            Sums::Dense(banks) => windows.extend(banks.windows(layout, patches)),
            Sums::Sparse(_) => windows.extend(0..patches),
        }
    }

    /// Calls `sink(channel, sums)` for every channel, given up to 32 windows of `input`.
    pub(crate) fn run(
        &self,
        simd: Simd,
        input: &[u8],
        windows: &[usize],
        rows: &mut Vec<Row<i32>>,
        mut sink: impl FnMut(usize, &Row<i32>),
    ) {
        rows.clear();
        rows.resize(self.kernels, [0; ROW]);
        match &self.sums {
            Sums::Dense(banks) => {
                banks.run(simd, input, windows, &mut |window, first, sums: &[i32]| {
                    for (row, &sum) in rows[first..].iter_mut().zip(sums) {
                        row[window] = sum;
                    }
                });
            }
            Sums::Sparse(kernels) => {
                let (codes, _) = input.as_chunks::<ROW>();
                simd.vectorized(|| {
                    for (row, kernel) in rows.iter_mut().zip(kernels) {
                        *row = weighted(kernel, codes);
                    }
                });
            }
        }
        simd.vectorized(|| {
            for (channel, (&kernel, &bias)) in self.kernel_of.iter().zip(&self.biases).enumerate() {
                let mut sums = [0; ROW];
                for (sum, &row) in sums.iter_mut().zip(&rows[usize::from(kernel)]) {
                    *sum = row + bias;
                }
                sink(channel, &sums);
            }
        });
    }

    /// The codes of a row of sums.
    #[inline(always)]
    pub(crate) fn codes(&self, sums: &Row<i32>) -> Row<u8> {
        let mut codes = [0; ROW];
        for (code, &acc) in codes.iter_mut().zip(sums) {
            *code = quantize(acc, self.shift);
        }
        codes
    }
}

/// The sum of the rows of codes that a kernel keeps. At most 4,096 codes of 3 weigh at most 2 each: 16 bits hold it.
#[inline(always)]
fn weighted(kernel: &[(u16, i16)], codes: &[Row<u8>]) -> Row<i32> {
    let mut sums = [0i16; ROW];
    for &(channel, weight) in kernel {
        for (sum, &code) in sums.iter_mut().zip(&codes[usize::from(channel)]) {
            *sum += weight * i16::from(code);
        }
    }
    let mut wide = [0; ROW];
    for (wide, &sum) in wide.iter_mut().zip(&sums) {
        *wide = sum.into();
    }
    wide
}
