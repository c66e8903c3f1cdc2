//! Dot products of u8 activations and i8 weights, 16 output channels at a time; the only unsafe code of the crate. AMX is in a
//! crate of its own, [`amx`].
//!
//! Both instruction sets are exact here. `vpdpbusd` adds four u8 x i8 products to an i32 without saturating.
//! `vpmaddubsw` saturates a sum of two products at 16 bits, which |weight| <= 2 cannot reach: 2 * 255 * 2 = 1020.

use amx::Amx;

use crate::Kernel;

/// Output channels computed together.
pub(crate) const LANES: usize = 16;
/// Positions computed together at most.
pub(crate) const TILE: usize = 8;
/// Blocks of lanes computed together at most.
pub(crate) const BLOCKS: usize = 2;

/// Weights of 16 output channels for four consecutive input channels, channel by channel: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [i8; 4 * LANES]);

/// Accumulators of 16 output channels.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [i32; LANES]);

/// Where a window's 4-byte groups of activations lie, from the window's first byte.
#[derive(Debug)]
pub(crate) struct Taps {
    offsets: Vec<u32>,
    reach: usize,
}

impl Taps {
    pub(crate) fn new(offsets: Vec<u32>) -> Self {
        let reach = offsets.iter().max().map_or(0, |&last| last as usize + 4);
        Self { offsets, reach }
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }
}

/// The right instructions, proved present when made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Simd {
    isa: Isa,
    /// For dense kernels that fill tiles, if they are to be used.
    tiles: Option<Amx>,
}

#[derive(Clone, Copy, Debug)]
enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Simd {
    /// The instructions behind a kernel; none when this machine lacks them or the kernel needs none.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn detect(kernel: Kernel) -> Option<Self> {
        let avx2 = is_x86_feature_detected!("avx2");
        let vnni = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        let without_tiles = |isa| Some(Self { isa, tiles: None });
        match kernel {
            Kernel::Avx2 if avx2 => without_tiles(Isa::Avx2),
            Kernel::Avx512Vnni if vnni => without_tiles(Isa::Avx512Vnni),
            Kernel::AmxInt8 if vnni => Amx::detect().map(|amx| Self {
                isa: Isa::Avx512Vnni,
                tiles: Some(amx),
            }),
            _ => None,
        }
    }

    /// No vector instructions are used on this architecture.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn detect(_: Kernel) -> Option<Self> {
        None
    }

    /// Tiles, if they are to be used.
    pub(crate) fn tiles(self) -> Option<Amx> {
        self.tiles
    }

    /// The best of this machine's other instructions with tiles in plain code.
    #[cfg(test)]
    pub(crate) fn with_emulated_tiles() -> Option<Self> {
        let mut best = [Kernel::Avx512Vnni, Kernel::Avx2].into_iter();
        let simd = best.find_map(Self::detect)?;
        let tiles = Some(Amx::emulated());
        Some(Self { tiles, ..simd })
    }

    /// `acc[p * B + b]` = `bias[b]` plus, over all taps t, `weights[b * taps + t]` times the four bytes of `input` at
    /// `bases[p]` + tap t.
    ///
    /// # Panics
    /// When a window reaches beyond `input` or there are not B blocks of weights.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(unused_variables, reason = "no path to dispatch to")
    )]
    pub(crate) fn dot<const P: usize, const B: usize>(
        self,
        input: &[u8],
        bases: &[usize; P],
        taps: &Taps,
        weights: &[Line],
        bias: &[Lanes; B],
        acc: &mut [Lanes; TILE * BLOCKS],
    ) {
        assert!(P * B <= acc.len(), "a tile fits its accumulators");
        assert_eq!(weights.len(), B * taps.len(), "a line a tap and block");
        let last = bases.iter().max().copied().unwrap_or(0);
        assert!(
            taps.reach <= input.len() && last <= input.len() - taps.reach,
            "windows lie in the map"
        );
        match self.isa {
            // SAFETY: `detect` found AVX2. The asserts above bound every read: input[base + offset..][..4] since
            // offset + 4 <= reach, and weights[b * taps + t]; writes are to acc[..P * B].
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe {
                x86::dot_avx2::<P, B>(input, bases, &taps.offsets, weights, bias, acc)
            },
            // SAFETY: `detect` found AVX-512 F and VNNI; bounds as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe {
                x86::dot_avx512vnni::<P, B>(input, bases, &taps.offsets, weights, bias, acc)
            },
        }
    }
}

impl Simd {
    /// Operations, two a multiply-accumulate, of so many rounds of nothing but multiply-accumulates in vector registers.
    pub(crate) fn spin(self, rounds: u64) -> u64 {
        match self.isa {
            // SAFETY: `detect` found AVX2.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::spin_avx2(rounds) },
            // SAFETY: `detect` found AVX-512 F and VNNI.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { x86::spin_avx512vnni(rounds) },
        }
    }

    /// Does the work in a function compiled for the instructions.
    #[inline]
    pub(crate) fn vectorized(self, work: impl Work) {
        match self.isa {
            // SAFETY: `detect` found AVX2.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::vectorized_avx2(work) },
            // SAFETY: `detect` found AVX-512 F and BW.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { x86::vectorized_avx512(work) },
        }
    }
}

