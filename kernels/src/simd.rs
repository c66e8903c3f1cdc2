//! Instructions that were found present, and the code for each.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_words;
mod plain;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_words;

use crate::call::Call;
use crate::kernel::{Kernel, VARIABLE};
use crate::operands::Lanes;
use crate::words::{Plain, Work};

/// Proof that this machine has a kernel's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simd(Kernel);

impl Kernel {
    /// The kernels that this machine can run, slowest first; never empty.
    pub fn available() -> Vec<Self> {
        let present = |kernel: &Self| Simd::detect(*kernel).is_some();
        Self::ALL.into_iter().filter(present).collect()
    }

    /// The kernel that the environment names, else the fastest.
    pub fn chosen() -> Self {
        let asked = std::env::var(VARIABLE).ok();
        let available = Self::available();
        let named = (available.iter()).find(|kernel| Some(kernel.name()) == asked.as_deref());
        named.or(available.last()).copied().unwrap_or(Self::Scalar)
    }
}

impl Simd {
    /// The instructions behind a kernel; none when this machine lacks them.
    pub fn detect(kernel: Kernel) -> Option<Self> {
        present(kernel).then_some(Self(kernel))
    }

    /// The instructions of [`Kernel::chosen`].
    pub fn chosen() -> Self {
        Self(Kernel::chosen())
    }

    /// Whose instructions they are.
    pub fn kernel(self) -> Kernel {
        self.0
    }

    /// Whether u8 activations are multiplied less 128.
    pub(crate) fn subtracts_128(self) -> bool {
        matches!(self.0, Kernel::Neon | Kernel::NeonDot)
    }

    /// Writes the sums of a call, by window and block.
    ///
    /// # Safety
    /// The taps of each window lie in the input, and with AVX2 the sums of each run of taps fit 16 bits.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn lines(self, call: &Call<'_>, sums: &mut [Lanes]) {
        assert_eq!(call.lines.len(), call.offsets.len() * call.starts.len());
        assert_eq!(sums.len(), call.windows.len() * call.starts.len());
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 | Kernel::AvxVnni | Kernel::Avx512Vnni | Kernel::AmxInt8 => {
                // SAFETY: the caller's promise; a `Simd` of a kernel exists only where the machine has it.
                unsafe { x86::multiply(self.0, call, sums.as_mut_ptr()) }
            }
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            Kernel::Neon | Kernel::NeonDot => unsafe {
                neon::multiply(self.0, call, sums.as_mut_ptr());
            },
            // SAFETY: the caller's promise.
            _ => unsafe { plain::multiply(call, sums) },
        }
    }

    /// Does the work in a function compiled for the instructions.
    #[inline]
    pub fn vectorized(self, work: impl Work) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 | Kernel::AvxVnni | Kernel::Avx512Vnni | Kernel::AmxInt8 => {
                x86::vectorized(self.0, work);
            }
            #[cfg(target_arch = "aarch64")]
            Kernel::Neon | Kernel::NeonDot => work.run::<neon_words::Registers>(),
            _ => work.run::<Plain>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn present(kernel: Kernel) -> bool {
    let avx2 = is_x86_feature_detected!("avx2");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    match kernel {
        Kernel::Scalar => true,
        Kernel::Avx2 => avx2,
        Kernel::AvxVnni => avx2 && is_x86_feature_detected!("avxvnni"),
        Kernel::Avx512Vnni => avx512,
        Kernel::AmxInt8 => avx512 && crate::tiles::present(),
        Kernel::Neon | Kernel::NeonDot => false,
    }
}

#[cfg(target_arch = "aarch64")]
fn present(kernel: Kernel) -> bool {
    use std::arch::is_aarch64_feature_detected as detected;
    match kernel {
        Kernel::Scalar => true,
        Kernel::Neon => detected!("neon"),
        Kernel::NeonDot => detected!("neon") && detected!("dotprod"),
        _ => false,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn present(kernel: Kernel) -> bool {
    kernel == Kernel::Scalar
}
