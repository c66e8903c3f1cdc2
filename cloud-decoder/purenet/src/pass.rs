//! One pass of a frame through the network, step by step of some rows of patches.
//!
//! Each stage computes the rows for which its input suffices and releases the rows that nothing needs any more. A
//! frame's maps are therefore never whole in memory, a stage reads rows that were written a moment ago, and nothing is
//! computed twice.

use kernels::{Words, Work};
use rayon::prelude::*;

use crate::arithmetic::{PIXELS, Reading};
use crate::ends::Ends;
use crate::latents::Size;
use crate::limits::PATCH;
use crate::maps::{Map, Writes};
use crate::network::Network;
use crate::plan::Plan;
use crate::rows::Rows;
use crate::shape::Shape;
use crate::stages::StageMaps;

/// Feature maps of frames of one size; new ones cost as much time as a layer.
pub(crate) struct Maps {
    pub(crate) plan: Plan,
    /// Output of the first stage, then of each of the others.
    outputs: Vec<Map>,
    /// The map that a stage keeps between its input and its output.
    inner: Vec<Option<Map>>,
    /// The frame that the first stage alone gives.
    base: Option<Rows<i16>>,
}

/// One pass of a frame through the network.
pub(crate) struct Pass<'n> {
    network: &'n Network,
    maps: Maps,
    /// Rows of the frame that were handed out.
    done: usize,
    /// Rows that the last stage gave: values where a base is to be added, else bytes.
    values: Vec<i16>,
    bytes: Vec<u8>,
}

impl Maps {
    pub(crate) fn new(network: &Network, plan: Plan) -> Self {
        let outputs = network.shapes.iter().copied().zip(network.forms());
        let inner = network
            .inner()
            .map(|map| map.map(|(shape, forms)| plan.map(shape, forms)));
        Self {
            outputs: outputs
                .map(|(shape, forms)| plan.map(shape, forms))
                .collect(),
            inner: inner.collect(),
            base: network.base.map(|_| plan.base()),
            plan,
        }
    }

    fn restart(&mut self) {
        let inner = self.inner.iter_mut().flatten();
        self.outputs.iter_mut().chain(inner).for_each(Map::restart);
        self.base.iter_mut().for_each(Rows::restart);
    }
}

impl<'n> Pass<'n> {
    pub(crate) fn new(network: &'n Network, mut maps: Maps) -> Self {
        maps.restart();
        Self {
            network,
            maps,
            done: 0,
            values: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Decodes the bits of patches to the frame's pixels and gives the maps back, and whether it came to the end: before
    /// each group of rows it asks whether to go on.
    pub(crate) fn run(
        mut self,
        patches: &[&[u8]],
        size: Size,
        rgb: &mut [u8],
        go_on: &dyn Fn() -> bool,
    ) -> (Maps, bool) {
        let plan = &self.maps.plan;
        let (columns, rows_per_step) = (plan.columns, plan.rows_per_step);
        let network = self.network;
        let row = columns * network.shapes[0].values();
        for patches in patches.chunks(plan.rows_ahead * columns) {
            if !go_on() {
                return (self.maps, false);
            }
            let values = network.synthesis.run(patches);
            for rows in values.chunks(rows_per_step * row) {
                if !go_on() {
                    return (self.maps, false);
                }
                rows.chunks_exact(row).for_each(|row| self.place(row));
                for index in 0..network.stages.len() {
                    self.advance(index);
                }
                self.hand_out(size, rgb);
            }
        }
        (self.maps, true)
    }

    /// Puts a row of patches that the first stage made into its map, and into the base.
    fn place(&mut self, patches: &[i16]) {
        let (network, maps) = (self.network, &mut self.maps);
        let shape = network.shapes[0];
        let run = shape.side * shape.channels; // values of a patch in a row of the map
        let (columns, base) = (maps.plan.columns, maps.base.as_mut());
        let mut base = (base.zip(network.base)).map(|(base, factor)| (base.append(PATCH), factor));
        let until = maps.outputs[0].len() + shape.side;
        let (_, mut writes) = maps.outputs[0].append_until(until);
        let mut line = vec![0; columns * run];
        for y in 0..shape.side {
            let patches = patches.chunks_exact(shape.values());
            for (values, patch) in line.chunks_exact_mut(run).zip(patches) {
                values.copy_from_slice(&patch[y * run..][..run]);
            }
            if let Some(row) = writes.wide.get_mut(y) {
                row.copy_from_slice(&line);
            }
            if let Some(bytes) = writes.bytes.get_mut(y) {
                network.simd.vectorized(Read {
                    values: &line,
                    reading: writes.reading,
                    bytes,
                });
            }
            if let Some((rows, factor)) = &mut base {
                let rows = &mut rows[y * *factor..][..*factor];
                shuffle(&line, shape.channels, rows);
            }
        }
    }

    /// Lets stage `index` compute the rows for which its input suffices.
    fn advance(&mut self, index: usize) {
        let maps = &mut self.maps;
        let (before, after) = maps.outputs.split_at_mut(index + 1);
        self.network.stages[index].advance(StageMaps {
            input: &mut before[index],
            inner: maps.inner[index].as_mut(),
            output: &mut after[0],
            base: maps.base.as_ref(),
        });
    }

    /// Finishes rows of the frame and writes them.
    fn hand_out(&mut self, size: Size, rgb: &mut [u8]) {
        let (network, maps) = (self.network, &mut self.maps);
        let (simd, tail) = (network.simd, &network.tail);
        let last = maps.outputs.last_mut().expect("there is the first map");
        let input = &mut last
            .bytes
            .as_mut()
            .expect("the last stage reads bytes")
            .rows;
        let (first, ready) = (self.done / tail.shuffle, tail.layer.ready(input));
        let row = maps.plan.columns * PATCH * Shape::FRAME.channels;
        let length = (ready - first) * tail.shuffle * row;
        let mut writes = Writes {
            wide: Vec::new(),
            bytes: Vec::new(),
            reading: PIXELS,
        };
        if maps.base.is_some() {
            self.values.resize(length, 0);
            writes.wide = self.values.chunks_exact_mut(row).collect();
        } else {
            self.bytes.resize(length, 0);
            writes.bytes = self.bytes.chunks_exact_mut(row).collect();
        }
        let ends = Ends {
            relu: tail.relu,
            addend: None,
            shuffle: tail.shuffle,
            writes,
        };
        tail.layer.convolve(input, first, ends);
        input.release(ready, tail.layer.radius());
        let (start, stride) = (self.done, size.width * Shape::FRAME.channels);
        self.done = ready * tail.shuffle;
        let lines = start.min(size.height) * stride..self.done.min(size.height) * stride;
        let lines = rgb[lines].par_chunks_exact_mut(stride).enumerate();
        match &mut maps.base {
            None => {
                let rows = &self.bytes;
                lines.for_each(|(y, line)| line.copy_from_slice(&rows[y * row..][..stride]));
            }
            Some(base) => {
                let (rows, before) = (&self.values, &*base);
                lines.for_each(|(y, line)| {
                    simd.vectorized(Sum {
                        values: &rows[y * row..][..stride],
                        base: &before.row(start + y)[..stride],
                        line,
                    });
                });
                base.release(self.done, 0);
            }
        }
    }
}

/// Reads values as bytes.
struct Read<'a> {
    values: &'a [i16],
    reading: Reading,
    bytes: &'a mut [u8],
}

impl Work for Read<'_> {
    #[inline(always)]
    fn run<W: Words>(self) {
        let ((values, last), (bytes, rest)) = (self.values.as_chunks(), self.bytes.as_chunks_mut());
        for (bytes, values) in bytes.iter_mut().zip(values) {
            self.reading.store(W::load(values), bytes);
        }
        for (byte, &value) in rest.iter_mut().zip(last) {
            *byte = self.reading.byte(value);
        }
    }
}

