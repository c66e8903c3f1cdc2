//! Runs a program on patches and frames by the fastest path the machine has.

use std::{fmt, sync::Arc};

use rayon::prelude::*;

use crate::frame::Frame;
use crate::{FrameError, Output, PATCH_BYTES, Program, Task, reference};

/// A way to compute; all give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// The reference model itself.
    Scalar,
}

impl Kernel {
    /// The paths this machine can run, slowest first; never empty.
    pub fn available() -> Vec<Self> {
        vec![Self::Scalar]
    }

    /// `scalar`, `avx2` or `avx512vnni`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A program ready to run. Shared freely between threads.
#[derive(Debug)]
pub struct Emulator {
    program: Arc<Program>,
    kernel: Kernel,
}

impl Emulator {
    /// Prepares a program for the fastest path of this machine.
    pub fn new(program: Arc<Program>) -> Self {
        Self { program, kernel: Kernel::Scalar }
    }

    /// The program that runs.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Name of the path in use.
    pub fn path(&self) -> &'static str {
        self.kernel.name()
    }

    /// Encodes a frame of RGB8 pixels: patches in row-major order, `latent_bits / 8` bytes each. Sides that are not
    /// multiples of 32 are extended by repeating the nearest pixel. Patches run in parallel on the current rayon
    /// pool; the result does not depend on it.
    ///
    /// # Errors
    /// When the program does not compress, a side is 0, or `rgb` is not `width * height * 3` bytes.
    pub fn encode_frame(&self, rgb: &[u8], width: u32, height: u32) -> Result<Vec<u8>, FrameError> {
        self.require(Task::Compress)?;
        let frame = Frame::new(rgb, width, height)?;
        let patch_len = self.program.output().count() as usize / 8;
        let mut latents = vec![0; frame.patches() * patch_len];
        latents.par_chunks_exact_mut(patch_len).enumerate().for_each(|(index, latent)| {
            let mut pixels = [0; PATCH_BYTES];
            frame.patch(index, &mut pixels);
            if let Output::Bits(bits) = self.run(&pixels) {
                latent.copy_from_slice(&bits);
            }
        });
        Ok(latents)
    }

    /// Classifies a whole frame of RGB8 pixels, averaged to 32x32 in integer arithmetic: one logit a label, in the
    /// order of [`Program::labels`].
    ///
    /// # Errors
    /// When the program does not classify, a side is 0, or `rgb` is not `width * height * 3` bytes.
    pub fn classify_frame(&self, rgb: &[u8], width: u32, height: u32) -> Result<Vec<i32>, FrameError> {
        self.require(Task::Classify)?;
        match self.run(&Frame::new(rgb, width, height)?.average()) {
            Output::Logits(logits) => Ok(logits),
            Output::Bits(_) => unreachable!("a classification program outputs logits"),
        }
    }

    /// Runs the program on one 32x32x3 patch.
    ///
    /// # Errors
    /// When `pixels` are not 3072 bytes.
    pub fn run_patch(&self, pixels: &[u8]) -> Result<Output, FrameError> {
        let pixels = pixels.try_into().map_err(|_| FrameError::PatchLength { found: pixels.len() })?;
        Ok(self.run(pixels))
    }

    fn run(&self, pixels: &[u8; PATCH_BYTES]) -> Output {
        reference::run(&self.program, pixels).expect("the patch has its size")
    }

    fn require(&self, needed: Task) -> Result<(), FrameError> {
        let found = self.program.task();
        if found == needed { Ok(()) } else { Err(FrameError::Task { found, needed }) }
    }
}
