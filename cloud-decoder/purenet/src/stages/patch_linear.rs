//! The first stage: from latents to the first feature map, patch by patch.

use serde::Deserialize;

use super::stage::{Drawing, Drawn};
use crate::checks::Checks;
use crate::engine::Engine;
use crate::error::ModelError;
use crate::graph::{ChannelOrder, Graph, Kernels};
use crate::limits::PATCH;
use crate::shape::Shape;
use crate::weights::Weights;

/// Most hidden units.
const MAX_HIDDEN: usize = 4096;

/// One or two linear layers on the bits of a patch, which count as -1 and 1.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchLinear {
    /// Prefix of its tensors.
    pub name: String,
    /// Latent bits per patch.
    pub bits: usize,
    /// Fewer bits that suffice too, increasing.
    #[serde(default)]
    pub prefixes: Vec<usize>,
    /// Units of the layer before the last one, which ends in max(0, x). Without them there is only the last layer.
    pub hidden: Option<usize>,
    /// Positions along the side of a patch.
    pub grid: usize,
    /// Channels of a position.
    pub channels: usize,
}

/// The first stage with weights that are packed for an engine.
pub(crate) struct Synthesis<E: Engine> {
    pub(crate) bits: usize,
    /// Bits per patch that can be decoded, increasing; the last is `bits`.
    pub(crate) rates: Vec<u32>,
    hidden: Option<E::Linear>,
    units: usize,
    last: E::Linear,
}

impl PatchLinear {
    pub(crate) const KIND: &'static str = "patch_linear";

    /// Checks the numbers and gives the shape of the output.
    pub(crate) fn check(&self, checks: &Checks<'_>) -> Result<Shape, ModelError> {
        let bits = self.bits;
        let bits_ok = (8..=4096).contains(&bits) && bits.is_multiple_of(8);
        checks.field("bits", bits, bits_ok, || {
            "a multiple of 8 from 8 to 4096".into()
        })?;
        let mut least = 8;
        for &prefix in &self.prefixes {
            let prefix_ok = (least..bits).contains(&prefix) && prefix.is_multiple_of(8);
            checks.field("prefixes", prefix, prefix_ok, || {
                format!("multiples of 8 below {bits}, each more than the one before")
            })?;
            least = prefix + 8;
        }
        if let Some(hidden) = self.hidden {
            let hidden_ok = (1..=MAX_HIDDEN).contains(&hidden);
            checks.field("hidden", hidden, hidden_ok, || format!("1 to {MAX_HIDDEN}"))?;
        }
        let grid_ok = self.grid.is_power_of_two() && self.grid <= PATCH;
        checks.field("grid", self.grid, grid_ok, || "1, 2, 4, 8, 16 or 32".into())?;
        Ok(Shape {
            side: self.grid,
            channels: checks.channels("channels", self.channels)?,
        })
    }

    /// Packs the weights for an engine; `label` is for messages.
    pub(crate) fn lower<E: Engine>(
        &self,
        label: &str,
        weights: &mut Weights<'_>,
    ) -> Result<Synthesis<E>, ModelError> {
        let values = self.grid * self.grid * self.channels;
        let hidden = (self.hidden)
            .map(|units| weights.linear::<E>(label, &self.hidden_name(), units, self.bits))
            .transpose()?;
        let inputs = self.hidden.unwrap_or(self.bits);
        let rates = self.prefixes.iter().chain([&self.bits]);
        Ok(Synthesis {
            bits: self.bits,
            rates: rates.map(|&bits| bits as u32).collect(),
            hidden,
            units: self.hidden.unwrap_or(0),
            last: weights.linear::<E>(label, &self.name, values, inputs)?,
        })
    }

    /// Adds its operations to a graph and gives its output.
    pub(crate) fn draw<G: Graph>(&self, drawing: Drawing<'_, G>) -> Drawn<G> {
        let linear = |outputs| Kernels::new(outputs, 1);
        let Drawing { graph, mut map, .. } = drawing;
        if let Some(units) = self.hidden {
            let name = self.hidden_name();
            map = graph.conv(&name, &map, linear(units))?;
            map = graph.relu(&name, &map);
        }
        let values = self.grid * self.grid * self.channels;
        map = graph.conv(&self.name, &map, linear(values))?;
        let name = format!("{}.map", self.name);
        Ok(graph.shuffle(&name, &map, self.grid, ChannelOrder::ChannelLast))
    }

    fn hidden_name(&self) -> String {
        format!("{}.hidden", self.name)
    }
}

impl<E: Engine> Synthesis<E> {
    /// The values of patch after patch from latents of `patch_bytes` per patch.
    pub(crate) fn run(&self, engine: E, latents: &[u8], patch_bytes: usize) -> Vec<f32> {
        engine.synthesize(self.hidden.as_ref(), &self.last, latents, patch_bytes)
    }

    /// Values in `f32` that [`Synthesis::run`] holds per patch, for an output of this shape.
    pub(crate) fn values_held(&self, output: Shape) -> usize {
        E::synthesis_values(self.bits, self.units, output.values())
    }
}
