//! Convolutions worked out 32 windows at a time, a row of sums for each channel.
//!
//! Channels that share kernels are then a bias each on a row, and kernels of a 1x1 map that keep few channels add up
//! the rows of codes that they keep. Lanes of a row are windows, so that nothing is lost where kernels are few or
//! sparse.

use kernels::{Aligned, LANES, Lanes, Simd, Words, Work};

use crate::banks::{Banks, MAX_CODE, Panel};
use crate::layout::Layout;
use crate::reference::quantize;
use crate::{Conv, Element, Layer, Map};

/// Windows, of a map or of a batch of patches, in a row.
pub(crate) const ROW: usize = 32;

/// Sums or codes of one channel.
pub(crate) type Row<T> = [T; ROW];

/// A sum in a row, in 32 or 16 bits.
pub(crate) trait Sum: Copy + Into<i32> {
    /// The code that it is quantized to.
    fn code(self, shift: u32) -> u8;
}

impl Sum for i32 {
    #[inline(always)]
    fn code(self, shift: u32) -> u8 {
        quantize(self, shift)
    }
}

impl Sum for i16 {
    #[inline(always)]
    fn code(self, shift: u32) -> u8 {
        (self >> shift.min(15)).clamp(0, MAX_CODE.into()) as u8
    }
}

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

/// Whether a layer behind another convolution reads rows: few weights, each of a channel of its own, whose sums fit 16
/// bits.
pub(crate) fn reads_rows(conv: &Conv, input: Map) -> bool {
    let spec = &conv.spec;
    let dense = u64::from(conv.wiring.kernels(spec)) * u64::from(input.channels);
    input.height * input.width == 1
        && input.element == Element::Code
        && spec.kernel_height * spec.kernel_width == 1
        && (spec.groups, spec.padding) == (1, 0)
        && conv.wiring.pruned.is_some()
        && conv.weights.len() as u64 * 8 <= dense
        && fits_words(conv, input)
}

/// Whether each partial sum of codes and bias fits 16 bits.
fn fits_words(conv: &Conv, input: Map) -> bool {
    let kernels = conv.kernels(input);
    conv.biases.iter().enumerate().all(|(channel, &bias)| {
        let weights = kernels[conv.kernel_of(channel)].weights.iter();
        let largest: i64 = weights.map(|&weight| i64::from(weight).abs()).sum();
        i64::from(bias).abs() + i64::from(MAX_CODE) * largest <= i64::from(i16::MAX)
    })
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
        match &self.sums {
            Sums::Dense(banks) => banks.windows(layout, patches, windows),
            Sums::Sparse(_) => {
                windows.clear();
                windows.extend(0..patches);
            }
        }
    }

    /// Gives `sink` the sums of every channel for up to [`ROW`] windows of `input`.
    pub(crate) fn run(
        &self,
        simd: Simd,
        input: &Aligned<u8>,
        windows: &[usize],
        sums: &mut Vec<Lanes>,
        rows: &mut Vec<Row<i32>>,
        sink: impl Sink,
    ) {
        match &self.sums {
            Sums::Dense(banks) => {
                rows.resize(self.kernels, [0; ROW]);
                banks.run(input, windows, sums, &mut |panel| transpose(panel, rows));
                let conv = self;
                simd.vectorized(Spread { conv, rows, sink });
            }
            Sums::Sparse(kernels) => simd.vectorized(Weigh {
                conv: self,
                kernels,
                codes: input.as_chunks().0,
                sink,
            }),
        }
    }
}

/// Sums of windows to rows. It is not compiled for the kernel's instructions, which would scatter them one by one.
fn transpose(panel: Panel<'_>, rows: &mut [Row<i32>]) {
    let rows = &mut rows[panel.kernel..][..panel.kernels];
    for (window, sums) in panel.windows() {
        for (rows, sums) in rows.chunks_mut(LANES).zip(sums) {
            for (row, &sum) in rows.iter_mut().zip(&sums.0) {
                row[window] = sum;
            }
        }
    }
}

/// Where a convolution's rows go.
pub(crate) trait Sink {
    /// The sums of a channel; those beyond the last window mean nothing. To be marked `#[inline(always)]`.
    fn row<T: Sum>(&mut self, channel: usize, sums: &Row<T>);
}

/// The codes of a row of sums.
#[inline(always)]
pub(crate) fn codes<T: Sum>(sums: &Row<T>, shift: u32) -> Row<u8> {
    // Not by `map`, which is not always inlined.
    let mut codes = [0; ROW];
    for (code, &sum) in codes.iter_mut().zip(sums) {
        *code = sum.code(shift);
    }
    codes
}

/// Sparse kernels over rows of codes, with each channel's bias.
struct Weigh<'a, S> {
    conv: &'a RowConv,
    kernels: &'a [Vec<(u16, i16)>],
    codes: &'a [Row<u8>],
    sink: S,
}

impl<S: Sink> Work for Weigh<'_, S> {
    #[inline(always)]
    fn run<W: Words>(mut self) {
        let channels = self.conv.kernel_of.iter().zip(&self.conv.biases);
        for (channel, (&kernel, &bias)) in channels.enumerate() {
            // `fits_words` has checked that 16 bits suffice.
            let mut products = [0i16; ROW];
            for &(from, weight) in &self.kernels[usize::from(kernel)] {
                for (sum, &code) in products.iter_mut().zip(&self.codes[usize::from(from)]) {
                    *sum += weight * i16::from(code);
                }
            }
            let mut sums = [0; ROW];
            for (sum, &products) in sums.iter_mut().zip(&products) {
                *sum = products + bias as i16;
            }
            self.sink.row(channel, &sums);
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
            let mut sums = [bias; ROW];
            for (sum, &row) in sums.iter_mut().zip(&self.rows[usize::from(kernel)]) {
                *sum += row;
            }
            self.sink.row(channel, &sums);
        }
    }
}
