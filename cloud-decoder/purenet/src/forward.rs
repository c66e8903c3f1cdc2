//! The network on some rows of patches.

use crate::PATCH;
use crate::conv::{Finish, Packed};
use crate::layout::Shape;
use crate::loader::{Network, Stage};
use crate::map::Map;
use crate::simd::Isa;

/// Of a frame: red, green and blue of each pixel.
const FRAME: Shape = Shape {
    side: PATCH,
    channels: 3,
};

impl Network {
    /// Most values a patch that are alive at once.
    pub(crate) fn peak_values(&self) -> usize {
        let values = |index: usize| self.shapes[index].values();
        let base = self.base.map_or(0, |_| FRAME.values());
        let pairs = self.stages.iter().enumerate().map(|(index, stage)| {
            let before = match stage {
                Stage::Join { .. } => FRAME.values(),
                _ => values(index),
            };
            before + values(index + 1)
        });
        // The first stage holds its inputs, and its result twice: patch by patch and as a map.
        let hidden = self.hidden.as_ref().map_or(0, Packed::outputs);
        let first = self.bits + hidden + 2 * values(0);
        pairs.map(|pair| base + pair).fold(first, usize::max)
    }

    /// Decodes `latents` of whole rows of `columns` patches, `patch_bytes` each: 3 channels, one position a pixel.
    pub(crate) fn run(&self, isa: Isa, latents: &[u8], patch_bytes: usize, columns: usize) -> Map {
        let rows = latents.len() / patch_bytes / columns;
        let shapes = &self.shapes;
        let mut map = Map::zeros(shapes[0], rows, columns);
        self.synthesize(isa, latents, patch_bytes, &mut map);
        let base = self.base.map(|factor| {
            let mut frame = Map::zeros(FRAME, rows, columns);
            frame.pixel_shuffle(&map, factor);
            frame
        });
        let mut hidden: Option<Map> = None;
        for (stage, &shape) in self.stages.iter().zip(&shapes[1..]) {
            match stage {
                Stage::Conv { layer, relu } => {
                    hidden = None;
                    let finish = if *relu { Finish::Relu } else { Finish::Store };
                    let mut output = Map::zeros(shape, rows, columns);
                    layer.convolve(isa, &map, &mut output, finish);
                    map = output;
                }
                Stage::Residual { first, second } => {
                    let hidden = hidden.get_or_insert_with(|| Map::zeros(shape, rows, columns));
                    first.convolve(isa, &map, hidden, Finish::Relu);
                    second.convolve(isa, hidden, &mut map, Finish::Add);
                }
                Stage::PixelShuffle { factor } => {
                    hidden = None;
                    let mut output = Map::zeros(shape, rows, columns);
                    output.pixel_shuffle(&map, *factor);
                    map = output;
                }
                Stage::Join { layer, factor } => {
                    hidden = None;
                    let frame = base.as_ref().expect("a checked layout joins a base");
                    let pixels = Shape {
                        channels: FRAME.channels * factor * factor,
                        ..shape
                    };
                    let mut input = Map::zeros(pixels, rows, columns);
                    input.pixel_unshuffle(frame, *factor);
                    layer.convolve(isa, &input, &mut map, Finish::Add);
                }
            }
        }
        if let Some(base) = base {
            map.add(&base);
        }
        map
    }

    /// The first stage: the bits of each patch, as -1 and +1, or 0 where it has none, to its part of `map`.
    fn synthesize(&self, isa: Isa, latents: &[u8], patch_bytes: usize, map: &mut Map) {
        let (layer, shape) = (&self.first, self.shapes[0]);
        let columns = map.width() / shape.side;
        let run = shape.side * shape.channels; // values of a patch in a row of the map
        let patch_row_bytes = columns * patch_bytes;
        map.par_strips(shape.side, |first, rows| {
            let latents = &latents[first / shape.side * patch_row_bytes..][..patch_row_bytes];
            let missing = [0.0; 8].repeat(self.bits / 8 - patch_bytes);
            let mut inputs = Vec::with_capacity(columns * self.bits);
            for patch in latents.chunks_exact(patch_bytes) {
                inputs.extend(patch.iter().flat_map(|&byte| signs(byte)));
                inputs.extend_from_slice(&missing);
            }
            let patches = match &self.hidden {
                Some(hidden) => {
                    let units = hidden.linear(isa, &inputs, columns, Finish::Relu);
                    layer.linear(isa, &units, columns, Finish::Store)
                }
                None => layer.linear(isa, &inputs, columns, Finish::Store),
            };
            for (x, patch) in patches.chunks_exact(layer.outputs()).enumerate() {
                for (row, values) in rows.iter_mut().zip(patch.chunks_exact(run)) {
                    row[x * run..][..run].copy_from_slice(values);
                }
            }
        });
    }
}

/// Bits of a latent byte, least significant first, as -1 and +1.
fn signs(byte: u8) -> [f32; 8] {
    std::array::from_fn(|bit| if byte >> bit & 1 == 1 { 1.0 } else { -1.0 })
}
