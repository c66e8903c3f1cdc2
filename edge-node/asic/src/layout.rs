//! How feature maps lie in memory for the vector kernels, and what needs no kernel: clearing and pooling.
//!
//! A map lies as its reader wants it: with the reader's zero border, and each group's channels padded with zeros to
//! a multiple of four.

use crate::{Layer, Map, Op, Pool};

/// How a map lies in memory.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) map: Map,
    border: usize,
    /// Bytes of a row and of a pixel.
    pub(crate) row: usize,
    pub(crate) pixel: usize,
    /// Bytes of a group.
    pub(crate) group: usize,
    /// Channel c's byte in its pixel.
    channels: Vec<usize>,
}

impl Layout {
    /// The layout of `layer`'s input map.
    pub(crate) fn read_by(layer: &Layer) -> Self {
        let (border, groups) = match &layer.op {
            Op::Conv(conv) => (conv.spec.padding as usize, conv.spec.groups as usize),
            Op::Pool(_) => (0, 1),
        };
        let map = layer.input;
        let group_channels = map.channels as usize / groups;
        let group = group_channels.next_multiple_of(4);
        let pixel = groups * group;
        let channel = |c: usize| c / group_channels * group + c % group_channels;
        let channels = (0..map.channels as usize).map(channel).collect();
        Self {
            map,
            border,
            row: (map.width as usize + 2 * border) * pixel,
            pixel,
            group,
            channels,
        }
    }

    pub(crate) fn len(&self) -> usize {
        (self.map.height as usize + 2 * self.border) * self.row
    }

    /// First byte of the pixel at (y, x), not counting the border.
    pub(crate) fn at(&self, y: usize, x: usize) -> usize {
        (y + self.border) * self.row + (x + self.border) * self.pixel
    }

    /// Writes channels from `first` on at `pixel`.
    pub(crate) fn put(&self, bytes: &mut [u8], pixel: usize, first: usize, values: &[u8]) {
        let channels = &self.channels[first..first + values.len()];
        if channels[values.len() - 1] - channels[0] == values.len() - 1 {
            bytes[pixel + channels[0]..][..values.len()].copy_from_slice(values);
        } else {
            for (channel, value) in channels.iter().zip(values) {
                bytes[pixel + channel] = *value;
            }
        }
    }
}

/// Max pooling of `layout`'s map into `next`'s, which is all zeros before.
pub(crate) fn max_pool(
    pool: &Pool,
    layout: &Layout,
    input: &[u8],
    next: &Layout,
    output: &mut [u8],
) {
    let (kernel, stride) = (pool.kernel as usize, pool.stride as usize);
    let channels = next.map.channels as usize;
    for y in 0..next.map.height as usize {
        for x in 0..next.map.width as usize {
            let pixel = next.at(y, x);
            for dy in 0..kernel {
                for dx in 0..kernel {
                    let from = layout.at(y * stride + dy, x * stride + dx);
                    for (&value, &to) in input[from..from + channels].iter().zip(&next.channels) {
                        let max = &mut output[pixel + to];
                        *max = value.max(*max);
                    }
                }
            }
        }
    }
}

/// A map of zeros.
pub(crate) fn clear(bytes: &mut Vec<u8>, layout: &Layout) {
    bytes.clear();
    bytes.resize(layout.len(), 0);
}
