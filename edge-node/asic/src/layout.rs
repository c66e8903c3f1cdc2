//! How feature maps lie in memory for the vector kernels, and what needs no kernel: clearing and pooling.
//!
//! A map lies as its reader wants it, with the reader's zero border. A batch has the maps of its patches one after the
//! other.

use kernels::Aligned;

use crate::{Layer, Map, Op, Pool};

/// How a map lies in memory: height, width, channel.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) map: Map,
    border: usize,
    /// Bytes of a row and of a pixel.
    pub(crate) row: usize,
    pub(crate) pixel: usize,
}

impl Layout {
    /// The layout of `layer`'s input map.
    pub(crate) fn read_by(layer: &Layer) -> Self {
        let border = match &layer.op {
            Op::Conv(conv) => conv.spec.padding as usize,
            Op::Pool(_) => 0,
        };
        let map = layer.input;
        let pixel = map.channels as usize;
        Self {
            map,
            border,
            row: (map.width as usize + 2 * border) * pixel,
            pixel,
        }
    }

    /// Bytes of one map.
    pub(crate) fn len(&self) -> usize {
        (self.map.height as usize + 2 * self.border) * self.row
    }

    /// First byte of the pixel at (y, x) of a patch's map, not counting the border.
    pub(crate) fn at(&self, patch: usize, y: usize, x: usize) -> usize {
        patch * self.len() + (y + self.border) * self.row + (x + self.border) * self.pixel
    }

    /// First bytes of all pixels of a batch, patch after patch, row after row.
    pub(crate) fn pixels(&self, patches: usize, pixels: &mut Vec<usize>) {
        let (height, width) = (self.map.height as usize, self.map.width as usize);
        pixels.clear();
        for patch in 0..patches {
            for y in 0..height {
                let first = self.at(patch, y, 0);
                pixels.extend((0..width).map(|x| first + x * self.pixel));
            }
        }
    }

    /// Room for the maps of a batch, zero on the border.
    pub(crate) fn prepare(&self, bytes: &mut Aligned<u8>, patches: usize) {
        if self.border > 0 {
            self.clear(bytes, patches);
        } else {
            bytes.resize(patches * self.len());
        }
    }

    /// Maps of zeros for a batch.
    pub(crate) fn clear(&self, bytes: &mut Aligned<u8>, patches: usize) {
        bytes.resize(patches * self.len());
        bytes.fill(0);
    }
}

/// Max pooling of the maps of a batch into `next`'s, which are all zeros before and whose pixels begin at `pixels`.
pub(crate) fn max_pool(
    pool: &Pool,
    layout: &Layout,
    input: &[u8],
    next: &Layout,
    output: &mut [u8],
    pixels: &[usize],
) {
    let (kernel, stride) = (pool.kernel as usize, pool.stride as usize);
    let (width, channels) = (next.map.width as usize, next.pixel);
    let area = width * next.map.height as usize;
    for (position, &pixel) in pixels.iter().enumerate() {
        let (patch, y, x) = (position / area, position % area / width, position % width);
        let most = &mut output[pixel..pixel + channels];
        for dy in 0..kernel {
            for dx in 0..kernel {
                let from = layout.at(patch, y * stride + dy, x * stride + dx);
                for (most, &value) in most.iter_mut().zip(&input[from..from + channels]) {
                    *most = value.max(*most);
                }
            }
        }
    }
}
