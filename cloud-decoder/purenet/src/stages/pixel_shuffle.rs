//! PyTorch's pixel shuffle: channels become positions.

use rayon::prelude::*;
use serde::Deserialize;

use super::stage::{Description, Drawing, Drawn, Lowering, Place, Stage, StageMaps};
use crate::checks::Checks;
use crate::engine::Engine;
use crate::error::ModelError;
use crate::graph::{ChannelOrder, Graph};
use crate::limits::PATCH;
use crate::rows;
use crate::shape::Shape;
use crate::weights::Weights;

/// Channels to positions, in PyTorch's order.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelShuffle {
    /// By which sides grow.
    pub factor: usize,
}

struct Lowered {
    factor: usize,
    /// Whether the convolution before has sorted its channels by position.
    sorted: bool,
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

    fn lower<E: Engine>(&self, place: &Place, _: &mut Weights<'_>) -> Lowering<E> {
        Ok(Box::new(Lowered {
            factor: self.factor,
            sorted: place.after_conv,
        }))
    }

    fn draw<G: Graph>(&self, drawing: Drawing<'_, G>) -> Drawn<G> {
        let Drawing {
            graph, map, place, ..
        } = drawing;
        let name = format!("shuffle{}", place.output.side);
        Ok(graph.shuffle(&name, &map, self.factor, ChannelOrder::ChannelFirst))
    }
}

impl<E: Engine> Stage<E> for Lowered {
    fn lag(&self) -> usize {
        0
    }

    fn advance(&self, _: E, maps: StageMaps<'_, E::Value>) {
        let StageMaps { input, output, .. } = maps;
        let (first, end) = (output.len() / self.factor, input.len());
        let mut rows = output.append((end - first) * self.factor);
        let rows = rows.par_chunks_mut(self.factor).enumerate();
        rows.for_each(|(y, rows)| {
            let shuffle = if self.sorted {
                rows::spread
            } else {
                rows::shuffle
            };
            shuffle(input.row(first + y), input.channels(), rows);
        });
        input.release(end, 0);
    }
}
