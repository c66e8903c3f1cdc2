//! The most that one core could do: products in registers alone.
#![allow(unsafe_code)]

use std::time::Instant;

use kernels::{Kernel, Simd};

/// Runs, of which the fastest counts, and the rounds of each: some milliseconds.
const RUNS: u32 = 20;
const ROUNDS: u64 = 1_000_000;

/// Measured operations per second of a kernel's instructions on registers alone, two per multiply-accumulate. `None` for
/// plain code, and for kernels that this machine cannot run.
pub(super) fn peak(kernel: Kernel) -> Option<f64> {
    Simd::detect(kernel).filter(|_| kernel != Kernel::Scalar)?;
    let measured = (0..RUNS).map(|_| {
        let started = Instant::now();
        let operations = spin(kernel);
        operations as f64 / started.elapsed().as_secs_f64()
    });
    measured.max_by(f64::total_cmp)
}

/// Does nothing but multiply-accumulates, and gives their number of operations.
#[cfg(target_arch = "x86_64")]
fn spin(kernel: Kernel) -> u64 {
    // SAFETY: `peak` has found the kernel's instructions.
    unsafe {
        match kernel {
            Kernel::Avx2 => x86::avx2(ROUNDS),
            Kernel::AvxVnni => x86::avxvnni(ROUNDS),
            Kernel::Avx512Vnni => x86::avx512vnni(ROUNDS),
            #[cfg(target_os = "linux")]
            Kernel::AmxInt8 => x86::amxint8(ROUNDS / 50),
            _ => unreachable!("not of this machine"),
        }
    }
}

/// Does nothing but multiply-accumulates, and gives their number of operations.
#[cfg(target_arch = "aarch64")]
fn spin(kernel: Kernel) -> u64 {
    // SAFETY: `peak` has found the kernel's instructions.
    unsafe {
        match kernel {
            Kernel::Neon => neon::neon(ROUNDS),
            Kernel::NeonDot => neon::neondot(ROUNDS),
            _ => unreachable!("not of this machine"),
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn spin(_: Kernel) -> u64 {
    unreachable!("there is plain code alone")
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
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

    #[target_feature(enable = "avx2")]
    pub(super) fn avx2(rounds: u64) -> u64 {
        let ones = black_box(_mm256_set1_epi8(1));
        let mut sums = [_mm256_setzero_si256(); 12];
        for _ in 0..rounds {
            for sum in &mut sums {
                // The factor changes each time, or the compiler would compute the products once.
                *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(ones, *sum));
            }
        }
        black_box(sums);
        rounds * 12 * 2 * 32
    }

    /// Tiles of 16 rows of 64 bytes: palette 1, and for each tile 64 in the 16-bit numbers from byte 16 on and 16 in the
    /// bytes from 48 on.
    #[repr(C, align(64))]
    struct Config([u8; 64]);

    /// # Safety
    /// The processor has tiles, this process may use them, and there is a round.
    #[cfg(target_os = "linux")]
    pub(super) unsafe fn amxint8(rounds: u64) -> u64 {
        let mut config = Config([0; 64]);
        config.0[0] = 1;
        for tile in 0..8 {
            config.0[16 + 2 * tile] = 64;
            config.0[48 + tile] = 16;
        }
        // SAFETY: reads only the configuration; all tile registers are released at the end.
        unsafe {
            std::arch::asm!(
                "ldtilecfg [{config}]",
                "2:",
                "tdpbusd tmm0, tmm4, tmm6",
                "tdpbusd tmm2, tmm5, tmm6",
                "tdpbusd tmm1, tmm4, tmm7",
                "tdpbusd tmm3, tmm5, tmm7",
                "dec {rounds}",
                "jnz 2b",
                "tilerelease",
                config = in(reg) &raw const config,
                rounds = inout(reg) rounds => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly),
            );
        }
        rounds * 4 * 2 * 16 * 16 * 64
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;
    use std::arch::asm;
    use std::hint::black_box;

    /// `smull` and `sadalp` on both halves.
    #[target_feature(enable = "neon")]
    pub(super) fn neon(rounds: u64) -> u64 {
        let ones = black_box(vdupq_n_s8(1));
        let mut sums = [vdupq_n_s32(0); 12];
        for _ in 0..rounds {
            for sum in &mut sums {
                // The factor changes each time, or the compiler would compute the products once.
                let factor = vreinterpretq_s8_s32(*sum);
                let low = vmull_s8(vget_low_s8(ones), vget_low_s8(factor));
                *sum = vpadalq_s16(vpadalq_s16(*sum, low), vmull_high_s8(ones, factor));
            }
        }
        black_box(sums);
        rounds * 12 * 2 * 16
    }

    /// `sdot`, for which Rust 1.95 has no stable intrinsic.
    #[target_feature(enable = "neon,dotprod")]
    pub(super) fn neondot(rounds: u64) -> u64 {
        let ones = black_box(vdupq_n_s8(1));
        let mut sums = [vdupq_n_s32(0); 16];
        for _ in 0..rounds {
            for sum in &mut sums {
                // SAFETY: computes in registers alone.
                unsafe {
                    asm!(
                        "sdot {sum:v}.4s, {ones:v}.16b, {ones:v}.16b",
                        sum = inout(vreg) *sum,
                        ones = in(vreg) ones,
                        options(pure, nomem, nostack, preserves_flags),
                    );
                }
            }
        }
        black_box(sums);
        rounds * 16 * 2 * 16
    }
}
