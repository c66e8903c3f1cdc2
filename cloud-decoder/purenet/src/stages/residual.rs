//! A residual block: x + conv2(max(0, conv1(x))).

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

struct Lowered {
    first: Layer,
    second: Layer,
}

impl Residual {
    pub(crate) fn parts(&self) -> [String; 2] {
        ["conv1", "conv2"].map(|part| format!("{}.{part}", self.name))
    }

    /// Packs the weights.
    pub(crate) fn lower(&self, lower: Lower<'_, '_>) -> Lowering {
        let size = LayerSize {
            outputs: self.channels,
            inputs: self.channels,
            kernel: self.kernel,
            side: lower.place.output.side,
        };
        let mut layer = |name: &str| {
            let tensors = lower.tensors.layer(&lower.place.label, name, size)?;
            let tensors = tensors.channels_last(self.channels, |channel| channel);
            let layer = Layer::new(lower.simd, &tensors, self.channels, self.kernel);
            Ok::<_, ModelError>(layer)
        };
        let [first, second] = self.parts();
        let (first, second) = (layer(&first)?, layer(&second)?);
        Ok(Box::new(Lowered { first, second }))
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

impl Stage for Lowered {
    fn reads(&self) -> Forms {
        Forms {
            wide: true,
            bytes: Some(self.first.reading),
        }
    }

    fn inner(&self, output: Shape) -> Option<(Shape, Forms)> {
        let forms = Forms {
            wide: false,
            bytes: Some(self.second.reading),
        };
        Some((output, forms))
    }

    fn lag(&self) -> usize {
        self.first.lag() + self.second.lag()
    }

    fn advance(&self, maps: StageMaps<'_>) {
        let inner = maps.inner.expect("`inner` asks for this map");
        let (x, hidden) = (bytes(&mut maps.input.bytes), bytes(&mut inner.bytes));
        let ready = self.first.ready(&x.rows);
        let (start, writes) = hidden.append_until(ready);
        let ends = Ends {
            relu: true,
            addend: None,
            shuffle: 1,
            writes,
        };
        self.first.convolve(&x.rows, start, ends);
        x.rows.release(ready, self.first.radius());
        let summed = self.second.ready(&hidden.rows);
        let (start, writes) = maps.output.append_until(summed);
        let x = wide(&mut maps.input.wide);
        let ends = Ends {
            relu: false,
            addend: Some(x),
            shuffle: 1,
            writes,
        };
        self.second.convolve(&hidden.rows, start, ends);
        hidden.rows.release(summed, self.second.radius());
        x.release(summed, 0);
    }
}
