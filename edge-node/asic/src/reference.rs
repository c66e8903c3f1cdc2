//! The golden model: what the chip computes, in plain integer loops, one element at a time.
//!
//! Feature maps are in height-width-channel order. For output channel c at position (y, x) of a convolution
//!
//! ```text
//! acc  = bias[c] + sum over ky, kx, i of weight[c][ky][kx][i] * in[y * stride + ky - padding][x * stride + kx - padding][g * n + i]
//! code = clamp(acc >> shift, 0, 3)      arithmetic shift
//! bit  = acc >= 0
//! ```
//!
//! where n is the input channels of a group, g the group of channel c, and positions outside the map count 0.
//! The loader has proved that acc fits 32 bits for every input.

use crate::{Conv, Map, Op, OutputKind, PATCH_BYTES, Pool, Program, bits};

/// What a program makes of one patch.
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
pub(crate) fn quantize(acc: i32, shift: u32) -> u8 {
    (acc >> shift).clamp(0, 3) as u8
}

fn latent(sums: &[i32]) -> Vec<u8> {
    bits::pack(sums.iter().map(|&acc| i32::from(acc >= 0)), 1)
}

fn convolve(conv: &Conv, input: &Map, output: &Map, map: &[u8]) -> Vec<i32> {
    let spec = &conv.spec;
    let group_in = (input.channels / spec.groups) as usize;
    let group_out = spec.out_channels / spec.groups;
    let mut sums = Vec::with_capacity(output.count() as usize);
    for y in 0..output.height {
        for x in 0..output.width {
            for channel in 0..spec.out_channels {
                let first_in = (channel / group_out) as usize * group_in;
                let mut acc = conv.biases[channel as usize];
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
                        let tap = (channel * spec.kernel_height + ky) * spec.kernel_width + kx;
                        for i in 0..group_in {
                            let weight = conv.weights[tap as usize * group_in + i];
                            acc += i32::from(weight) * i32::from(map[pixel + i]);
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