/// Adds the base to values and makes pixels of them.
struct Sum<'a> {
    values: &'a [i16],
    base: &'a [i16],
    line: &'a mut [u8],
}

impl Work for Sum<'_> {
    #[inline(always)]
    fn run<W: Words>(self) {
        let ((values, last), (base, last_base)) = (self.values.as_chunks(), self.base.as_chunks());
        let (line, rest) = self.line.as_chunks_mut();
        for (bytes, (values, base)) in line.iter_mut().zip(values.iter().zip(base)) {
            PIXELS.store(W::load(values).plus(W::load(base)), bytes);
        }
        for (byte, (value, &base)) in rest.iter_mut().zip(last.iter().zip(last_base)) {
            *byte = PIXELS.byte(value.saturating_add(base));
        }
    }
}

/// Writes PyTorch's pixel shuffle of a row of RGB frames into as many rows as its factor.
fn shuffle(input: &[i16], depth: usize, output: &mut [&mut [i16]]) {
    let factor = output.len();
    let area = factor * factor;
    for (dy, row) in output.iter_mut().enumerate() {
        let (pixels, _) = row.as_chunks_mut::<3>();
        let positions = pixels.chunks_exact_mut(factor);
        for (pixels, input) in positions.zip(input.chunks_exact(depth)) {
            let run = |channel: usize| &input[channel * area + dy * factor..][..factor];
            let colours = run(0).iter().zip(run(1)).zip(run(2));
            for (pixel, ((&red, &green), &blue)) in pixels.iter_mut().zip(colours) {
                *pixel = [red, green, blue];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Simd;

    /// The rings never grow, so the computed memory is the memory in use.
    #[test]
    fn memory_is_as_counted() {
        let bytes = include_bytes!("../tests/golden/full.safetensors");
        let network = Network::load(bytes, Simd::chosen()).expect("the golden decoder loads");
        let held = |maps: &Maps| {
            let base = maps.base.iter().map(Rows::held_bytes).sum::<usize>();
            let maps = maps.outputs.iter().chain(maps.inner.iter().flatten());
            let map = |map: &Map| {
                let wide = map.wide.as_ref().map_or(0, Rows::held_bytes);
                wide + map
                    .bytes
                    .as_ref()
                    .map_or(0, |bytes| bytes.rows.held_bytes())
            };
            maps.map(map).sum::<usize>() + base
        };
        let size = Size::new(64, 384).expect("a size");
        let plan = Plan::new(&network, size.rows, size.columns);
        let counted = plan.map_bytes(&network);
        let maps = Maps::new(&network, plan);
        let before = held(&maps);
        assert!(before <= counted);
        let mut rgb = vec![0; size.width * size.height * 3];
        let patches = [&[0x3c; 3][..]; 24];
        let pass = Pass::new(&network, maps);
        let (after, whole) = pass.run(&patches, size, &mut rgb, &|| true);
        assert!(whole);
        assert_eq!(held(&after), before);
    }
}
