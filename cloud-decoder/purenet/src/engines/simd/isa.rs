//! Instruction sets, and the choice of code for each.

use std::time::Instant;

#[cfg(target_arch = "aarch64")]
use super::aarch64;
use super::lanes::{Lanes, PANEL, SMALL_TILE, WIDTH, Windows, Work};
use super::portable;
#[cfg(target_arch = "x86_64")]
use super::x86_64;

/// Runs that [`Isa::peak`] takes the fastest of, and their length: some milliseconds.
const PEAK_RUNS: u32 = 20;
const PEAK_ROUNDS: u64 = 1_000_000;

/// Tiles of a transformed block, about: more meet each weight that is loaded, fewer stay in the second-level cache.
const BLOCK: usize = 36;

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// AVX2 with FMA, if this machine has it.
    pub(crate) fn avx2() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Some(Self::Avx2);
        }
        None
    }

    /// AVX-512, if this machine has it.
    pub(crate) fn avx512() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            return Some(Self::Avx512);
        }
        None
    }

    /// NEON, if this machine has it.
    pub(crate) fn neon() -> Option<Self> {
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            return Some(Self::Neon);
        }
        None
    }

    /// The fastest that this machine has.
    pub(crate) fn best() -> Self {
        let fast = Self::avx512().or_else(Self::avx2).or_else(Self::neon);
        fast.unwrap_or(Self::Portable)
    }

    /// Operations, two per multiply-accumulate, of so many rounds of multiply-accumulates in registers alone; none
    /// without vector instructions.
    fn spin(self, rounds: u64) -> Option<u64> {
        match self {
            Self::Portable => None,
            // SAFETY: this value exists only where the CPU has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Some(unsafe { x86_64::spin_avx2(rounds) }),
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Some(unsafe { x86_64::spin_avx512(rounds) }),
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Some(unsafe { aarch64::spin(rounds) }),
        }
    }

    /// The fastest of some runs of [`Self::spin`], in operations a second.
    pub(crate) fn peak(self) -> Option<f64> {
        let measured = (0..PEAK_RUNS).filter_map(|_| {
            let started = Instant::now();
            let operations = self.spin(PEAK_ROUNDS)?;
            Some(operations as f64 / started.elapsed().as_secs_f64())
        });
        measured.max_by(f64::total_cmp)
    }

    /// Pixels of the tile that fills the registers.
    pub(crate) fn tile(self) -> usize {
        match self {
            Self::Portable => SMALL_TILE,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86_64::AVX2_TILE,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86_64::AVX512_TILE,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => aarch64::TILE,
        }
    }

    /// Tiles of a transformed block: some full tiles of the kernel.
    pub(crate) fn block(self) -> usize {
        self.tile() * (BLOCK / self.tile()).max(1)
    }

    /// Runs `work` in code compiled for this instruction set.
    pub(crate) fn apply(self, work: impl Work) {
        match self {
            Self::Portable => work.run::<[f32; WIDTH]>(),
            // SAFETY: this value exists only where the CPU has the instructions.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86_64::apply_avx2(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86_64::apply_avx512(work) },
            // All code is compiled for NEON on this architecture.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => work.run::<aarch64::Quads>(),
        }
    }

    /// The sums of one panel over the windows of consecutive pixels, one for each of `sums`. Only the first `outputs`
    /// lanes, rounded up to 16, are defined.
    ///
    /// # Panics
    /// If a window leaves the input or the weights do not match.
    pub(crate) fn multiply(
        self,
        windows: Windows<'_>,
        weights: &[Lanes],
        outputs: usize,
        sums: &mut [Lanes],
    ) {
        self.products(windows, weights, outputs, sums, false);
    }

    /// The same, added to the values in `sums`.
    ///
    /// # Panics
    /// As [`Isa::multiply`].
    pub(crate) fn multiply_onto(
        self,
        windows: Windows<'_>,
        weights: &[Lanes],
        outputs: usize,
        sums: &mut [Lanes],
    ) {
        self.products(windows, weights, outputs, sums, true);
    }

    fn products(
        self,
        windows: Windows<'_>,
        weights: &[Lanes],
        outputs: usize,
        sums: &mut [Lanes],
        onto: bool,
    ) {
        windows.check(sums.len(), weights);
        let wide = outputs > PANEL / 2;
        let mut start = 0;
        // As many full tiles as there are, and the rest in small ones.
        for width in [self.tile(), SMALL_TILE, 1] {
            while start + width <= sums.len() {
                let tile = &mut sums[start..][..width];
                self.tile_products(windows.skip(start), weights, wide, tile, onto);
                start += width;
            }
        }
    }

    /// One tile; `sums` has one entry per pixel: 1, 4 or the full tile. `windows.check` passed.
    fn tile_products(
        self,
        windows: Windows<'_>,
        weights: &[Lanes],
        wide: bool,
        sums: &mut [Lanes],
        onto: bool,
    ) {
        match self {
            Self::Portable => portable::multiply(windows, weights, wide, sums, onto),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this value exists only where the CPU has the instructions, and `check` passed.
            Self::Avx2 => unsafe { x86_64::avx2(windows, weights, wide, sums, onto) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx512 => unsafe { x86_64::avx512(windows, weights, wide, sums, onto) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Self::Neon => unsafe { aarch64::neon(windows, weights, wide, sums, onto) },
        }
    }
}
