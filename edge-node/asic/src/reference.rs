//! The golden model: what the chip computes, in plain integer loops, one element at a time.
//!
//! Feature maps are in height-width-channel order. For output channel c at position (y, x) of a convolution
//!
//! ```text
//! acc  = bias[c] + sum over ky, kx, i of weight[k][ky][kx][i] * in[y * stride + ky - padding][x * stride + kx -
//! padding][g * n + i] code = clamp(acc >> shift, 0, 3)      arithmetic shift
//! bit  = acc >= 0
//! ```
//!
//! where k is the kernel of channel c, n is the input channels of a group, g the group of channel c; pruned weights and
//! positions outside the map count 0. Of a mirrored convolution, weight and bias are the whole
//! ([`Mirror`](crate::Mirror)). The loader has proved that acc fits 32 bits for every input.

use crate::{Conv, Map, Op, OutputKind, PATCH_BYTES, Pool, Program, bits};

/// A program's output for one patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Compression: the latent bits, packed from the least significant bit of each byte.
    Bits(Vec<u8>),
    /// Classification: one logit a label.
    Logits(Vec<i32>),
}

/// Runs a program on one 32x32x3 patch.
pub fn run(program: &Program, pixels: &[u8; PATCH_BYTES]) -> Output {
    let mut map = pixels.to_vec();
    for layer in program.layers() {
        match &layer.op {
            Op::Pool(pool) => map = max_pool(pool, &layer.input, &layer.output, &map),
            Op::Conv(conv) => {
                let sums = convolve(conv, &layer.input, &layer.output, &map);
                match conv.spec.output {
                    OutputKind::Codes => {
                        map = sums
                            .iter()
                            .map(|&acc| quantize(acc, conv.spec.shift))
                            .collect()
                    }
                    OutputKind::Latent => return Output::Bits(latent(&sums)),
                    OutputKind::Logits => return Output::Logits(sums),
                }
            }
        }
    }
    unreachable!("the loader refuses programs that do not end in latent bits or logits")
}

/// The 2-bit activation code of an accumulator.
#[inline]
pub(crate) fn quantize(acc: i32, shift: u32) -> u8 {
    (acc >> shift).clamp(0, 3) as u8
}

fn latent(sums: &[i32]) -> Vec<u8> {
    bits::pack(sums.iter().map(|&acc| i32::from(acc >= 0)), 1)
}

fn convolve(conv: &Conv, input: &Map, output: &Map, map: &[u8]) -> Vec<i32> {
    let conv = &conv.whole(*input);
    let spec = &conv.spec;
    let group_in = (input.channels / spec.groups) as usize;
    let group_out = spec.out_channels / spec.groups;
    let area = (spec.kernel_height * spec.kernel_width) as usize;
    let kernels = conv.kernels(*input);
    let mut sums = Vec::with_capacity(output.count() as usize);
    for y in 0..output.height {
        for x in 0..output.width {
            for channel in 0..spec.out_channels {
                let first_in = (channel / group_out) as usize * group_in;
                let mut acc = conv.biases[channel as usize];
                let kernel = kernels[conv.kernel_of(channel as usize)];
                let count = kernel.weights.len() / area;
                for ky in 0..spec.kernel_height {
                    for kx in 0..spec.kernel_width {
                        let row = (y * spec.stride + ky)
                            .checked_sub(spec.padding)
                            .filter(|&row| row < input.height);
                        let col = (x * spec.stride + kx)
                            .checked_sub(spec.padding)
                            .filter(|&col| col < input.width);
                        let (Some(row), Some(col)) = (row, col) else {
                            continue;
                        };
                        let pixel =
                            ((row * input.width + col) * input.channels) as usize + first_in;
                        let values = &map[pixel..pixel + group_in];
                        let tap = (ky * spec.kernel_width + kx) as usize;
                        let weights = &kernel.weights[tap * count..(tap + 1) * count];
                        match kernel.kept {
                            None => {
                                for (&weight, &value) in weights.iter().zip(values) {
                                    acc += i32::from(weight) * i32::from(value);
                                }
                            }
                            Some(kept) => {
                                for (&weight, &i) in weights.iter().zip(kept) {
                                    acc += i32::from(weight) * i32::from(values[usize::from(i)]);
                                }
                            }
                        }
                    }
                }
                sums.push(acc);
            }
        }
    }
    sums
}

