//! Dot products of u8 activations and i8 weights, 16 output channels at a time; the only unsafe code of the crate. AMX
//! is in a crate of its own, [`amx`].
//!
//! All instruction sets are exact here. `vpdpbusd` adds four u8 x i8 products to an i32 without saturating.
//! `vpmaddubsw` adds two products in 16 bits; only as many such sums are added in 16 bits as cannot overflow
//! ([`Taps::run`]). NEON multiplies signed by signed bytes: codes fit as they are, 128 is subtracted from pixels, and
//! sums start from a value that corrects for it ([`Taps::starts`]).

mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

use amx::Amx;

use crate::kernel::Kernel;
pub(crate) use lanes::{BLOCKS, LANES, Lanes, Line, TILE, Taps, Work};

/// Instructions that were found present.
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
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "aarch64")]
    NeonDot,
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

    /// The instructions behind a kernel; none when this machine lacks them or the kernel needs none.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn detect(kernel: Kernel) -> Option<Self> {
        use std::arch::is_aarch64_feature_detected as present;
        let isa = match kernel {
            Kernel::Neon if present!("neon") => Isa::Neon,
            Kernel::NeonDot if present!("neon") && present!("dotprod") => Isa::NeonDot,
            _ => return None,
        };
        Some(Self { isa, tiles: None })
    }

    /// No vector instructions are used on this architecture.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
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
        let best = Kernel::available().into_iter().rev();
        let simd = best
            .filter_map(Self::detect)
            .find(|simd| simd.tiles.is_none())?;
        let tiles = Some(Amx::emulated());
        Some(Self { tiles, ..simd })
    }

    /// `acc[p * B + b]` = the bias behind `starts[b]` ([`Taps::starts`]) plus, over all taps t, `weights[b * taps + t]`
    /// times the four bytes of `input` at `bases[p]` + tap t.
    ///
    /// # Panics
    /// When a window reaches beyond `input` or there are not B blocks of weights.
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        expect(unused_variables, reason = "no path to dispatch to")
    )]
    pub(crate) fn dot<const P: usize, const B: usize>(
        self,
        input: &[u8],
        bases: &[usize; P],
        taps: &Taps,
        weights: &[Line],
        starts: &[Lanes; B],
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
            // SAFETY: `detect` found AVX2, and the products of `run` taps fit 16 bits. The asserts above bound every
            // read: input[base + offset..][..4] since offset + 4 <= reach, and weights[b * taps + t]; writes are to
            // acc[..P * B].
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe {
                let run = taps.run();
                x86::dot_avx2::<P, B>(input, bases, &taps.offsets, run, weights, starts, acc)
            },
            // SAFETY: `detect` found AVX-512 F and VNNI; bounds as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe {
                x86::dot_avx512vnni::<P, B>(input, bases, &taps.offsets, weights, starts, acc)
            },
            // SAFETY: `detect` found NEON; bounds as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe {
                neon::dot::<false, P, B>(input, bases, taps, weights, starts, acc)
            },
            // SAFETY: `detect` found NEON with the dot product; bounds as above.
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => unsafe {
                neon::dot::<true, P, B>(input, bases, taps, weights, starts, acc)
            },
        }
    }
}

impl Simd {
    /// Operations, two a multiply-accumulate, of so many rounds of nothing but multiply-accumulates in vector
    /// registers.
    pub(crate) fn spin(self, rounds: u64) -> u64 {
        match self.isa {
            // SAFETY: `detect` found AVX2.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { x86::spin_avx2(rounds) },
            // SAFETY: `detect` found AVX-512 F and VNNI.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { x86::spin_avx512vnni(rounds) },
            // SAFETY: `detect` found NEON.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { neon::spin::<false>(rounds) },
            // SAFETY: `detect` found NEON with the dot product.
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => unsafe { neon::spin::<true>(rounds) },
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
            // All code is compiled for NEON on this architecture.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::NeonDot => work.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Element;

    /// As many taps as would not fit 16 bits, all with the largest activation and weights of both signs.
    #[test]
    fn the_largest_sums_are_exact() {
        for (element, activation) in [(Element::Pixel, u8::MAX), (Element::Code, 3)] {
            for taps in [32, 33, 65, 2730, 2731, 6000] {
                let taps = Taps::new(vec![0; taps], element);
                let weight = |at: usize| if (at / 4).is_multiple_of(2) { 2 } else { -2 };
                let weights = vec![Line(std::array::from_fn(weight)); taps.len()];
                let starts = taps.starts(&weights, vec![Lanes([7; LANES])]);
                let starts = starts.first_chunk::<1>().expect("one block");
                let largest = 4 * 2 * i32::from(activation) * taps.len() as i32;
                for kernel in Kernel::available() {
                    let Some(simd) = Simd::detect(kernel) else {
                        continue;
                    };
                    let mut acc = [Lanes::default(); TILE * BLOCKS];
                    simd.dot(&[activation; 4], &[0], &taps, &weights, starts, &mut acc);
                    for (lane, &sum) in acc[0].0.iter().enumerate() {
                        let expected = 7 + if lane.is_multiple_of(2) {
                            largest
                        } else {
                            -largest
                        };
                        assert_eq!(sum, expected, "{kernel}, {element:?}, {} taps", taps.len());
                    }
                }
            }
        }
    }
}
