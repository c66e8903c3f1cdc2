//! Convolutions worked out 32 windows at a time, a row of sums for each stored kernel.
//!
//! Channels that share kernels are then a bias each on a row, and kernels of a 1x1 map that keep few channels add up
//! the rows of codes that they keep. Lanes of a row are windows, so that nothing is lost where kernels are few or
//! sparse.

use kernels::{Aligned, Lanes, Simd, Words, Work};

use crate::banks::{Banks, WindowSink};
use crate::layout::Layout;
use crate::reference::quantize;
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
    pub(crate) shift: u32,
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
    pub(crate) fn new(
        simd: Simd,
        conv: &Conv,
        layer: &Layer,
        input: &Layout,
        sparse: bool,
    ) -> Self {
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
            Sums::Dense(Banks::new(simd, conv, None, input, layer.output))
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

    /// Gives `sink` the sums of every channel for up to 32 windows of `input`.
    pub(crate) fn run(
        &self,
        simd: Simd,
        input: &Aligned<u8>,
        windows: &[usize],
        sums: &mut Vec<Lanes>,
        rows: &mut Vec<Row<i32>>,
        sink: impl Sink,
    ) {
        rows.resize(self.kernels, [0; ROW]);
        match &self.sums {
            Sums::Dense(banks) => {
                banks.run(simd, input, windows, sums, &mut ToRows(rows));
            }
            Sums::Sparse(kernels) => simd.vectorized(Weigh {
                kernels,
                codes: input.as_chunks().0,
                rows,
            }),
        }
        let conv = self;
        simd.vectorized(Spread { conv, rows, sink });
    }
}

/// Sums of windows to rows.
struct ToRows<'a>(&'a mut [Row<i32>]);

impl WindowSink for ToRows<'_> {
    #[inline(always)]
    fn sums(&mut self, window: usize, kernel: usize, sums: &Lanes, count: usize) {
        for (row, &sum) in self.0[kernel..].iter_mut().zip(&sums.0[..count]) {
            row[window] = sum;
        }
    }
}

/// Where a convolution's rows go.
pub(crate) trait Sink {
    /// The sums of a channel; those beyond the last window mean nothing. To be marked `#[inline(always)]`.
    fn row(&mut self, channel: usize, sums: &Row<i32>);
}

/// The codes of a row of sums.
#[inline(always)]
pub(crate) fn codes(sums: &Row<i32>, shift: u32) -> Row<u8> {
    let mut codes = [0; ROW];
    for (code, &acc) in codes.iter_mut().zip(sums) {
        *code = quantize(acc, shift);
    }
    codes
}

/// Sparse kernels over rows of codes.
struct Weigh<'a> {
    kernels: &'a [Vec<(u16, i16)>],
    codes: &'a [Row<u8>],
    rows: &'a mut [Row<i32>],
}

impl Work for Weigh<'_> {
    #[inline(always)]
    fn run<W: Words>(self) {
        for (row, kernel) in self.rows.iter_mut().zip(self.kernels) {
            // At most 4,096 codes of 3 weigh at most 2 each: 16 bits hold the sum.
            let mut sums = [0i16; ROW];
            for &(channel, weight) in kernel {
                for (sum, &code) in sums.iter_mut().zip(&self.codes[usize::from(channel)]) {
                    *sum += weight * i16::from(code);
                }
            }
            for (wide, &sum) in row.iter_mut().zip(&sums) {
                *wide = sum.into();
            }
        }
    }
}

/// Each output channel's bias on the row of its kernel.
struct Spread<'a, S> {
    conv: &'a RowConv,
    rows: &'a [Row<i32>],
    sink: S,
}

impl<S: Sink> Work for Spread<'_, S> {
    #[inline(always)]
    fn run<W: Words>(mut self) {
        let channels = self.conv.kernel_of.iter().zip(&self.conv.biases);
        for (channel, (&kernel, &bias)) in channels.enumerate() {
            let mut sums = [0; ROW];
            for (sum, &row) in sums.iter_mut().zip(&self.rows[usize::from(kernel)]) {
                *sum = row + bias;
            }
            self.sink.row(channel, &sums);
        }
    }
}
