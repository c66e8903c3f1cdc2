//! The tensors of a convolution layer, and the orders in which its channels are packed.

use crate::arithmetic::{Reading, half};

/// A layer's tensors, as `docs/formats.md` describes them, output channels in the order of the result.
pub(crate) struct LayerTensors {
    /// Output, input, kernel row, kernel column; to be packed, output, kernel row, kernel column, input.
    pub(crate) weights: Vec<i8>,
    pub(crate) bias: Vec<i32>,
    pub(crate) multipliers: Vec<i16>,
    pub(crate) reading: Reading,
    pub(crate) shift: u32,
}

impl LayerTensors {
    /// What the sum of each output starts from: the bias, half of the divisor, and the products of the `zero` that bytes
    /// are more than what they stand for.
    pub(crate) fn starts(&self) -> Vec<i32> {
        let window = self.weights.len() / self.bias.len();
        let zero = i32::from(self.reading.zero);
        let starts = self.weights.chunks_exact(window).zip(&self.bias);
        let start = |(weights, bias): (&[i8], &i32)| {
            let sum: i32 = weights.iter().copied().map(i32::from).sum();
            let start = bias.wrapping_add(half(self.shift));
            start.wrapping_sub(zero.wrapping_mul(sum))
        };
        starts.map(start).collect()
    }

    /// The same with the output channels of a position row by row and pixel by pixel, for PyTorch's pixel shuffle by
    /// `factor`, which takes them colour by colour. In this order the channels that become a run of a row lie side by
    /// side.
    pub(crate) fn sorted_for_shuffle(self, factor: usize) -> Self {
        let (outputs, pixels) = (self.bias.len(), factor * factor);
        let colours = outputs / pixels;
        let order: Vec<_> = (0..outputs)
            .map(|at| at % colours * pixels + at / colours)
            .collect();
        let kernels: Vec<_> = self
            .weights
            .chunks_exact(self.weights.len() / outputs)
            .collect();
        let weights = order.iter().flat_map(|&output| kernels[output]);
        Self {
            weights: weights.copied().collect(),
            bias: order.iter().map(|&output| self.bias[output]).collect(),
            multipliers: order
                .iter()
                .map(|&output| self.multipliers[output])
                .collect(),
            ..self
        }
    }

    /// From PyTorch's order of weights (output, input, row, column) to that of windows (output, row, column, input),
    /// whose input `i` is PyTorch's `input_of(i)`.
    pub(crate) fn channels_last(self, inputs: usize, input_of: impl Fn(usize) -> usize) -> Self {
        let window = self.weights.len() / self.bias.len();
        let area = window / inputs;
        let weights = self.weights.chunks_exact(window).flat_map(|kernel| {
            let places = (0..area).flat_map(|place| (0..inputs).map(move |input| (place, input)));
            places.map(|(place, input)| kernel[input_of(input) * area + place])
        });
        let weights = weights.collect();
        Self { weights, ..self }
    }
}
