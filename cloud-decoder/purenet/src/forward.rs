//! The network on a frame, row of patches by row of patches.
//!
//! Each stage computes the rows for which its input suffices and lets go of what nothing needs any more. So a
//! frame's maps are never whole in memory, what a stage reads was written a moment ago, and nothing is computed twice.

use crate::PATCH;
use crate::conv::{Conv, Finish, Packed};
use crate::layout::Shape;
use crate::loader::{Network, Stage};
use crate::rows::{self, Rows};
use crate::simd::Isa;
use std::ops::Range;

/// Of a frame: red, green and blue of each pixel.
const FRAME: Shape = Shape {
    side: PATCH,
    channels: 3,
};

/// Feature maps of frames of one size; new ones cost as much time as a layer.
pub(crate) struct Maps {
    /// Patches along the frame's sides.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Output of the first stage, then of each of the others.
    outputs: Vec<Rows>,
    /// What a stage has between its input and its output.
    inner: Vec<Option<Rows>>,
    /// The frame that the first stage alone gives.
    base: Option<Rows>,
}

/// One pass of a frame through the network.
pub(crate) struct Pass<'n> {
    network: &'n Network,
    isa: Isa,
    maps: Maps,
    /// Rows of the frame that were handed out.
    done: usize,
}

/// Finished rows of the frame.
pub(crate) struct Finished<'a> {
    map: &'a Rows,
    base: Option<&'a Rows>,
    pub(crate) rows: Range<usize>,
}

impl Finished<'_> {
    /// Calls `each` for the values of row `y`, three a pixel, in order.
    pub(crate) fn row(&self, y: usize, mut each: impl FnMut(usize, f32)) {
        let values = self.map.row(y).iter().enumerate();
        match self.base {
            Some(base) => values
                .zip(base.row(y))
                .for_each(|((i, value), base)| each(i, value + base)),
            None => values.for_each(|(i, &value)| each(i, value)),
        }
    }
}

impl Network {
    /// Bytes of feature maps that a frame of so many patches takes.
    pub(crate) fn map_bytes(&self, rows: usize, columns: usize) -> usize {
        let bytes = |shape, room| Rows::bytes(shape, rows, columns, room);
        let maps = self.shapes.iter().map(|&shape| bytes(shape, room(shape)));
        let inner = self.inner_shapes().flatten();
        let base = self.base.map(|_| bytes(FRAME, self.base_room()));
        // The first stage holds its inputs, and its result twice: patch by patch and as rows.
        let hidden = self.hidden.as_ref().map_or(0, Packed::outputs);
        let patch = self.bits + 2 * hidden + 2 * self.shapes[0].values();
        let first = columns * patch * size_of::<f32>();
        maps.sum::<usize>()
            + inner.map(|shape| bytes(shape, room(shape))).sum::<usize>()
            + base.unwrap_or(0)
            + first
    }

    /// Shape of what each stage has between its input and its output, if anything.
    fn inner_shapes(&self) -> impl Iterator<Item = Option<Shape>> {
        let stages = self.stages.iter().zip(&self.shapes[1..]);
        stages.map(|(stage, &shape)| match stage {
            Stage::Residual { .. } => Some(shape),
            Stage::Join { factor, .. } => Some(Shape {
                channels: FRAME.channels * factor * factor,
                ..shape
            }),
            Stage::Conv { .. } | Stage::PixelShuffle { .. } => None,
        })
    }

    /// Rows of the base that wait for the last stage: by as much as all stages lag behind their inputs.
    fn base_room(&self) -> usize {
        let stages = self.stages.iter().zip(&self.shapes[1..]);
        let lags = stages.map(|(stage, shape)| {
            let layers: &[&Conv] = match stage {
                Stage::Conv { layer, .. } | Stage::Join { layer, .. } => &[layer],
                Stage::Residual { first, second } => &[first, second],
                Stage::PixelShuffle { .. } => &[],
            };
            let lag = |layer: &&Conv| layer.radius() + layer.step();
            layers.iter().map(lag).sum::<usize>() * PATCH / shape.side
        });
        2 * PATCH + lags.sum::<usize>()
    }
}

/// Rows of a map that are held at once: what comes with two rows of patches, and what two layers wait for.
fn room(shape: Shape) -> usize {
    2 * shape.side + 16
}

