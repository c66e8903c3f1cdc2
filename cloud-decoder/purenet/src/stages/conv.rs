//! A convolution, and the pixel shuffle that may follow it.

use serde::Deserialize;

use super::stage::{Description, Drawing, Drawn, Lower, Place, Stage, StageMaps, bytes};
use crate::checks::Checks;
use crate::ends::Ends;
use crate::error::ModelError;
use crate::graph::{Graph, Kernels};
use crate::layer::Layer;
use crate::maps::Forms;
use crate::shape::Shape;
use crate::tensors::LayerSize;

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

/// A convolution whose outputs are written where its pixel shuffle puts them.
pub(crate) struct Lowered {
    pub(crate) layer: Layer,
    pub(crate) relu: bool,
    /// Factor of the pixel shuffle; 1 is none.
    pub(crate) shuffle: usize,
}

impl Conv {
    /// Packs the weights, output channels sorted for the pixel shuffle that follows, if one does.
    pub(crate) fn lower(&self, lower: Lower<'_, '_>) -> Result<Lowered, ModelError> {
        let Lower {
            simd,
            place,
            tensors,
        } = lower;
        let Place {
            label,
            output,
            shuffled_by,
        } = place;
        let size = LayerSize {
            outputs: self.output,
            inputs: self.input,
            kernel: self.kernel,
            side: output.side,
        };
        let tensors = tensors.layer(label, &self.name, size)?;
        let tensors = tensors.sorted_for_shuffle(*shuffled_by);
        let tensors = tensors.channels_last(self.input, |channel| channel);
        Ok(Lowered {
            layer: Layer::new(simd, &tensors, self.input, self.kernel),
            relu: self.relu,
            shuffle: *shuffled_by,
        })
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

impl Stage for Lowered {
    fn reads(&self) -> Forms {
        Forms {
            wide: false,
            bytes: Some(self.layer.reading),
        }
    }

    fn lag(&self) -> usize {
        self.layer.lag()
    }

    fn advance(&self, maps: StageMaps<'_>) {
        let input = &mut bytes(&mut maps.input.bytes).rows;
        let ready = self.layer.ready(input);
        let (first, writes) = maps.output.append_until(ready * self.shuffle);
        let ends = Ends {
            relu: self.relu,
            addend: None,
            shuffle: self.shuffle,
            writes,
        };
        self.layer.convolve(input, first / self.shuffle, ends);
        input.release(ready, self.layer.radius());
    }
}
