//! The ways to compute, and the choice among them.

use std::fmt;

use amx::Amx;
use half::bf16;

use crate::engines::simd::Isa;
use crate::engines::tiled::Tiles;

/// The environment variable that chooses the path of every
/// [`Decoder::from_safetensors`](crate::Decoder::from_safetensors).
const PATH_VARIABLE: &str = "PURENET_PATH";

/// A way to compute. Those in full precision agree to about 1e-5 of a pixel's range; `AmxBf16` is less precise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// Plain code.
    Portable,
    /// AVX2 with FMA, in full precision.
    Avx2,
    /// AVX-512, in full precision.
    Avx512,
    /// AMX: values and weights in bf16, sums in full precision.
    AmxBf16,
    /// NEON, in full precision.
    Neon,
}

/// The engine of a kernel, with instructions that this machine has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice {
    Full(Isa),
    Tiles(Tiles),
}

impl Kernel {
    const ALL: [Self; 5] = [
        Self::Portable,
        Self::Avx2,
        Self::Avx512,
        Self::AmxBf16,
        Self::Neon,
    ];

    /// The paths this machine can run, slowest first; never empty.
    pub fn available() -> Vec<Self> {
        let present = |kernel: &Self| kernel.detect().is_some();
        Self::ALL.into_iter().filter(present).collect()
    }

    /// `portable`, `avx2`, `avx512`, `amxbf16` or `neon`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::AmxBf16 => "amxbf16",
            Self::Neon => "neon",
        }
    }

    /// The measured peak of one core of this machine on this path, in operations per second, two per
    /// multiply-accumulate, of its instructions on registers alone. None for the portable path and for those that this
    /// machine cannot run.
    pub fn peak(self) -> Option<f64> {
        match self.detect()? {
            Choice::Full(isa) => isa.peak(),
            Choice::Tiles(tiles) => tiles.amx.peak::<bf16>(),
        }
    }

    pub(crate) fn detect(self) -> Option<Choice> {
        match self {
            Self::Portable => Some(Choice::Full(Isa::Portable)),
            Self::Avx2 => Isa::avx2().map(Choice::Full),
            Self::Avx512 => Isa::avx512().map(Choice::Full),
            Self::AmxBf16 => Amx::detect().map(|amx| {
                let isa = Isa::best();
                Choice::Tiles(Tiles { amx, isa })
            }),
            Self::Neon => Isa::neon().map(Choice::Full),
        }
    }

    /// The path that the environment names, else the fastest. A path that this machine cannot run is ignored.
    pub(crate) fn choose() -> Self {
        let asked = std::env::var(PATH_VARIABLE).ok();
        let available = Self::available();
        let named = (available.iter()).find(|kernel| Some(kernel.name()) == asked.as_deref());
        named
            .or(available.last())
            .copied()
            .unwrap_or(Self::Portable)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
