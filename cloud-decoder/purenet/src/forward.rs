//! The network on a frame, row of patches by row of patches.
//!
//! Each stage computes the rows for which its input suffices and lets go of what nothing needs any more. So a
//! frame's maps are never whole in memory, what a stage reads was written a moment ago, and nothing is computed twice.

use crate::PATCH;
use crate::engine::{Convolution, Engine, Finish};
use crate::layout::Shape;
use crate::loader::{Network, Stage, Tail};
use crate::rows::{self, Rows};
use crate::value::Value;
use rayon::prelude::*;
use std::ops::Range;

/// Of a frame: red, green and blue of each pixel.
const FRAME: Shape = Shape {
    side: PATCH,
    channels: 3,
};

/// Patches that the first stage computes at once, if a row has not more.
const AHEAD: usize = 512;

/// Multiply-accumulates of the rows of patches that pass the stages together, about.
const TOGETHER: u64 = 1 << 28;

/// Feature maps of frames of one size; new ones cost as much time as a layer.
pub(crate) struct Maps<V> {
    /// Patches along the frame's sides.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Output of the first stage, then of each of the others.
    outputs: Vec<Rows<V>>,
    /// What a stage has between its input and its output.
    inner: Vec<Option<Rows<V>>>,
    /// The frame that the first stage alone gives.
    base: Option<Rows<f32>>,
}

/// One pass of a frame through the network.
pub(crate) struct Pass<'n, E: Engine, O> {
    network: &'n Network<E>,
    engine: E,
    maps: Maps<E::Value>,
    /// Rows of the frame that were handed out.
    done: usize,
    /// The values of those that are.
    values: Vec<O>,
}

/// Finished rows of the frame.
pub(crate) struct Finished<'a, O> {
    /// First row.
    first: usize,
    /// By row of positions, and position; so many pixels are along the side of one.
    values: &'a [O],
    pixels: usize,
    columns: usize,
    base: Option<&'a Rows<f32>>,
}

impl<O: Value> Finished<'_, O> {
    pub(crate) fn rows(&self) -> Range<usize> {
        self.first..self.first + self.values.len() / (self.columns * PATCH * FRAME.channels)
    }

    /// Row `y`, three values a pixel, as many as there is room for.
    pub(crate) fn row(&self, y: usize, out: &mut [O]) {
        let (depth, rows) = (self.pixels * self.pixels * FRAME.channels, self.pixels);
        let line = rows * self.columns * PATCH * FRAME.channels;
        let values = &self.values[(y - self.first) / rows * line..][..line];
        let outs = out.chunks_mut(depth / rows);
        for (out, run) in outs.zip(rows::runs(values, depth, rows, y % rows)) {
            out.copy_from_slice(&run[..out.len()]);
        }
        if let Some(base) = self.base {
            let values = out.iter_mut().zip(base.row(y));
            values.for_each(|(value, base)| *value = O::from_f32(value.to_f32() + base));
        }
    }
}

impl<E: Engine> Network<E> {
    /// Bytes of feature maps that a frame of so many patches takes.
    pub(crate) fn map_bytes(&self, rows: usize, columns: usize) -> usize {
        let bytes = |shape, room| Rows::<E::Value>::bytes(shape, rows, columns, room);
        let together = self.together(rows, columns);
        let room = |shape| room(shape, together);
        let maps = self.shapes.iter().map(|&shape| bytes(shape, room(shape)));
        let inner = self.inner_shapes().flatten();
        let frame_room = self.frame_room(together);
        let base = (self.base).map(|_| Rows::<f32>::bytes(FRAME, rows, columns, frame_room));
        // Bytes are finished at once, unless a base is to be added.
        let finished = base.map_or(size_of::<u8>(), |_| size_of::<f32>());
        let finished = frame_room * columns * PATCH * FRAME.channels * finished;
        let patch = E::synthesis_values(self.bits, self.units, self.shapes[0].values());
        let first = rows.min(ahead(columns)) * columns * patch * size_of::<f32>();
        maps.sum::<usize>()
            + inner.map(|shape| bytes(shape, room(shape))).sum::<usize>()
            + base.unwrap_or(0)
            + finished
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

    /// Rows of patches that pass each stage together: enough for its weights, and for those who share the work.
    fn together(&self, rows: usize, columns: usize) -> usize {
        let together = TOGETHER / (self.macs_per_patch * columns as u64);
        (together as usize).clamp(1, ahead(columns).min(rows))
    }

    /// Rows of the frame that wait for the last stage: by as much as all stages lag behind their inputs.
    fn frame_room(&self, together: usize) -> usize {
        let stages = self.stages.iter().zip(&self.shapes[1..]);
        let lags = stages.map(|(stage, shape)| {
            let layers: &[&E::Conv] = match stage {
                Stage::Conv { layer, .. } | Stage::Join { layer, .. } => &[layer],
                Stage::Residual { first, second } => &[first, second],
                Stage::PixelShuffle { .. } => &[],
            };
            let lag = |layer: &&E::Conv| layer.radius() + layer.step();
            layers.iter().map(lag).sum::<usize>() * PATCH / shape.side
        });
        let tail = self.tail.as_ref();
        let tail = tail.map(|tail| (tail.layer.radius() + tail.layer.step()) * tail.pixels);
        (1 + together) * PATCH + lags.chain(tail).sum::<usize>()
    }
}

/// Rows of patches that the first stage computes at once: its weights are the most by far, and each that is loaded should meet
/// many patches.
fn ahead(columns: usize) -> usize {
    (AHEAD / columns).max(1)
}

/// Rows of a map that are held at once: what comes with the rows of patches that pass together and one more, and what two layers
/// wait for.
fn room(shape: Shape, together: usize) -> usize {
    (1 + together) * shape.side + 16
}

impl<V: Value> Maps<V> {
    pub(crate) fn new<E: Engine<Value = V>>(
        network: &Network<E>,
        rows: usize,
        columns: usize,
    ) -> Self {
        let together = network.together(rows, columns);
        let new = |shape| Rows::new(shape, rows, columns, room(shape, together));
        Self {
            rows,
            columns,
            outputs: network.shapes.iter().copied().map(new).collect(),
            inner: network.inner_shapes().map(|shape| shape.map(new)).collect(),
            base: network
                .base
                .map(|_| Rows::new(FRAME, rows, columns, network.frame_room(together))),
        }
    }

