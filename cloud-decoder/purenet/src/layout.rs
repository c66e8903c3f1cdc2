//! The network description of the metadata, and its rules.

use crate::{MAX_CHANNELS, MAX_STAGES, ModelError, PATCH};
use serde::Deserialize;
use std::collections::HashSet;

/// Most hidden units of the first stage.
const MAX_HIDDEN: usize = 4096;

/// The network of a decoder: the `stages` metadata, as it is written (`docs/formats.md`, "Decoder").
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// What happens one after the other; the first is [`StageLayout::PatchLinear`], and only it.
    pub stages: Vec<StageLayout>,
    /// The skip connection from the first stage to the frame, if there is one.
    pub base: Option<BaseLayout>,
}

/// One stage. Where it has a name, its tensors begin with it.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum StageLayout {
    /// Latents to the first feature map, patch by patch.
    PatchLinear {
        /// Prefix of its tensors.
        name: String,
        /// Latent bits a patch.
        bits: usize,
        /// Fewer bits that suffice too, increasing.
        #[serde(default)]
        prefixes: Vec<usize>,
        /// Units of the layer before the last one, which ends in max(0, x); none: there is only the last one.
        hidden: Option<usize>,
        /// Positions along the side of a patch.
        grid: usize,
        /// Channels of a position.
        channels: usize,
    },
    /// A convolution.
    Conv {
        /// Prefix of its tensors.
        name: String,
        /// Input channels.
        #[serde(rename = "in")]
        input: usize,
        /// Output channels.
        #[serde(rename = "out")]
        output: usize,
        /// Rows and columns of a kernel.
        kernel: usize,
        /// Whether max(0, x) follows.
        relu: bool,
    },
    /// x + conv2(max(0, conv1(x))).
    Residual {
        /// Prefix of `.conv1` and `.conv2`.
        name: String,
        /// Channels of all three maps.
        channels: usize,
        /// Rows and columns of a kernel.
        kernel: usize,
    },
    /// Channels to positions, PyTorch's order.
    PixelShuffle {
        /// By which sides grow.
        factor: usize,
    },
    /// x + conv(frame of the base, unshuffled to the positions of x).
    Join {
        /// Prefix of its tensors.
        name: String,
        /// Values of a position's pixels.
        #[serde(rename = "in")]
        input: usize,
        /// Channels of x.
        channels: usize,
        /// Rows and columns of a kernel.
        kernel: usize,
    },
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

/// Shape of a feature map, per patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Positions along the side of a patch.
    pub(crate) side: usize,
    pub(crate) channels: usize,
}

impl Shape {
    /// Values a patch.
    pub(crate) fn values(self) -> usize {
        self.side * self.side * self.channels
    }
}

impl StageLayout {
    /// Position, kind and name, for messages.
    pub(crate) fn label(&self, index: usize) -> String {
        match self {
            Self::PatchLinear { name, .. } => format!("stage {index} (patch_linear `{name}`)"),
            Self::Conv { name, .. } => format!("stage {index} (conv `{name}`)"),
            Self::Residual { name, .. } => format!("stage {index} (residual `{name}`)"),
            Self::PixelShuffle { .. } => format!("stage {index} (pixel_shuffle)"),
            Self::Join { name, .. } => format!("stage {index} (join `{name}`)"),
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::PatchLinear { name, .. }
            | Self::Conv { name, .. }
            | Self::Residual { name, .. }
            | Self::Join { name, .. } => Some(name),
            Self::PixelShuffle { .. } => None,
        }
    }

