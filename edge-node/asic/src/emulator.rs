//! Runs a program on patches and frames by the fastest kernel that the machine has.

use std::{cell::RefCell, sync::Arc};

use kernels::{Kernel, Simd};
use rayon::prelude::*;

use crate::chip::PATCH_BYTES;
use crate::error::FrameError;
use crate::frame::Frame;
use crate::kinds::Task;
use crate::pack::{Packed, Scratch};
use crate::program::Program;
use crate::reference::{self, Output};
use crate::sinks::Target;

thread_local! {
    /// Buffers that a thread keeps from patch to patch.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A program ready to run. Shared freely between threads.
#[derive(Debug)]
pub struct Emulator {
    program: Arc<Program>,
    kernel: Kernel,
    /// None for the scalar kernel, which is the reference: it runs the program as it is.
    packed: Option<Packed>,
}

impl Emulator {
    /// Prepares a program for the kernel that is [chosen](Kernel::chosen) on this machine.
    pub fn new(program: Arc<Program>) -> Self {
        Self::on(program, Simd::chosen())
    }

    /// Prepares a program for one kernel; none when this machine cannot run it.
    pub fn with_kernel(program: Arc<Program>, kernel: Kernel) -> Option<Self> {
        Some(Self::on(program, Simd::detect(kernel)?))
    }

    fn on(program: Arc<Program>, simd: Simd) -> Self {
        let kernel = simd.kernel();
        let packed = (kernel != Kernel::Scalar).then(|| Packed::new(&program, simd));
        Self {
            program,
            kernel,
            packed,
        }
    }

    /// The program that runs.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Name of the kernel in use.
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
        // Small frames on many threads: rather all of them busy than batches full.
        let share = frame.patches().div_ceil(rayon::current_num_threads());
        let batch = self.batch().min(share);
        latents
            .par_chunks_mut(patch_len * batch)
            .enumerate()
            .for_each(|(index, latents)| {
                let patches = latents.len() / patch_len;
                let fill = |place, pixels: &mut _| frame.patch(index * batch + place, pixels);
                self.run(patches, fill, &mut Target::Bits(latents));
            });
        Ok(latents)
    }

    /// Classifies a whole frame of RGB8 pixels, averaged to 32x32 in integer arithmetic: one logit a label, in the
    /// order of [`Program::labels`].
    ///
    /// # Errors
    /// When the program does not classify, a side is 0, or `rgb` is not `width * height * 3` bytes.
    pub fn classify_frame(
        &self,
        rgb: &[u8],
        width: u32,
        height: u32,
    ) -> Result<Vec<i32>, FrameError> {
        self.require(Task::Classify)?;
        let frame = Frame::new(rgb, width, height)?;
        let mut logits = vec![0; self.program.labels().len()];
        self.run_one(&frame.average(), &mut Target::Logits(&mut logits));
        Ok(logits)
    }

    /// Runs the program on one 32x32x3 patch.
    ///
    /// # Errors
    /// When `pixels` are not 3072 bytes.
    pub fn run_patch(&self, pixels: &[u8]) -> Result<Output, FrameError> {
        let pixels: &[u8; PATCH_BYTES] = pixels.try_into().map_err(|_| {
            let found = pixels.len();
            FrameError::PatchLength { found }
        })?;
        let count = self.program.output().count() as usize;
        Ok(match self.program.task() {
            Task::Compress => {
                let mut bits = vec![0; count / 8];
                self.run_one(pixels, &mut Target::Bits(&mut bits));
                Output::Bits(bits)
            }
            Task::Classify => {
                let mut logits = vec![0; count];
                self.run_one(pixels, &mut Target::Logits(&mut logits));
                Output::Logits(logits)
            }
        })
    }

    /// Patches to run together.
    fn batch(&self) -> usize {
        self.packed.as_ref().map_or(1, Packed::batch)
    }

    fn run_one(&self, pixels: &[u8; PATCH_BYTES], target: &mut Target<'_>) {
        self.run(1, |_, patch| *patch = *pixels, target);
    }

    /// Runs at most [`Self::batch`] patches, whose pixels `fill(patch, pixels)` writes, into a target of the program's
    /// kind and their size.
    fn run(
        &self,
        patches: usize,
        fill: impl Fn(usize, &mut [u8; PATCH_BYTES]),
        target: &mut Target<'_>,
    ) {
        if let Some(packed) = &self.packed {
            return SCRATCH.with_borrow_mut(|scratch| packed.run(patches, fill, scratch, target));
        }
        let mut pixels = [0; PATCH_BYTES];
        fill(0, &mut pixels);
        match (reference::run(&self.program, &pixels), target) {
            (Output::Bits(bits), Target::Bits(target)) => target.copy_from_slice(&bits),
            (Output::Logits(logits), Target::Logits(target)) => target.copy_from_slice(&logits),
            _ => unreachable!("the target has the kind of the program's output"),
        }
    }

    fn require(&self, needed: Task) -> Result<(), FrameError> {
        let found = self.program.task();
        if found == needed {
            Ok(())
        } else {
            Err(FrameError::Task { found, needed })
        }
    }
}