impl Maps {
    pub(crate) fn new(network: &Network, rows: usize, columns: usize) -> Self {
        let new = |shape| Rows::new(shape, rows, columns, room(shape));
        Self {
            rows,
            columns,
            outputs: network.shapes.iter().copied().map(new).collect(),
            inner: network.inner_shapes().map(|shape| shape.map(new)).collect(),
            base: network
                .base
                .map(|_| Rows::new(FRAME, rows, columns, network.base_room())),
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Rows> {
        let inner = self.inner.iter_mut().flatten();
        self.outputs.iter_mut().chain(inner).chain(&mut self.base)
    }
}

impl<'n> Pass<'n> {
    pub(crate) fn new(network: &'n Network, isa: Isa, mut maps: Maps) -> Self {
        maps.all().for_each(Rows::restart);
        Self {
            network,
            isa,
            maps,
            done: 0,
        }
    }

    /// Decodes latents of `patch_bytes` a patch, hands the frame's rows out in order and gives the maps back.
    pub(crate) fn run(
        mut self,
        latents: &[u8],
        patch_bytes: usize,
        mut sink: impl FnMut(Finished<'_>),
    ) -> Maps {
        let columns = self.maps.columns;
        debug_assert_eq!(latents.len(), self.maps.rows * columns * patch_bytes);
        for latents in latents.chunks_exact(columns * patch_bytes) {
            self.synthesize(latents, patch_bytes);
            for index in 0..self.network.stages.len() {
                self.advance(index);
            }
            let [.., last] = self.maps.outputs.as_mut_slice() else {
                unreachable!("a checked layout has stages")
            };
            let rows = self.done..last.len();
            self.done = rows.end;
            sink(Finished {
                map: last,
                base: self.maps.base.as_ref(),
                rows,
            });
            last.release(self.done, 0);
            if let Some(base) = &mut self.maps.base {
                base.release(self.done, 0);
            }
        }
        self.maps
    }

    /// The first stage on one row of patches: the bits of each patch, as -1 and +1, or 0 where it has none.
    fn synthesize(&mut self, latents: &[u8], patch_bytes: usize) {
        let (network, isa, maps) = (self.network, self.isa, &mut self.maps);
        let columns = maps.columns;
        let shape = network.shapes[0];
        let missing = [0.0; 8].repeat(network.bits / 8 - patch_bytes);
        let mut inputs = Vec::with_capacity(columns * network.bits);
        for patch in latents.chunks_exact(patch_bytes) {
            inputs.extend(patch.iter().flat_map(|&byte| signs(byte)));
            inputs.extend_from_slice(&missing);
        }
        if let Some(hidden) = &network.hidden {
            inputs = hidden.linear(isa, &inputs, columns, true);
        }
        let patches = network.first.linear(isa, &inputs, columns, false);
        let run = shape.side * shape.channels; // values of a patch in a row of the map
        let mut rows = maps.outputs[0].append(shape.side);
        for (x, patch) in patches.chunks_exact(shape.values()).enumerate() {
            for (row, values) in rows.iter_mut().zip(patch.chunks_exact(run)) {
                row[x * run..][..run].copy_from_slice(values);
            }
        }
        if let (Some(base), Some(factor)) = (&mut maps.base, network.base) {
            let mut rows = base.append(PATCH);
            let map = &maps.outputs[0];
            let first = map.len() - shape.side;
            for (y, rows) in (first..).zip(rows.chunks_mut(factor)) {
                rows::shuffle(map.row(y), shape.channels, rows);
            }
        }
    }

    /// Lets stage `index` do what its input suffices for.
    fn advance(&mut self, index: usize) {
        let (isa, maps) = (self.isa, &mut self.maps);
        let (before, after) = maps.outputs.split_at_mut(index + 1);
        let (input, output) = (&mut before[index], &mut after[0]);
        match (&self.network.stages[index], &mut maps.inner[index]) {
            (Stage::Conv { layer, relu }, _) => {
                let finish = if *relu { Finish::Relu } else { Finish::Store };
                let ready = layer.ready(input);
                layer.convolve(isa, input, output, ready, finish);
                input.release(ready, layer.radius());
            }
            (Stage::Residual { first, second }, Some(hidden)) => {
                let ready = first.ready(input);
                first.convolve(isa, input, hidden, ready, Finish::Relu);
                let summed = second.ready(hidden);
                second.convolve(isa, hidden, output, summed, Finish::Add(input));
                hidden.release(summed, second.radius());
                let radius = first.radius();
                input.release(ready.min(summed + radius), radius);
            }
            (Stage::PixelShuffle { factor }, _) => {
                let (first, end) = (output.len() / factor, input.len());
                let mut rows = output.append((end - first) * factor);
                for (y, rows) in (first..).zip(rows.chunks_mut(*factor)) {
                    rows::shuffle(input.row(y), input.channels(), rows);
                }
                input.release(end, 0);
            }
            (Stage::Join { layer, factor }, Some(pixels)) => {
                let base = maps.base.as_ref().expect("a checked layout joins a base");
                let first = pixels.len();
                // The base is far ahead; no more of it than what has come of the input can be used with.
                let end = (input.len() + layer.radius()).min(base.len() / factor);
                let mut rows = pixels.append(end.max(first) - first);
                for (y, row) in (first..).zip(&mut rows) {
                    let lines = (0..*factor).map(|dy| base.row(y * factor + dy));
                    rows::unshuffle(lines, FRAME.channels, row);
                }
                let ready = layer
                    .ready(pixels)
                    .min(input.len() - input.len() % layer.step());
                layer.convolve(isa, pixels, output, ready, Finish::Add(input));
                pixels.release(ready, layer.radius());
                input.release(ready, 0);
            }
            (Stage::Residual { .. } | Stage::Join { .. }, None) => {
                unreachable!("`inner_shapes` gives these stages a map")
            }
        }
    }
}

/// Bits of a latent byte, least significant first, as -1 and +1.
fn signs(byte: u8) -> [f32; 8] {
    std::array::from_fn(|bit| if byte >> bit & 1 == 1 { 1.0 } else { -1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rings never grow: what is counted is what is taken.
    #[test]
    fn memory_is_as_counted() {
        let bytes = include_bytes!("../tests/golden/full.safetensors");
        let network = Network::load(bytes).expect("the golden decoder loads");
        let (rows, columns) = (12, 2);
        let held = |maps: &mut Maps| maps.all().map(|rows| rows.held_bytes()).sum::<usize>();
        let mut maps = Maps::new(&network, rows, columns);
        let before = held(&mut maps);
        assert!(before <= network.map_bytes(rows, columns));
        let mut done = 0;
        let mut after =
            Pass::new(&network, Isa::best(), maps).run(&[0x3c; 12 * 2 * 2], 2, |finished| {
                done = finished.rows.end;
            });
        assert_eq!(done, rows * PATCH);
        assert_eq!(held(&mut after), before);
    }
}