    /// Checks the stage's numbers against its input, `None` for the first, and gives its output.
    fn output(&self, input: Option<Shape>, label: &str) -> Result<Shape, ModelError> {
        let field = |field, found, ok: bool, allowed: &dyn Fn() -> String| {
            let stage = label.to_owned();
            let refused = || ModelError::Field {
                stage,
                field,
                found,
                allowed: allowed(),
            };
            if ok { Ok(found) } else { Err(refused()) }
        };
        let channels = |name, found| {
            field(name, found, (1..=MAX_CHANNELS).contains(&found), &|| {
                format!("1 to {MAX_CHANNELS}")
            })
        };
        let kernel = |found| {
            field("kernel", found, [1, 3, 5].contains(&found), &|| {
                "1, 3 or 5".into()
            })
        };
        let chained = |name, found, input: Shape| {
            field(name, found, found == input.channels, &|| {
                format!("{}, the channels of the stage before", input.channels)
            })
        };
        match (self, input) {
            (
                &Self::PatchLinear {
                    bits,
                    ref prefixes,
                    hidden,
                    grid,
                    channels: count,
                    ..
                },
                None,
            ) => {
                let bits_ok = (8..=4096).contains(&bits) && bits.is_multiple_of(8);
                field("bits", bits, bits_ok, &|| {
                    "a multiple of 8 from 8 to 4096".into()
                })?;
                let mut least = 8;
                for &prefix in prefixes {
                    let prefix_ok = (least..bits).contains(&prefix) && prefix.is_multiple_of(8);
                    field("prefixes", prefix, prefix_ok, &|| {
                        format!("multiples of 8 below {bits}, each more than the one before")
                    })?;
                    least = prefix + 8;
                }
                if let Some(hidden) = hidden {
                    let hidden_ok = (1..=MAX_HIDDEN).contains(&hidden);
                    field("hidden", hidden, hidden_ok, &|| {
                        format!("1 to {MAX_HIDDEN}")
                    })?;
                }
                let grid_ok = grid.is_power_of_two() && grid <= PATCH;
                field("grid", grid, grid_ok, &|| "1, 2, 4, 8, 16 or 32".into())?;
                Ok(Shape {
                    side: grid,
                    channels: channels("channels", count)?,
                })
            }
            (
                &Self::Conv {
                    input: from,
                    output,
                    kernel: size,
                    ..
                },
                Some(input),
            ) => {
                chained("in", from, input)?;
                kernel(size)?;
                Ok(Shape {
                    channels: channels("out", output)?,
                    ..input
                })
            }
            (
                &Self::Residual {
                    channels: count,
                    kernel: size,
                    ..
                },
                Some(input),
            ) => {
                chained("channels", count, input)?;
                kernel(size)?;
                Ok(input)
            }
            (&Self::PixelShuffle { factor }, Some(input)) => {
                let most = PATCH / input.side;
                let range_ok = factor.is_power_of_two() && (2..=most).contains(&factor);
                field("factor", factor, range_ok, &|| {
                    format!("a power of two from 2 to {most}, up to 32 positions a patch")
                })?;
                field(
                    "factor",
                    factor,
                    input.channels.is_multiple_of(factor * factor),
                    &|| format!("one whose square divides {} channels", input.channels),
                )?;
                let channels = input.channels / (factor * factor);
                Ok(Shape {
                    side: input.side * factor,
                    channels,
                })
            }
            (
                &Self::Join {
                    input: from,
                    channels: count,
                    kernel: size,
                    ..
                },
                Some(input),
            ) => {
                let factor = PATCH / input.side;
                let pixels = 3 * factor * factor;
                field("in", from, from == pixels, &|| {
                    format!("{pixels}, the RGB pixels of a position")
                })?;
                chained("channels", count, input)?;
                kernel(size)?;
                Ok(input)
            }
            _ => Err(ModelError::StageOrder {
                stage: label.to_owned(),
            }),
        }
    }
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
            shapes.push(stage.output(shapes.last().copied(), &label)?);
            if self.base.is_none() && matches!(stage, StageLayout::Join { .. }) {
                return Err(ModelError::NothingToJoin { stage: label });
            }
        }
        let last = shapes[count - 1];
        if last
            != (Shape {
                side: PATCH,
                channels: 3,
            })
        {
            return Err(ModelError::Output {
                channels: last.channels,
                side: last.side,
            });
        }
        if let Some(base) = &self.base {
            base.check(shapes[0])?;
        }
        Ok(shapes)
    }
}

impl BaseLayout {
    fn check(&self, first: Shape) -> Result<(), ModelError> {
        let factor = PATCH / first.side;
        let field = |field, found, allowed: usize| {
            let stage = "base".to_owned();
            let refused = ModelError::Field {
                stage,
                field,
                found,
                allowed: allowed.to_string(),
            };
            if found == allowed {
                Ok(())
            } else {
                Err(refused)
            }
        };
        field("factor", self.factor, factor)?;
        field("channels", self.channels, 3 * factor * factor)?;
        field("channels", self.channels, first.channels)
    }
}
