//! The first stage: from latents to the first feature map, patch by patch.

use kernels::Simd;
use serde::Deserialize;

use super::stage::{Drawing, Drawn};
use crate::checks::Checks;
use crate::error::ModelError;
use crate::graph::{ChannelOrder, Graph, Kernels};
use crate::limits::PATCH;
use crate::shape::Shape;
use crate::synthesis::Synthesis;
use crate::tensors::Tensors;

/// Most hidden units.
const MAX_HIDDEN: usize = 4096;

/// Two linear layers on the bits of a patch, which count as -1 and 1.
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
    /// Units of the first layer, which ends in max(0, x).
    pub hidden: usize,
    /// Positions along the side of a patch.
    pub grid: usize,
    /// Channels of a position.
    pub channels: usize,
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
        let hidden_ok = (1..=MAX_HIDDEN).contains(&self.hidden);
        checks.field("hidden", self.hidden, hidden_ok, || {
            format!("1 to {MAX_HIDDEN}")
        })?;
        let grid_ok = self.grid.is_power_of_two() && self.grid <= PATCH;
        checks.field("grid", self.grid, grid_ok, || "1, 2, 4, 8, 16 or 32".into())?;
        Ok(Shape {
            side: self.grid,
            channels: checks.channels("channels", self.channels)?,
        })
    }

    /// Bits per patch that can be decoded, increasing; the last is all of them.
    pub(crate) fn rates(&self) -> Vec<u32> {
        let rates = self.prefixes.iter().chain([&self.bits]);
        rates.map(|&bits| bits as u32).collect()
    }

    /// Packs the weights; `label` is for messages.
    pub(crate) fn lower(
        &self,
        simd: Simd,
        label: &str,
        tensors: &mut Tensors<'_>,
    ) -> Result<Synthesis, ModelError> {
        let outputs = self.grid * self.grid * self.channels;
        let tensors = tensors.synthesis(label, &self.name, (outputs, self.hidden, self.bits))?;
        Ok(Synthesis::new(simd, &tensors))
    }

    /// Adds its operations to a graph and gives its output.
    pub(crate) fn draw<G: Graph>(&self, drawing: Drawing<'_, G>) -> Drawn<G> {
        let linear = |outputs| Kernels::new(outputs, 1);
        let Drawing { graph, mut map, .. } = drawing;
        let hidden = format!("{}.hidden", self.name);
        map = graph.conv(&hidden, &map, linear(self.hidden))?;
        map = graph.relu(&hidden, &map);
        let values = self.grid * self.grid * self.channels;
        map = graph.conv(&self.name, &map, linear(values))?;
        let name = format!("{}.map", self.name);
        Ok(graph.shuffle(&name, &map, self.grid, ChannelOrder::ChannelLast))
    }
}