fn max_pool(pool: &Pool, input: &Map, output: &Map, map: &[u8]) -> Vec<u8> {
    let mut pooled = Vec::with_capacity(output.count() as usize);
    for y in 0..output.height {
        for x in 0..output.width {
            for channel in 0..input.channels {
                let mut max = 0;
                for row in y * pool.stride..y * pool.stride + pool.kernel {
                    for col in x * pool.stride..x * pool.stride + pool.kernel {
                        max = max.max(
                            map[((row * input.width + col) * input.channels + channel) as usize],
                        );
                    }
                }
                pooled.push(max);
            }
        }
    }
    pooled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConvSpec, Element, Pruned, Shared, WeightKind, Wiring};

    fn map(height: u32, width: u32, channels: u32) -> Map {
        Map {
            height,
            width,
            channels,
            element: Element::Code,
        }
    }

    #[test]
    fn codes_are_floors_clamped_to_two_bits() {
        let codes = [-1, 0, 3, 4, 11, 12, 15, 16, i32::MAX, i32::MIN].map(|acc| quantize(acc, 2));
        assert_eq!(codes, [0, 0, 0, 1, 2, 3, 3, 3, 3, 0]);
    }

    #[test]
    fn a_bit_is_set_from_zero_on() {
        assert_eq!(
            latent(&[0, -1, 5, i32::MIN, -1, -1, -1, 1, 0]),
            [0b1000_0101, 0b1]
        );
    }

    #[test]
    fn a_padded_strided_grouped_convolution_by_hand() {
        let spec = ConvSpec {
            out_channels: 2,
            kernel_height: 2,
            kernel_width: 1,
            stride: 2,
            padding: 1,
            groups: 2,
            weights: WeightKind::Quinary,
            output: OutputKind::Codes,
            shift: 0,
            bias_bits: 8,
        };
        // Output channel 0 sees input channel 0 with rows (1, 2), channel 1 sees channel 1 with rows (-1, -2).
        let conv = Conv {
            spec,
            wiring: Wiring::default(),
            weights: vec![1, 2, -1, -2],
            biases: vec![100, 0],
        };
        let input = [1, 10, 2, 20, 3, 30, 4, 40, 5, 50, 6, 60];
        // The 2 x 3 map padded to 4 x 5: windows start at rows -1 and 1, columns -1, 1 and 3.
        let sums = convolve(&conv, &map(2, 3, 2), &map(2, 3, 2), &input);
        assert_eq!(sums, [100, 0, 104, -40, 100, 0, 100, 0, 105, -50, 100, 0]);
    }

    #[test]
    fn shared_and_pruned_kernels_by_hand() {
        let spec = ConvSpec {
            out_channels: 4,
            kernel_height: 1,
            kernel_width: 2,
            stride: 1,
            padding: 0,
            groups: 1,
            weights: WeightKind::Quinary,
            output: OutputKind::Codes,
            shift: 0,
            bias_bits: 8,
        };
        // Kernel 0 reads channels 0 and 2 with columns (1, 2) and (-1, -2), kernel 1 nothing.
        let conv = Conv {
            spec,
            wiring: Wiring {
                shared: Some(Shared {
                    kernels: 2,
                    kernel_of: vec![0, 1, 0, 0],
                }),
                pruned: Some(Pruned {
                    gap_bits: 2,
                    kept: vec![vec![0, 2], Vec::new()],
                }),
                mirror: None,
            },
            weights: vec![1, 2, -1, -2],
            biases: vec![0, 7, 1, -1],
        };
        let input = [1, 99, 2, 3, 99, 1];
        let sums = convolve(&conv, &map(1, 2, 3), &map(1, 1, 4), &input);
        assert_eq!(sums, [0, 7, 1, -1]);
        let input = [1, 99, 2, 0, 99, 1];
        let sums = convolve(&conv, &map(1, 2, 3), &map(1, 1, 4), &input);
        assert_eq!(sums, [3, 7, 4, 2]);
    }

    #[test]
    fn pooling_takes_each_channels_maximum() {
        let input = [3, 0, 1, 1, 0, 2, 2, 0, 0, 3, 1, 0];
        let pool = Pool {
            kernel: 2,
            stride: 1,
        };
        assert_eq!(
            max_pool(&pool, &map(2, 3, 2), &map(1, 2, 2), &input),
            [3, 3, 1, 3]
        );
    }
}
