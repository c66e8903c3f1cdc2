//! The names of the ways to compute.

use std::fmt;

/// A way to compute; all give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// The reference model itself.
    Scalar,
    /// AVX2: `vpmaddubsw` and `vpmaddwd`.
    Avx2,
    /// AVX-512 with VNNI: `vpdpbusd`.
    Avx512Vnni,
    /// AMX: `tdpbusd`, and AVX-512 with VNNI where kernels do not fill tiles.
    AmxInt8,
    /// NEON: `smull`, `addp` and `sadalp`.
    Neon,
    /// NEON with the dot product: `sdot`.
    NeonDot,
}

impl Kernel {
    /// `scalar`, `avx2`, `avx512vnni`, `amxint8`, `neon` or `neondot`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512Vnni => "avx512vnni",
            Self::AmxInt8 => "amxint8",
            Self::Neon => "neon",
            Self::NeonDot => "neondot",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