/// Plain loops that the compiler makes vector instructions of.
pub(crate) trait Work {
    /// To be marked `#[inline(always)]`, as all that it calls: only what is inlined is compiled for the instructions.
    fn run(self);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BLOCKS, LANES, Lanes, Line, TILE, Work};

    /// # Safety
    /// AVX-512 F and VNNI are present.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn spin_avx512vnni(rounds: u64) -> u64 {
        let ones = std::hint::black_box(_mm512_set1_epi8(1));
        let mut sums = [_mm512_setzero_si512(); 16];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, ones, ones);
            }
        }
        std::hint::black_box(sums);
        rounds * 16 * 2 * 64
    }

    /// # Safety
    /// AVX2 is present.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn spin_avx2(rounds: u64) -> u64 {
        let ones = std::hint::black_box(_mm256_set1_epi8(1));
        let pairs = std::hint::black_box(_mm256_set1_epi16(1));
        let mut sums = [_mm256_setzero_si256(); 12];
        for _ in 0..rounds {
            for sum in &mut sums {
                // What is multiplied changes, or the products would be made once for all.
                let products = _mm256_maddubs_epi16(ones, *sum);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(products, pairs));
            }
        }
        std::hint::black_box(sums);
        rounds * 12 * 2 * 32
    }

    /// # Safety
    /// AVX2 is present.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn vectorized_avx2(work: impl Work) {
        work.run();
    }

    /// # Safety
    /// AVX-512 F and BW are present.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) unsafe fn vectorized_avx512(work: impl Work) {
        work.run();
    }

    /// # Safety
    /// AVX-512 F and VNNI are present; `base + offset + 4 <= input.len()` for every base and offset;
    /// `weights` holds `B * offsets.len()` lines; `P * B <= TILE * BLOCKS`.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn dot_avx512vnni<const P: usize, const B: usize>(
        input: &[u8],
        bases: &[usize; P],
        offsets: &[u32],
        weights: &[Line],
        bias: &[Lanes; B],
        acc: &mut [Lanes; TILE * BLOCKS],
    ) {
        // SAFETY: `Lanes` is 16 i32, the size and alignment of a 512-bit register.
        let start: [__m512i; B] =
            std::array::from_fn(|b| unsafe { _mm512_load_si512((&raw const bias[b]).cast()) });
        let mut sums = [start; P];
        let windows: [*const u8; P] = bases.map(|base| input.as_ptr().wrapping_add(base));
        for (t, &offset) in offsets.iter().enumerate() {
            let mut lines = [_mm512_setzero_si512(); B];
            for (b, line) in lines.iter_mut().enumerate() {
                // SAFETY: the caller's bound on `weights`; `Line` is 64 aligned bytes.
                *line = unsafe {
                    _mm512_load_si512(weights.as_ptr().add(b * offsets.len() + t).cast())
                };
            }
            for (sums, window) in sums.iter_mut().zip(windows) {
                // SAFETY: the caller's bound on bases and offsets.
                let four = unsafe { window.add(offset as usize).cast::<i32>().read_unaligned() };
                let activations = _mm512_set1_epi32(four);
                for (sum, &line) in sums.iter_mut().zip(&lines) {
                    *sum = _mm512_dpbusd_epi32(*sum, activations, line);
                }
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            for (b, &sum) in sums.iter().enumerate() {
                // SAFETY: `Lanes` is 64 aligned bytes; the index is checked.
                unsafe { _mm512_store_si512((&raw mut acc[p * B + b]).cast(), sum) };
            }
        }
    }

    /// Positions that fit the sixteen AVX2 registers with two halves of 16 lanes each.
    const PAIR: usize = 4;

    /// # Safety
    /// AVX2 is present; otherwise as [`dot_avx512vnni`].
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn dot_avx2<const P: usize, const B: usize>(
        input: &[u8],
        bases: &[usize; P],
        offsets: &[u32],
        weights: &[Line],
        bias: &[Lanes; B],
        acc: &mut [Lanes; TILE * BLOCKS],
    ) {
        for (first, bases) in bases.chunks(PAIR).enumerate() {
            // A short chunk computes its last position again.
            let windows: [*const u8; PAIR] =
                std::array::from_fn(|p| input.as_ptr().wrapping_add(bases[p.min(bases.len() - 1)]));
            for (b, bias) in bias.iter().enumerate() {
                let lines = &weights[b * offsets.len()..(b + 1) * offsets.len()];
                // SAFETY: the caller's bound on bases and offsets, as each window starts at one of the bases.
                let sums = unsafe { dot_avx2_block(&windows, offsets, lines, bias) };
                for (p, sums) in sums.iter().take(bases.len()).enumerate() {
                    acc[(first * PAIR + p) * B + b] = *sums;
                }
            }
        }
    }

    /// # Safety
    /// AVX2 is present; four bytes can be read at every window plus offset.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn dot_avx2_block(
        windows: &[*const u8; PAIR],
        offsets: &[u32],
        lines: &[Line],
        bias: &Lanes,
    ) -> [Lanes; PAIR] {
        let ones = _mm256_set1_epi16(1);
        let halves = |lanes: *const __m256i| {
            // SAFETY: called on `Line` and `Lanes`, both 64 aligned bytes.
            unsafe { [_mm256_load_si256(lanes), _mm256_load_si256(lanes.add(1))] }
        };
        let mut sums = [halves((&raw const *bias).cast()); PAIR];
        for (&offset, line) in offsets.iter().zip(lines) {
            let line = halves((&raw const *line).cast());
            for (sums, window) in sums.iter_mut().zip(windows) {
                // SAFETY: the caller's promise.
                let four = unsafe { window.add(offset as usize).cast::<i32>().read_unaligned() };
                let activations = _mm256_set1_epi32(four);
                for (sum, line) in sums.iter_mut().zip(line) {
                    let pairs = _mm256_maddubs_epi16(activations, line);
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
        sums.map(|halves| {
            let mut lanes = Lanes([0; LANES]);
            // SAFETY: `Lanes` is 64 aligned bytes.
            unsafe {
                _mm256_store_si256((&raw mut lanes).cast(), halves[0]);
                _mm256_store_si256((&raw mut lanes).cast::<__m256i>().add(1), halves[1]);
            }
            lanes
        })
    }
}
