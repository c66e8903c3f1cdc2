//! One pass of a frame through the network, step by step of some rows of patches.
//!
//! Each stage computes the rows for which its input suffices and releases the rows that nothing needs any more. A
//! frame's maps are therefore never whole in memory, a stage reads rows that were written a moment ago, and nothing is
//! computed twice.

use std::ops::Range;

use crate::engine::{Convolution, Engine, Finish};
use crate::limits::PATCH;
use crate::network::{Network, Tail};
use crate::plan::{Plan, inner_shapes};
use crate::rows::{self, Rows};
use crate::shape::Shape;
use crate::stages::StageMaps;
use crate::value::Value;

/// Feature maps of frames of one size; new ones cost as much time as a layer.
pub(crate) struct Maps<V> {
    pub(crate) plan: Plan,
    /// Output of the first stage, then of each of the others.
    outputs: Vec<Rows<V>>,
    /// The map that a stage keeps between its input and its output.
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
        self.first..self.first + self.values.len() / (self.columns * PATCH * Shape::FRAME.channels)
    }

    /// Row `y`, three values per pixel, as many as fit.
    pub(crate) fn row(&self, y: usize, out: &mut [O]) {
        let (depth, rows) = (
            self.pixels * self.pixels * Shape::FRAME.channels,
            self.pixels,
        );
        let line = rows * self.columns * PATCH * Shape::FRAME.channels;
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

impl<V: Value> Maps<V> {
    pub(crate) fn new<E: Engine<Value = V>>(network: &Network<E>, plan: Plan) -> Self {
        let map = |shape| plan.map::<E>(shape);
        Self {
            outputs: network.shapes.iter().copied().map(map).collect(),
            inner: inner_shapes(network).map(|shape| shape.map(map)).collect(),
            base: network.base.map(|_| plan.base()),
            plan,
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

    /// Decodes latents of `patch_bytes` bytes per patch, hands the frame's rows out in order and gives the maps back,
    /// and whether it came to the end: before each group of rows it asks whether to go on.
    pub(crate) fn run(
        mut self,
        latents: &[u8],
        patch_bytes: usize,
        go_on: &dyn Fn() -> bool,
        mut sink: impl FnMut(Finished<'_, O>),
    ) -> (Maps<E::Value>, bool) {
        let plan = &self.maps.plan;
        let (columns, rows_per_step) = (plan.columns, plan.rows_per_step);
        debug_assert_eq!(latents.len(), plan.rows * columns * patch_bytes);
        let network = self.network;
        let row = columns * network.shapes[0].values();
        for latents in latents.chunks(plan.rows_ahead * columns * patch_bytes) {
            if !go_on() {
                return (self.maps, false);
            }
            let patches = network.synthesis.run(self.engine, latents, patch_bytes);
            for rows in patches.chunks(rows_per_step * row) {
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
        let columns = self.maps.plan.columns;
        let maps = &mut self.maps;
        let last = &mut maps.outputs[self.network.stages.len()];
        let tail = self.network.tail.as_ref();
        let (pixels, radius) = tail.map_or((1, 0), |tail| (tail.pixels, tail.layer.radius()));
        let first = self.done / pixels;
        let ready = tail.map_or(last.len(), |tail| tail.layer.ready(last));
        let row = pixels * columns * PATCH * Shape::FRAME.channels;
        self.values.resize((ready - first) * row, O::ZERO);
        let rows = self.values.chunks_exact_mut(row);
        match tail {
            Some(Tail { layer, relu, .. }) => {
                let finish = Finish::relu_if(*relu);
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
        let mut line = vec![0.0; maps.plan.columns * run];
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

    /// Lets stage `index` compute the rows for which its input suffices.
    fn advance(&mut self, index: usize) {
        let maps = &mut self.maps;
        let (before, after) = maps.outputs.split_at_mut(index + 1);
        let maps = StageMaps {
            input: &mut before[index],
            inner: maps.inner[index].as_mut(),
            output: &mut after[0],
            base: maps.base.as_ref(),
        };
        self.network.stages[index].advance(self.engine, maps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::simd::Isa;

    /// The rings never grow, so the computed memory is the memory in use.
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
        let plan = Plan::new(&network, rows, columns);
        let counted = plan.map_bytes(&network);
        let maps = Maps::new(&network, plan);
        let before = held(&maps);
        assert!(before <= counted);
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
