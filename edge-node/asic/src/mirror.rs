//! Mirrored kernels: half of a convolution is stored, the other half is its mirror image.
//!
//! A network of such layers treats a patch and its mirror image alike with half the stored weights. The idea is of
//! Cohen and Welling, "Group equivariant convolutional networks", 2016, for the group of one reflection.

use crate::checks::value;
use crate::error::ProgramError;
use crate::kinds::Element;
use crate::shapes::{ConvSpec, Map};

/// Which half of a convolution is the mirror image of the other: its kernels with their columns in reverse order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mirror {
    /// The second half of the output channels: their kernels read the first half of the input channels where those of
    /// the first half read the second, and the other way round; pixels, which have no halves, stay where they are.
    /// Biases are the same.
    Outputs,
    /// The second half of the input channels: every kernel's weights there are those of the first half.
    Inputs,
}

impl Mirror {
    /// The field of the file.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Outputs => 1,
            Self::Inputs => 2,
        }
    }

    /// Checks a mirrored convolution that shares and prunes no kernels and whose shape is right.
    pub(crate) fn check(
        self,
        layer: usize,
        spec: &ConvSpec,
        input: Map,
    ) -> Result<(), ProgramError> {
        value(layer, "groups", spec.groups, spec.groups == 1, || {
            "1 where kernels are mirrored".into()
        })?;
        let even = |name, channels: u32| {
            value(layer, name, channels, channels.is_multiple_of(2), || {
                "an even number where kernels are mirrored".into()
            })
        };
        if self == Self::Outputs {
            even("out_channels", spec.out_channels)?;
        }
        if self == Self::Inputs || input.element != Element::Pixel {
            even("input channels", input.channels)?;
        }
        Ok(())
    }
}
