//! Kernels with nothing left out, for engines that know neither mirrored nor pruned ones.

use std::borrow::Cow;

use crate::kinds::Element;
use crate::layer::Conv;
use crate::mirror::Mirror;
use crate::shapes::Map;
use crate::wiring::Wiring;

/// The kernels of a convolution, those that are mirrored and all that is pruned written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dense {
    /// Weights: kernel, kernel row, kernel column, input channel of the group; 0 where pruned.
    pub weights: Vec<i8>,
    /// Each output channel's kernel: its own, unless kernels are shared.
    pub kernel_of: Vec<u16>,
    /// One bias per output channel.
    pub biases: Vec<i32>,
}

impl Conv {
    /// The same convolution with all its weights and biases, none of them mirrored.
    pub(crate) fn whole(&self, input: Map) -> Cow<'_, Self> {
        let Some(mirror) = self.wiring.mirror else {
            return Cow::Borrowed(self);
        };
        let channels = self.stored_channels(input) as usize;
        let row = self.spec.kernel_width as usize * channels;
        let (mut weights, mut biases) = (Vec::new(), self.biases.clone());
        match mirror {
            Mirror::Outputs => {
                let swapped = if input.element == Element::Pixel {
                    0
                } else {
                    channels / 2
                };
                weights.clone_from(&self.weights);
                for pixel in self
                    .weights
                    .chunks(row)
                    .flat_map(|row| row.rchunks(channels))
                {
                    weights.extend(&pixel[swapped..]);
                    weights.extend(&pixel[..swapped]);
                }
                biases.extend(&self.biases);
            }
            Mirror::Inputs => {
                for row in self.weights.chunks(row) {
                    for (pixel, mirrored) in row.chunks(channels).zip(row.rchunks(channels)) {
                        weights.extend(pixel);
                        weights.extend(mirrored);
                    }
                }
            }
        }
        Cow::Owned(Self {
            spec: self.spec,
            wiring: Wiring::default(),
            weights,
            biases,
        })
    }

    /// This convolution, which reads `input`, with nothing left out but copies of shared kernels.
    pub fn dense(&self, input: Map) -> Dense {
        let whole = self.whole(input);
        let spec = &whole.spec;
        let area = (spec.kernel_height * spec.kernel_width) as usize;
        let channels = (input.channels / spec.groups) as usize;
        let kernels = whole.kernels(input);
        let mut weights = vec![0; kernels.len() * area * channels];
        for (kernel, dense) in kernels.iter().zip(weights.chunks_mut(area * channels)) {
            let Some(kept) = kernel.kept else {
                dense.copy_from_slice(kernel.weights);
                continue;
            };
            for (i, &channel) in kept.iter().enumerate() {
                let stored = kernel.weights.iter().skip(i).step_by(kept.len());
                let places = dense.iter_mut().skip(channel.into()).step_by(channels);
                places
                    .zip(stored)
                    .for_each(|(place, &weight)| *place = weight);
            }
        }
        let channels = 0..spec.out_channels as usize;
        Dense {
            weights,
            kernel_of: channels
                .map(|channel| whole.kernel_of(channel) as u16)
                .collect(),
            biases: whole.biases.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConvSpec, OutputKind, Pruned, Shared, WeightKind};

    fn spec(out_channels: u32) -> ConvSpec {
        ConvSpec {
            out_channels,
            kernel_height: 1,
            kernel_width: 2,
            stride: 1,
            padding: 0,
            groups: 1,
            weights: WeightKind::Quinary,
            output: OutputKind::Codes,
            shift: 0,
            bias_bits: 8,
        }
    }

    fn input(channels: u32) -> Map {
        Map {
            height: 1,
            width: 2,
            channels,
            element: Element::Code,
        }
    }

    #[test]
    fn pruned_weights_are_zeros_and_shared_kernels_stay_shared() {
        let conv = Conv {
            spec: spec(3),
            wiring: Wiring {
                shared: Some(Shared {
                    kernels: 2,
                    kernel_of: vec![1, 0, 1],
                }),
                pruned: Some(Pruned {
                    gap_bits: 1,
                    kept: vec![vec![0, 2], Vec::new()],
                }),
                mirror: None,
            },
            weights: vec![1, 2, -1, -2],
            biases: vec![5, 6, 7],
        };
        let dense = conv.dense(input(3));
        assert_eq!(dense.weights, [1, 0, 2, -1, 0, -2, 0, 0, 0, 0, 0, 0]);
        assert_eq!(dense.kernel_of, [1, 0, 1]);
        assert_eq!(dense.biases, [5, 6, 7]);
    }

    #[test]
    fn mirrored_kernels_and_their_biases_are_written_out() {
        let conv = Conv {
            spec: spec(2),
            wiring: Wiring {
                mirror: Some(Mirror::Outputs),
                ..Wiring::default()
            },
            weights: vec![1, 2, -1, -2],
            biases: vec![9],
        };
        let dense = conv.dense(input(2));
        assert_eq!(dense.weights, [1, 2, -1, -2, -2, -1, 2, 1]);
        assert_eq!(dense.kernel_of, [0, 1]);
        assert_eq!(dense.biases, [9, 9]);
    }
}