    fn restart(&mut self) {
        let inner = self.inner.iter_mut().flatten();
        self.outputs.iter_mut().chain(inner).for_each(Rows::restart);
        self.base.iter_mut().for_each(Rows::restart);
    }
}

impl<'n, E: Engine, O: Value> Pass<'n, E, O> {
    pub(crate) fn new(network: &'n Network<E>, engine: E, mut maps: Maps<E::Value>) -> Self {
        maps.restart();
        Self {
            network,
            engine,
            maps,
            done: 0,
            values: Vec::new(),
        }
    }

    /// Decodes latents of `patch_bytes` a patch, hands the frame's rows out in order and gives the maps back, and whether it
    /// came to the end: before each group of rows it asks whether to go on.
    pub(crate) fn run(
        mut self,
        latents: &[u8],
        patch_bytes: usize,
        go_on: &dyn Fn() -> bool,
        mut sink: impl FnMut(Finished<'_, O>),
    ) -> (Maps<E::Value>, bool) {
        let (rows, columns) = (self.maps.rows, self.maps.columns);
        debug_assert_eq!(latents.len(), rows * columns * patch_bytes);
        let (network, engine) = (self.network, self.engine);
        let row = columns * network.shapes[0].values();
        let together = network.together(rows, columns);
        for latents in latents.chunks(ahead(columns) * columns * patch_bytes) {
            if !go_on() {
                return (self.maps, false);
            }
            let (hidden, last) = (network.hidden.as_ref(), &network.first);
            let patches = engine.synthesize(hidden, last, latents, patch_bytes);
            for rows in patches.chunks(together * row) {
                if !go_on() {
                    return (self.maps, false);
                }
                rows.chunks_exact(row).for_each(|row| self.place(row));
                for index in 0..network.stages.len() {
                    self.advance(index);
                }
                self.hand_out(&mut sink);
            }
        }
        (self.maps, true)
    }

    /// Finishes rows of the frame and gives them away.
    fn hand_out(&mut self, mut sink: impl FnMut(Finished<'_, O>)) {
        let columns = self.maps.columns;
        let maps = &mut self.maps;
        let last = &mut maps.outputs[self.network.stages.len()];
        let tail = self.network.tail.as_ref();
        let (pixels, radius) = tail.map_or((1, 0), |tail| (tail.pixels, tail.layer.radius()));
        let first = self.done / pixels;
        let ready = tail.map_or(last.len(), |tail| tail.layer.ready(last));
        let row = pixels * columns * PATCH * FRAME.channels;
        self.values.resize((ready - first) * row, O::ZERO);
        let rows = self.values.chunks_exact_mut(row);
        match tail {
            Some(Tail { layer, relu, .. }) => {
                let finish = if *relu { Finish::Relu } else { Finish::Store };
                layer.convolve(self.engine, last, first, rows.collect(), finish);
            }
            None => {
                for (y, row) in (first..).zip(rows) {
                    let values = row.iter_mut().zip(last.row(y));
                    values.for_each(|(out, value)| *out = O::from_f32(value.to_f32()));
                }
            }
        }
        sink(Finished {
            first: self.done,
            values: &self.values,
            pixels,
            columns,
            base: maps.base.as_ref(),
        });
        self.done = ready * pixels;
        last.release(ready, radius);
        if let Some(base) = &mut maps.base {
            base.release(self.done, 0);
        }
    }

    /// Puts a row of patches that the first stage made into its map, and into the base.
    fn place(&mut self, patches: &[f32]) {
        let (network, maps) = (self.network, &mut self.maps);
        let shape = network.shapes[0];
        let run = shape.side * shape.channels; // values of a patch in a row of the map
        let mut base = (maps.base.as_mut().zip(network.base))
            .map(|(base, factor)| (base.append(PATCH), factor));
        let rows = maps.outputs[0].append(shape.side);
        let mut line = vec![0.0; maps.columns * run];
        for (y, row) in rows.into_iter().enumerate() {
            let patches = patches.chunks_exact(shape.values());
            for (values, patch) in line.chunks_exact_mut(run).zip(patches) {
                values.copy_from_slice(&patch[y * run..][..run]);
            }
            for (value, &from) in row.iter_mut().zip(&line) {
                *value = Value::from_f32(from);
            }
            if let Some((rows, factor)) = &mut base {
                let rows = &mut rows[y * *factor..][..*factor];
                rows::shuffle(&line, shape.channels, rows);
            }
        }
    }

    /// Lets stage `index` do what its input suffices for.
    fn advance(&mut self, index: usize) {
        let (engine, maps) = (self.engine, &mut self.maps);
        let (before, after) = maps.outputs.split_at_mut(index + 1);
        let (input, output) = (&mut before[index], &mut after[0]);
        match (&self.network.stages[index], &mut maps.inner[index]) {
            (Stage::Conv { layer, relu }, _) => {
                let finish = if *relu { Finish::Relu } else { Finish::Store };
                let ready = layer.ready(input);
                let (first, rows) = output.append_until(ready);
                layer.convolve(engine, input, first, rows, finish);
                input.release(ready, layer.radius());
            }
            (Stage::Residual { first, second }, Some(hidden)) => {
                let ready = first.ready(input);
                let (start, rows) = hidden.append_until(ready);
                first.convolve(engine, input, start, rows, Finish::Relu);
                let summed = second.ready(hidden);
                let (start, rows) = output.append_until(summed);
                second.convolve(engine, hidden, start, rows, Finish::Add(input));
                hidden.release(summed, second.radius());
                let radius = first.radius();
                input.release(ready.min(summed + radius), radius);
            }
            (Stage::PixelShuffle { factor, sorted }, _) => {
                let (first, end) = (output.len() / factor, input.len());
                let mut rows = output.append((end - first) * factor);
                let rows = rows.par_chunks_mut(*factor).enumerate();
                rows.for_each(|(y, rows)| {
                    let shuffle = if *sorted { rows::spread } else { rows::shuffle };
                    shuffle(input.row(first + y), input.channels(), rows);
                });
                input.release(end, 0);
            }
            (Stage::Join { layer, factor }, Some(pixels)) => {
                let base = maps.base.as_ref().expect("a checked layout joins a base");
                let first = pixels.len();
                // The base is far ahead; no more of it than what has come of the input can be used with.
                let end = (input.len() + layer.radius()).min(base.len() / factor);
                let mut rows = pixels.append(end.max(first) - first);
                rows.par_iter_mut().enumerate().for_each(|(y, row)| {
                    let lines = (0..*factor).map(|dy| base.row((first + y) * factor + dy));
                    rows::unshuffle(lines, FRAME.channels, row);
                });
                let ready = layer
                    .ready(pixels)
                    .min(input.len() - input.len() % layer.step());
                let (first, rows) = output.append_until(ready);
                layer.convolve(engine, pixels, first, rows, Finish::Add(input));
                pixels.release(ready, layer.radius());
                input.release(ready, 0);
            }
            (Stage::Residual { .. } | Stage::Join { .. }, None) => {
                unreachable!("`inner_shapes` gives these stages a map")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;

    /// The rings never grow: what is counted is what is taken.
    #[test]
    fn memory_is_as_counted() {
        let bytes = include_bytes!("../tests/golden/full.safetensors");
        let network = Network::<Isa>::load(bytes).expect("the golden decoder loads");
        let (rows, columns) = (12, 2);
        let held = |maps: &Maps<f32>| {
            let base = maps.base.iter();
            let maps = maps.outputs.iter().chain(maps.inner.iter().flatten());
            maps.chain(base).map(Rows::held_bytes).sum::<usize>()
        };
        let maps = Maps::new(&network, rows, columns);
        let before = held(&maps);
        assert!(before <= network.map_bytes(rows, columns));
        let mut done = 0;
        let (after, whole) = Pass::<_, f32>::new(&network, Isa::best(), maps).run(
            &[0x3c; 12 * 2 * 2],
            2,
            &|| true,
            |finished| {
                done = finished.rows().end;
            },
        );
        assert!(whole);
        assert_eq!(done, rows * PATCH);
        assert_eq!(held(&after), before);
    }
}
