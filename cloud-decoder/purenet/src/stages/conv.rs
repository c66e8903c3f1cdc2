//! A convolution.

use serde::Deserialize;

use super::stage::{Description, Drawing, Drawn, Lowering, Place, Stage, StageMaps};
use crate::checks::Checks;
use crate::engine::{Convolution, Engine, Finish};
use crate::error::ModelError;
use crate::graph::{Graph, Kernels};
use crate::shape::Shape;
use crate::weights::Weights;

/// A same-size convolution.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// Prefix of its tensors.
    pub name: String,
    /// Input channels.
    #[serde(rename = "in")]
    pub input: usize,
    /// Output channels.
    #[serde(rename = "out")]
    pub output: usize,
    /// Rows and columns of a kernel.
    pub kernel: usize,
    /// Whether max(0, x) follows.
    pub relu: bool,
}

struct Lowered<C> {
    layer: C,
    relu: bool,
}

impl Conv {
    /// Packs the weights for an engine. Output channels are sorted for the pixel shuffle that follows, if one does.
    pub(crate) fn layer<E: Engine>(
        &self,
        place: &Place,
        weights: &mut Weights<'_>,
    ) -> Result<E::Conv, ModelError> {
        let sizes = (self.output, self.input, self.kernel);
        let (side, shuffled) = (place.output.side, place.shuffled_by);
        weights.conv::<E>(&place.label, &self.name, sizes, side, shuffled)
    }
}

impl Description for Conv {
    const KIND: &'static str = "conv";

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn check(&self, input: Shape, checks: &Checks<'_>) -> Result<Shape, ModelError> {
        checks.chained("in", self.input, input)?;
        checks.kernel(self.kernel)?;
        let channels = checks.channels("out", self.output)?;
        Ok(Shape { channels, ..input })
    }

    fn lower<E: Engine>(&self, place: &Place, weights: &mut Weights<'_>) -> Lowering<E> {
        let layer = self.layer::<E>(place, weights)?;
        let relu = self.relu;
        Ok(Box::new(Lowered { layer, relu }))
    }

    fn draw<G: Graph>(&self, drawing: Drawing<'_, G>) -> Drawn<G> {
        let Drawing { graph, map, .. } = drawing;
        let kernels = Kernels::new(self.output, self.kernel);
        let map = graph.conv(&self.name, &map, kernels)?;
        Ok(if self.relu {
            graph.relu(&self.name, &map)
        } else {
            map
        })
    }
}

impl<E: Engine> Stage<E> for Lowered<E::Conv> {
    fn lag(&self) -> usize {
        self.layer.lag()
    }

    fn advance(&self, engine: E, maps: StageMaps<'_, E::Value>) {
        let ready = self.layer.ready(maps.input);
        let (first, rows) = maps.output.append_until(ready);
        let finish = Finish::relu_if(self.relu);
        self.layer.convolve(engine, maps.input, first, rows, finish);
        maps.input.release(ready, self.layer.radius());
    }
}
