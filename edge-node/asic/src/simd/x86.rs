//! AVX2 and AVX-512 with VNNI.

use std::arch::x86_64::*;

use super::lanes::{BLOCKS, LANES, Lanes, Line, TILE, Work};

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
    let mut sums = [_mm256_setzero_si256(); 12];
    for _ in 0..rounds {
        for sum in &mut sums {
            // The factor changes each time, or the compiler would compute the products once.
            *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(ones, *sum));
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
            *line =
                unsafe { _mm512_load_si512(weights.as_ptr().add(b * offsets.len() + t).cast()) };
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
/// AVX2 is present; the products of `run` taps fit 16 bits; otherwise as [`dot_avx512vnni`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn dot_avx2<const P: usize, const B: usize>(
    input: &[u8],
    bases: &[usize; P],
    offsets: &[u32],
    run: usize,
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
            let sums = unsafe { dot_avx2_block(&windows, offsets, run, lines, bias) };
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
    run: usize,
    lines: &[Line],
    bias: &Lanes,
) -> [Lanes; PAIR] {
    let ones = _mm256_set1_epi16(1);
    let halves = |lanes: *const __m256i| {
        // SAFETY: called on `Line` and `Lanes`, both 64 aligned bytes.
        unsafe { [_mm256_load_si256(lanes), _mm256_load_si256(lanes.add(1))] }
    };
    let mut sums = [halves((&raw const *bias).cast()); PAIR];
    for (offsets, lines) in offsets.chunks(run).zip(lines.chunks(run)) {
        let mut pairs = [[_mm256_setzero_si256(); 2]; PAIR];
        for (&offset, line) in offsets.iter().zip(lines) {
            let line = halves((&raw const *line).cast());
            for (pairs, window) in pairs.iter_mut().zip(windows) {
                // SAFETY: the caller's promise.
                let four = unsafe { window.add(offset as usize).cast::<i32>().read_unaligned() };
                let activations = _mm256_set1_epi32(four);
                for (pairs, line) in pairs.iter_mut().zip(line) {
                    *pairs = _mm256_add_epi16(*pairs, _mm256_maddubs_epi16(activations, line));
                }
            }
        }
        for (sums, pairs) in sums.iter_mut().zip(pairs) {
            for (sum, pairs) in sums.iter_mut().zip(pairs) {
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
