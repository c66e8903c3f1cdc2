//! Kinds of weights, outputs, map elements and programs.

use std::fmt;

/// The set a layer's weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightKind {
    /// -1, 1 in 1 bit.
    Binary,
    /// -1, 0, 1 in 2 bits.
    Ternary,
    /// -2 to 2 in 3 bits.
    Quinary,
}

impl WeightKind {
    /// Bits a packed weight takes.
    pub fn bits(self) -> u32 {
        match self {
            Self::Binary => 1,
            Self::Ternary => 2,
            Self::Quinary => 3,
        }
    }

    /// Every value of the set, ascending.
    pub fn levels(self) -> &'static [i8] {
        match self {
            Self::Binary => &[-1, 1],
            Self::Ternary => &[-1, 0, 1],
            Self::Quinary => &[-2, -1, 0, 1, 2],
        }
    }

    pub(crate) fn values(self) -> &'static str {
        match self {
            Self::Binary => "-1 or 1",
            Self::Ternary => "-1 to 1",
            Self::Quinary => "-2 to 2",
        }
    }
}

impl fmt::Display for WeightKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Ternary => "ternary",
            Self::Quinary => "quinary",
        })
    }
}

/// The output that a layer makes of its accumulators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputKind {
    /// 2-bit codes: clamp(acc >> shift, 0, 3).
    Codes,
    /// One bit: acc >= 0.
    Latent,
    /// The accumulator as it is.
    Logits,
}

impl fmt::Display for OutputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Codes => "codes",
            Self::Latent => "latent bits",
            Self::Logits => "logits",
        })
    }
}

/// The kind of a feature map's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// A pixel value, 0 to 255.
    Pixel,
    /// A 2-bit code, 0 to 3.
    Code,
    /// One latent bit.
    Latent,
    /// A 32-bit logit.
    Logit,
}

impl Element {
    /// Bits one element takes on the chip.
    pub fn bits(self) -> u32 {
        match self {
            Self::Pixel => 8,
            Self::Code => 2,
            Self::Latent => 1,
            Self::Logit => 32,
        }
    }
}

/// The output that a program makes of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// One logit per label.
    Classify,
    /// A fixed number of latent bits.
    Compress,
}

impl Task {
    /// The output of such a program's last layer.
    pub fn output(self) -> OutputKind {
        match self {
            Self::Classify => OutputKind::Logits,
            Self::Compress => OutputKind::Latent,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classify => "classification",
            Self::Compress => "compression",
        })
    }
}
