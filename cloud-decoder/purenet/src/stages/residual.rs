//! A residual block: x + conv2(max(0, conv1(x))).

use serde::Deserialize;

use super::stage::{Description, Drawing, Drawn, Lowering, Place, Stage, StageMaps};
use crate::checks::Checks;
use crate::engine::{Convolution, Engine, Finish};
use crate::error::ModelError;
use crate::graph::{Graph, Kernels};
use crate::shape::Shape;
use crate::weights::Weights;

/// x + conv2(max(0, conv1(x))).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residual {
    /// Prefix of `.conv1` and `.conv2`.
    pub name: String,
    /// Channels of all three maps.
    pub channels: usize,
    /// Rows and columns of a kernel.
    pub kernel: usize,
}

struct Lowered<C> {
    first: C,
    second: C,
}

impl Residual {
    fn parts(&self) -> [String; 2] {
        ["conv1", "conv2"].map(|part| format!("{}.{part}", self.name))
    }
}

impl Description for Residual {
    const KIND: &'static str = "residual";

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn check(&self, input: Shape, checks: &Checks<'_>) -> Result<Shape, ModelError> {
        checks.chained("channels", self.channels, input)?;
        checks.kernel(self.kernel)?;
        Ok(input)
    }

    fn lower<E: Engine>(&self, place: &Place, weights: &mut Weights<'_>) -> Lowering<E> {
        let sizes = (self.channels, self.channels, self.kernel);
        let mut layer =
            |name: &str| weights.conv::<E>(&place.label, name, sizes, place.output.side, 1);
        let [first, second] = self.parts();
        let (first, second) = (layer(&first)?, layer(&second)?);
        Ok(Box::new(Lowered { first, second }))
    }

    fn draw<G: Graph>(&self, drawing: Drawing<'_, G>) -> Drawn<G> {
        let Drawing { graph, map, .. } = drawing;
        let kernels = Kernels::new(self.channels, self.kernel);
        let [first, second] = self.parts();
        let inner = graph.conv(&first, &map, kernels)?;
        let inner = graph.relu(&first, &inner);
        let inner = graph.conv(&second, &inner, kernels)?;
        Ok(graph.add(&self.name, &map, &inner))
    }
}

impl<E: Engine> Stage<E> for Lowered<E::Conv> {
    fn inner(&self, output: Shape) -> Option<Shape> {
        Some(output)
    }

    fn lag(&self) -> usize {
        self.first.lag() + self.second.lag()
    }

    fn advance(&self, engine: E, maps: StageMaps<'_, E::Value>) {
        let StageMaps { input, output, .. } = maps;
        let hidden = maps.inner.expect("`inner` asks for this map");
        let ready = self.first.ready(input);
        let (start, rows) = hidden.append_until(ready);
        self.first
            .convolve(engine, input, start, rows, Finish::Relu);
        let summed = self.second.ready(hidden);
        let (start, rows) = output.append_until(summed);
        self.second
            .convolve(engine, hidden, start, rows, Finish::Add(input));
        hidden.release(summed, self.second.radius());
        let radius = self.first.radius();
        input.release(ready.min(summed + radius), radius);
    }
}
