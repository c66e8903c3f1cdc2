//! The peak of one core with each kernel: nothing but its multiply-accumulates, on registers alone.
#![allow(
    unsafe_code,
    reason = "the instructions are reached through intrinsics and assembly"
)]

use std::time::Instant;

use kernels::{Kernel, Simd};

/// Runs, of which the fastest counts, and their length: some milliseconds.
const RUNS: u32 = 20;
const ROUNDS: u64 = 1_000_000;

/// Operations a second, two per multiply-accumulate of bytes; none for plain code and for kernels that this machine
/// lacks.
pub(super) fn of(kernel: Kernel) -> Option<f64> {
    Simd::detect(kernel)?;
    let measured = (0..RUNS).filter_map(|_| {
        let started = Instant::now();
        let operations = spin(kernel, ROUNDS)?;
        Some(operations as f64 / started.elapsed().as_secs_f64())
    });
    measured.max_by(f64::total_cmp)
}

/// Operations of so many rounds on a kernel that was found present.
#[cfg(target_arch = "x86_64")]
fn spin(kernel: Kernel, rounds: u64) -> Option<u64> {
    // SAFETY: `of` has found the kernel's instructions.
    unsafe {
        match kernel {
            Kernel::Avx2 => Some(x86::avx2(rounds)),
            Kernel::AvxVnni => Some(x86::avxvnni(rounds)),
            Kernel::Avx512Vnni => Some(x86::avx512vnni(rounds)),
            Kernel::AmxInt8 => Some(x86::amxint8(rounds)),
            _ => None,
        }
    }
}

/// Operations of so many rounds on a kernel that was found present.
#[cfg(target_arch = "aarch64")]
fn spin(kernel: Kernel, rounds: u64) -> Option<u64> {
    // SAFETY: `of` has found the kernel's instructions.
    unsafe {
        match kernel {
            Kernel::Neon => Some(arm::neon(rounds)),
            Kernel::NeonDot => Some(arm::neondot(rounds)),
            _ => None,
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn spin(_: Kernel, _: u64) -> Option<u64> {
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// Sums in 16 bits, as the kernel adds them up while they fit. A factor changes each time, or the compiler would
    /// compute the products once.
    #[target_feature(enable = "avx2")]
    pub(super) fn avx2(rounds: u64) -> u64 {
        let ones = black_box(_mm256_set1_epi8(1));
        let mut sums = [_mm256_setzero_si256(); 12];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(ones, *sum));
            }
        }
        black_box(sums);
        rounds * 12 * 2 * 32
    }

    #[target_feature(enable = "avx2,avxvnni")]
    pub(super) fn avxvnni(rounds: u64) -> u64 {
        let ones = black_box(_mm256_set1_epi8(1));
        let mut sums = [_mm256_setzero_si256(); 12];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_dpbusd_avx_epi32(*sum, ones, ones);
            }
        }
        black_box(sums);
        rounds * 12 * 2 * 32
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn avx512vnni(rounds: u64) -> u64 {
        let ones = black_box(_mm512_set1_epi8(1));
        let mut sums = [_mm512_setzero_si512(); 16];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, ones, ones);
            }
        }
        black_box(sums);
        rounds * 16 * 2 * 64
    }

    /// Eight tiles of 16 rows of 64 bytes.
    #[repr(C, align(64))]
    struct Config([u8; 64]);

    /// Four independent products of tiles a round; a fifth of the rounds, which are longer.
    ///
    /// # Safety
    /// The CPU has AMX, this process may use tiles, and there is a round.
    pub(super) unsafe fn amxint8(rounds: u64) -> u64 {
        let rounds = rounds / 5;
        let mut config = Config([0; 64]);
        config.0[0] = 1;
        for tile in 0..8 {
            config.0[16 + 2 * tile] = 64;
            config.0[48 + tile] = 16;
        }
        // SAFETY: reads only the configuration; all tile registers are released at the end.
        unsafe {
            asm!(
                "ldtilecfg [{config}]",
                "2:",
                "tdpbusd tmm0, tmm4, tmm6",
                "tdpbusd tmm2, tmm5, tmm6",
                "tdpbusd tmm1, tmm4, tmm7",
                "tdpbusd tmm3, tmm5, tmm7",
                "dec {rounds}",
                "jnz 2b",
                "tilerelease",
                config = in(reg) &config,
                rounds = inout(reg) rounds => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly),
            );
        }
        rounds * 4 * 2 * (16 * 16 * 64)
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;
    use std::arch::asm;
    use std::hint::black_box;

    /// A factor changes each time, or the compiler would compute the products once.
    #[target_feature(enable = "neon")]
    pub(super) fn neon(rounds: u64) -> u64 {
        let ones = black_box(vdupq_n_s8(1));
        let mut sums = [vdupq_n_s32(0); 16];
        for _ in 0..rounds {
            for sum in &mut sums {
                let other = vreinterpretq_s8_s32(*sum);
                let low = vmull_s8(vget_low_s8(ones), vget_low_s8(other));
                *sum = vpadalq_s16(*sum, vpaddq_s16(low, vmull_high_s8(ones, other)));
            }
        }
        black_box(sums);
        rounds * 16 * 2 * 16
    }

    /// # Safety
    /// The CPU has the dot product.
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn neondot(rounds: u64) -> u64 {
        let ones = black_box(vdupq_n_s8(1));
        let mut sums = [vdupq_n_s32(0); 16];
        for _ in 0..rounds {
            for sum in &mut sums {
                // Rust 1.95 has no stable intrinsic for it.
                // SAFETY: the caller's promise; it works on registers alone.
                unsafe {
                    asm!(
                        ".arch_extension dotprod",
                        "sdot {sum:v}.4s, {ones:v}.16b, {ones:v}.16b",
                        sum = inout(vreg) *sum,
                        ones = in(vreg) ones,
                        options(nomem, nostack, preserves_flags),
                    );
                }
            }
        }
        black_box(sums);
        rounds * 16 * 2 * 16
    }
}
