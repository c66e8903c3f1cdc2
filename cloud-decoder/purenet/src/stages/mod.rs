//! The kinds of stages, one file each: what the file says of it, its rules, how its weights are packed, how it is
//! computed and which operations it is for other engines. A new kind is a new file and a line in each list below.

mod conv;
mod join;
mod patch_linear;
mod pixel_shuffle;
mod residual;
mod stage;

use serde::Deserialize;

use crate::checks::Checks;
use crate::error::ModelError;
use crate::graph::Graph;
use crate::shape::Shape;

pub use conv::Conv;
pub(crate) use conv::Lowered as LoweredConv;
pub use join::Join;
pub use patch_linear::PatchLinear;
pub use pixel_shuffle::PixelShuffle;
pub use residual::Residual;
use stage::{Description, Drawn, Lowering};
pub(crate) use stage::{Drawing, Lower, Place, Stage, StageMaps};

/// One stage. Where it has a name, its tensors begin with it.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StageLayout {
    /// Latents to the first feature map, patch by patch.
    PatchLinear(PatchLinear),
    /// A convolution.
    Conv(Conv),
    /// x + conv2(max(0, conv1(x))).
    Residual(Residual),
    /// Channels to positions, in PyTorch's order.
    PixelShuffle(PixelShuffle),
    /// x + conv(frame of the base, unshuffled to the positions of x).
    Join(Join),
}

/// Does the same with the description of every kind but the first stage's.
macro_rules! with_description {
    ($layout:expr, $first:pat => $of_first:expr, $stage:ident => $of_others:expr) => {
        match $layout {
            $first => $of_first,
            StageLayout::Conv($stage) => $of_others,
            StageLayout::Residual($stage) => $of_others,
            StageLayout::PixelShuffle($stage) => $of_others,
            StageLayout::Join($stage) => $of_others,
        }
    };
}

fn kind<D: Description>(_: &D) -> &'static str {
    D::KIND
}

impl StageLayout {
    /// Position, kind and name, for messages.
    pub(crate) fn label(&self, index: usize) -> String {
        let kind = with_description!(self, Self::PatchLinear(_) => PatchLinear::KIND, stage => kind(stage));
        match self.name() {
            Some(name) => format!("stage {index} ({kind} `{name}`)"),
            None => format!("stage {index} ({kind})"),
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        with_description!(self, Self::PatchLinear(first) => Some(&first.name), stage => stage.name())
    }

    /// Factor of a pixel shuffle; 1 for any other stage.
    pub(crate) fn shuffles_by(&self) -> usize {
        match self {
            Self::PixelShuffle(shuffle) => shuffle.factor,
            _ => 1,
        }
    }

    /// Whether the stage reads the frame of the first one.
    pub(crate) fn joins_base(&self) -> bool {
        matches!(self, Self::Join(_))
    }

    /// Checks the stage's numbers against its input, `None` for the first, and gives its output.
    pub(crate) fn check(&self, input: Option<Shape>, label: &str) -> Result<Shape, ModelError> {
        let checks = Checks { stage: label };
        let out_of_order = || ModelError::StageOrder {
            stage: label.to_owned(),
        };
        match (self, input) {
            (Self::PatchLinear(first), None) => first.check(&checks),
            (_, None) => Err(out_of_order()),
            (stage, Some(input)) => with_description!(
                stage,
                Self::PatchLinear(_) => Err(out_of_order()),
                stage => stage.check(input, &checks)
            ),
        }
    }

    /// Packs the weights of a stage after the first, in a checked network; none for a pixel shuffle, which belongs to the
    /// convolution before it.
    pub(crate) fn lower(&self, lower: Lower<'_, '_>) -> Option<Lowering> {
        match self {
            Self::Conv(conv) => Some(conv.lower(lower).map(|stage| Box::new(stage) as Box<_>)),
            Self::Residual(residual) => Some(residual.lower(lower)),
            Self::Join(join) => Some(join.lower(lower)),
            Self::PixelShuffle(_) => None,
            Self::PatchLinear(_) => {
                unreachable!("only the first stage of a checked network is this")
            }
        }
    }

    /// Adds the stage's operations to a graph and gives its output.
    pub(crate) fn draw<G: Graph>(&self, drawing: Drawing<'_, G>) -> Drawn<G> {
        with_description!(
            self,
            Self::PatchLinear(first) => first.draw(drawing),
            stage => stage.draw(drawing)
        )
    }
}
