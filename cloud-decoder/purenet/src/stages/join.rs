//! A join: x + conv(frame of the base, unshuffled to the positions of x).

use rayon::prelude::*;
use serde::Deserialize;

use super::stage::{Description, Drawing, Drawn, Lowering, Place, Stage, StageMaps};
use crate::checks::Checks;
use crate::engine::{Convolution, Engine, Finish};
use crate::error::ModelError;
use crate::graph::{Graph, Kernels};
use crate::rows;
use crate::shape::Shape;
use crate::weights::Weights;

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

struct Lowered<C> {
    layer: C,
    /// Pixels of the frame along the side of a position.
    factor: usize,
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

    fn lower<E: Engine>(&self, place: &Place, weights: &mut Weights<'_>) -> Lowering<E> {
        let sizes = (self.channels, self.input, self.kernel);
        let layer = weights.conv::<E>(&place.label, &self.name, sizes, place.output.side, 1)?;
        let factor = place.output.pixels();
        Ok(Box::new(Lowered { layer, factor }))
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

impl<E: Engine> Stage<E> for Lowered<E::Conv> {
    fn inner(&self, output: Shape) -> Option<Shape> {
        Some(Shape {
            channels: Shape::FRAME.channels * self.factor * self.factor,
            ..output
        })
    }

    fn lag(&self) -> usize {
        self.layer.lag()
    }

    fn advance(&self, engine: E, maps: StageMaps<'_, E::Value>) {
        let StageMaps { input, output, .. } = maps;
        let pixels = maps.inner.expect("`inner` asks for this map");
        let base = maps.base.expect("a checked network joins a base");
        let (layer, factor) = (&self.layer, self.factor);
        let first = pixels.len();
        // The base is far ahead; only rows that the next rows of the input can be joined with are taken apart.
        let end = (input.len() + layer.radius()).min(base.len() / factor);
        let mut rows = pixels.append(end.max(first) - first);
        rows.par_iter_mut().enumerate().for_each(|(y, row)| {
            let lines = (0..factor).map(|dy| base.row((first + y) * factor + dy));
            rows::unshuffle(lines, Shape::FRAME.channels, row);
        });
        let come = input.len() - input.len() % layer.step();
        let ready = layer.ready(pixels).min(come);
        let (first, rows) = output.append_until(ready);
        layer.convolve(engine, pixels, first, rows, Finish::Add(input));
        pixels.release(ready, layer.radius());
        input.release(ready, 0);
    }
}
