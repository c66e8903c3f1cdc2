//! A join: x + conv(frame of the base, unshuffled to the positions of x).

use rayon::prelude::*;
use serde::Deserialize;

use super::stage::{Description, Drawing, Drawn, Lower, Lowering, Stage, StageMaps, bytes, wide};
use crate::checks::Checks;
use crate::ends::Ends;
use crate::error::ModelError;
use crate::graph::{Graph, Kernels};
use crate::layer::Layer;
use crate::maps::Forms;
use crate::shape::Shape;
use crate::tensors::LayerSize;

/// x + conv(frame of the base, unshuffled to the positions of x).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Prefix of its tensors.
    pub name: String,
    /// Values of a position's pixels.
    #[serde(rename = "in")]
    pub input: usize,
    /// Channels of x.
    pub channels: usize,
    /// Rows and columns of a kernel.
    pub kernel: usize,
}

struct Lowered {
    layer: Layer,
    /// Pixels of the frame along the side of a position.
    factor: usize,
}

impl Join {
    /// Packs the weights, whose input channels are put in the order in which a frame's rows hold them: pixel row, pixel,
    /// colour.
    pub(crate) fn lower(&self, lower: Lower<'_, '_>) -> Lowering {
        let size = LayerSize {
            outputs: self.channels,
            inputs: self.input,
            kernel: self.kernel,
            side: lower.place.output.side,
        };
        let factor = lower.place.output.pixels();
        let (pixels, colours) = (factor * factor, Shape::FRAME.channels);
        let tensors = lower.tensors.layer(&lower.place.label, &self.name, size)?;
        let tensors = tensors.channels_last(self.input, |channel| {
            channel % colours * pixels + channel / colours
        });
        let layer = Layer::new(lower.simd, &tensors, self.input, self.kernel);
        Ok(Box::new(Lowered { layer, factor }))
    }
}

impl Description for Join {
    const KIND: &'static str = "join";

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn check(&self, input: Shape, checks: &Checks<'_>) -> Result<Shape, ModelError> {
        let pixels = Shape::FRAME.channels * input.pixels() * input.pixels();
        checks.field("in", self.input, self.input == pixels, || {
            format!("{pixels}, the RGB pixels of a position")
        })?;
        checks.chained("channels", self.channels, input)?;
        checks.kernel(self.kernel)?;
        Ok(input)
    }

    fn draw<G: Graph>(&self, drawing: Drawing<'_, G>) -> Drawn<G> {
        let Drawing {
            graph,
            map,
            place,
            frame,
        } = drawing;
        let frame = frame.expect("a checked network joins a base that it has");
        let (name, factor) = (&self.name, place.output.pixels());
        let pixels = if factor > 1 {
            graph.unshuffle(&format!("{name}.pixels"), frame, factor)
        } else {
            frame.clone()
        };
        let kernels = Kernels {
            unshuffled: factor * factor,
            ..Kernels::new(self.channels, self.kernel)
        };
        let conv = graph.conv(name, &pixels, kernels)?;
        Ok(graph.add(&format!("{name}.joined"), &map, &conv))
    }
}

impl Stage for Lowered {
    fn reads(&self) -> Forms {
        Forms {
            wide: true,
            bytes: None,
        }
    }

    fn inner(&self, output: Shape) -> Option<(Shape, Forms)> {
        let shape = Shape {
            channels: Shape::FRAME.channels * self.factor * self.factor,
            ..output
        };
        let forms = Forms {
            wide: false,
            bytes: Some(self.layer.reading),
        };
        Some((shape, forms))
    }

    fn lag(&self) -> usize {
        self.layer.lag()
    }

    fn advance(&self, maps: StageMaps<'_>) {
        let inner = maps.inner.expect("`inner` asks for this map");
        let base = maps.base.expect("a checked network joins a base");
        let (x, pixels) = (wide(&mut maps.input.wide), bytes(&mut inner.bytes));
        let (layer, factor, reading) = (&self.layer, self.factor, self.layer.reading);
        // The base is far ahead; only rows that the next rows of the input can be joined with are taken apart.
        let end = (x.len() + layer.radius()).min(base.len() / factor);
        let (first, mut writes) = pixels.append_until(end.max(pixels.rows.len()));
        let run = factor * Shape::FRAME.channels;
        writes
            .bytes
            .par_iter_mut()
            .enumerate()
            .for_each(|(y, row)| {
                for dy in 0..factor {
                    let line = base.row((first + y) * factor + dy).chunks_exact(run);
                    for (position, pixels) in row.chunks_exact_mut(factor * run).zip(line) {
                        let bytes = position[dy * run..].iter_mut().zip(pixels);
                        bytes.for_each(|(byte, &value)| *byte = reading.byte(value));
                    }
                }
            });
        let ready = layer.ready(&pixels.rows).min(x.len());
        let (first, writes) = maps.output.append_until(ready);
        let ends = Ends {
            relu: false,
            addend: Some(x),
            shuffle: 1,
            writes,
        };
        layer.convolve(&pixels.rows, first, ends);
        pixels.rows.release(ready, layer.radius());
        x.release(ready, 0);
    }
}
