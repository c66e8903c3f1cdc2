//! The network description of the metadata, and the rules that hold between its stages.

use std::collections::HashSet;

use serde::Deserialize;

use crate::checks::Checks;
use crate::error::ModelError;
use crate::limits::MAX_STAGES;
use crate::shape::Shape;
use crate::stages::{PatchLinear, Place, StageLayout};

/// The network of a decoder: the `stages` metadata, as it is written (`docs/formats.md`, "Decoder").
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// The stages in their order; the first is [`StageLayout::PatchLinear`], and only it.
    pub stages: Vec<StageLayout>,
    /// The skip connection from the first stage to the frame, if there is one.
    pub base: Option<BaseLayout>,
}

/// The skip connection: the first stage's output, pixel-shuffled to a frame.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseLayout {
    /// Channels of the first stage's output.
    pub channels: usize,
    /// By which its sides grow.
    pub factor: usize,
}

impl Layout {
    /// Checks the whole network and gives the output shape of each stage.
    pub(crate) fn shapes(&self) -> Result<Vec<Shape>, ModelError> {
        let count = self.stages.len();
        if !(2..=MAX_STAGES).contains(&count) {
            return Err(ModelError::StageCount { count });
        }
        let mut names = HashSet::new();
        let mut shapes: Vec<Shape> = Vec::with_capacity(count);
        for (index, stage) in self.stages.iter().enumerate() {
            let label = stage.label(index);
            if stage.name().is_some_and(|name| !names.insert(name)) {
                return Err(ModelError::DuplicateName { stage: label });
            }
            shapes.push(stage.check(shapes.last().copied(), &label)?);
            if self.base.is_none() && stage.joins_base() {
                return Err(ModelError::NothingToJoin { stage: label });
            }
            let after_conv = matches!(self.stages[index.saturating_sub(1)], StageLayout::Conv(_));
            match stage {
                StageLayout::PixelShuffle(_) if !after_conv => {
                    return Err(ModelError::ShuffleOrder { stage: label });
                }
                StageLayout::PixelShuffle(_) | StageLayout::Conv(_) => {}
                _ if index + 1 == count => return Err(ModelError::LastStage { stage: label }),
                _ => {}
            }
        }
        let last = shapes[count - 1];
        if last != Shape::FRAME {
            return Err(ModelError::Output {
                channels: last.channels,
                side: last.side,
            });
        }
        if let Some(base) = &self.base {
            base.check(shapes[0])?;
            if !matches!(self.stages[1], StageLayout::Conv(_)) {
                let stage = self.stages[1].label(1);
                return Err(ModelError::AfterBase { stage });
            }
        }
        Ok(shapes)
    }

    /// The first stage, which a checked network has.
    ///
    /// # Panics
    /// If the layout was made by hand and begins with another stage.
    pub fn first(&self) -> &PatchLinear {
        match &self.stages[0] {
            StageLayout::PatchLinear(first) => first,
            _ => unreachable!("a checked layout begins with patch_linear"),
        }
    }

    /// Where the stage `index` of a checked network stands, given its output.
    pub(crate) fn place(&self, index: usize, output: Shape) -> Place {
        let after = self.stages.get(index + 1);
        Place {
            label: self.stages[index].label(index),
            output,
            shuffled_by: after.map_or(1, StageLayout::shuffles_by),
        }
    }
}

impl BaseLayout {
    fn check(&self, first: Shape) -> Result<(), ModelError> {
        let checks = Checks { stage: "base" };
        let factor = first.pixels();
        let equal = |field, found, allowed: usize| {
            checks.field(field, found, found == allowed, || allowed.to_string())
        };
        equal("factor", self.factor, factor)?;
        equal(
            "channels",
            self.channels,
            Shape::FRAME.channels * factor * factor,
        )?;
        equal("channels", self.channels, first.channels)?;
        Ok(())
    }
}
