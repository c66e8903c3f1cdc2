//! PyTorch's pixel shuffle: channels become positions. The convolution before it writes its outputs where they belong,
//! so that it is never computed alone.

use serde::Deserialize;

use super::stage::{Description, Drawing, Drawn};
use crate::checks::Checks;
use crate::error::ModelError;
use crate::graph::{ChannelOrder, Graph};
use crate::limits::PATCH;
use crate::shape::Shape;

/// Channels to positions, in PyTorch's order.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelShuffle {
    /// By which sides grow.
    pub factor: usize,
}

impl Description for PixelShuffle {
    const KIND: &'static str = "pixel_shuffle";

    fn name(&self) -> Option<&str> {
        None
    }

    fn check(&self, input: Shape, checks: &Checks<'_>) -> Result<Shape, ModelError> {
        let factor = self.factor;
        let most = PATCH / input.side;
        let range_ok = factor.is_power_of_two() && (2..=most).contains(&factor);
        checks.field("factor", factor, range_ok, || {
            format!("a power of two from 2 to {most}, up to 32 positions a patch")
        })?;
        let divides = input.channels.is_multiple_of(factor * factor);
        checks.field("factor", factor, divides, || {
            format!("one whose square divides {} channels", input.channels)
        })?;
        Ok(Shape {
            side: input.side * factor,
            channels: input.channels / (factor * factor),
        })
    }

    fn draw<G: Graph>(&self, drawing: Drawing<'_, G>) -> Drawn<G> {
        let Drawing {
            graph, map, place, ..
        } = drawing;
        let name = format!("shuffle{}", place.output.side);
        Ok(graph.shuffle(&name, &map, self.factor, ChannelOrder::ChannelFirst))
    }
}
