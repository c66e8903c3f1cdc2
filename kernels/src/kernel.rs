//! The ways to compute, by their names, and the choice among them.

use std::fmt;

use crate::simd::Simd;

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
    const ALL: [Self; 7] = [
        Self::Scalar,
        Self::Avx2,
        Self::AvxVnni,
        Self::Avx512Vnni,
        Self::AmxInt8,
        Self::Neon,
        Self::NeonDot,
    ];

    /// The kernels that this machine can run, slowest first; never empty.
    pub fn available() -> Vec<Self> {
        let present = |kernel: &Self| Simd::detect(*kernel).is_some();
        Self::ALL.into_iter().filter(present).collect()
    }

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

    /// The kernel that the environment names, else the fastest.
    pub fn chosen() -> Self {
        let asked = std::env::var(VARIABLE).ok();
        let available = Self::available();
        let named = (available.iter()).find(|kernel| Some(kernel.name()) == asked.as_deref());
        named.or(available.last()).copied().unwrap_or(Self::Scalar)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
