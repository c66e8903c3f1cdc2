//! The ways to compute, by their names, and the choice among them.

use std::fmt;

/// The environment variable that chooses the kernel of every emulator and decoder by its [name](Kernel::name). A name
/// that this machine cannot run is ignored.
pub const VARIABLE: &str = "PATCHWIRE_KERNEL";

/// A way to compute. All give the same sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Plain code.
    Scalar,
    /// AVX2: `vpmaddubsw` and `vpmaddwd`.
    Avx2,
    /// AVX-VNNI: `vpdpbusd` on 256 bits.
    AvxVnni,
    /// AVX-512 with VNNI: `vpdpbusd` on 512 bits.
    Avx512Vnni,
    /// AMX: `tdpbusd`, and AVX-512 with VNNI where windows do not fill tiles.
    AmxInt8,
    /// NEON: `smull` and `sadalp`.
    Neon,
    /// NEON with the dot product: `sdot`.
    NeonDot,
}

impl Kernel {
    pub(crate) const ALL: [Self; 7] = [
        Self::Scalar,
        Self::Avx2,
        Self::AvxVnni,
        Self::Avx512Vnni,
        Self::AmxInt8,
        Self::Neon,
        Self::NeonDot,
    ];

    /// `scalar`, `avx2`, `avxvnni`, `avx512vnni`, `amxint8`, `neon` or `neondot`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
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
