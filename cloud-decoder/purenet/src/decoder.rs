//! From latents to a frame.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use ndarray::{Array3, ArrayView2, s};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::engine::Engine;
use crate::engines::{simd::Isa, tiled::Tiles};
use crate::error::{DecodeError, ModelError};
use crate::kernel::{Choice, Kernel};
use crate::limits::{MAX_ACTIVATION_BYTES, MAX_SIDE, PATCH};
use crate::network::Network;
use crate::pass::{Finished, Maps, Pass};
use crate::plan::Plan;
use crate::value::Value;

/// A loaded decoder: turns the latents of a frame into RGB.
///
/// It can be shared between threads and decodes on the rayon pool it is called from.
pub struct Decoder {
    kernel: Kernel,
    run: Runs,
    id: [u8; 32],
    program: [u8; 32],
    rates: Vec<u32>,
    parameters: u64,
    macs_per_patch: u64,
}

/// The network, packed for an engine.
enum Runs {
    Full(Runner<Isa>),
    Tiles(Runner<Tiles>),
}

/// A network and the engine that computes it.
struct Runner<E: Engine> {
    network: Network<E>,
    engine: E,
    /// Maps of frames decoded before, for the next of their size.
    spare: Mutex<Vec<Maps<E::Value>>>,
}

/// Most bytes of maps that are kept for further frames: enough for the frames that some cores decode at once.
const MAX_SPARE_BYTES: usize = 512 << 20;

/// A frame's size, in patches and pixels.
#[derive(Clone, Copy)]
struct Frame {
    width: usize,
    height: usize,
    rows: usize,
    columns: usize,
    patch_bytes: usize,
}

impl Decoder {
    /// Loads a decoder from the bytes of a `.safetensors` file, for the fastest path of this machine. The environment
    /// variable `PURENET_PATH` chooses another by its [name](Kernel::name); a value that this machine cannot run is
    /// ignored.
    ///
    /// Memory use is bounded by the size of `bytes` and [`MAX_WEIGHTS`](crate::MAX_WEIGHTS).
    ///
    /// # Errors
    /// A [`ModelError`] that names the first stage, tensor or metadata entry that is not as specified.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, ModelError> {
        let kernel = Kernel::choose();
        let choice = kernel.detect().unwrap_or(Choice::Full(Isa::Portable));
        Self::load(bytes, kernel, choice)
    }

    /// Loads a decoder for one path; none when this machine cannot run it.
    ///
    /// # Errors
    /// As [`Decoder::from_safetensors`].
    pub fn with_kernel(bytes: &[u8], kernel: Kernel) -> Result<Option<Self>, ModelError> {
        let choice = kernel.detect();
        let loaded = choice.map(|choice| Self::load(bytes, kernel, choice));
        loaded.transpose()
    }

    fn load(bytes: &[u8], kernel: Kernel, choice: Choice) -> Result<Self, ModelError> {
        fn with<E: Engine>(
            bytes: &[u8],
            engine: E,
            kernel: Kernel,
            run: impl FnOnce(Runner<E>) -> Runs,
        ) -> Result<Decoder, ModelError> {
            let network = Network::<E>::load(bytes)?;
            Ok(Decoder {
                kernel,
                id: Sha256::digest(bytes).into(),
                program: network.program,
                rates: network.synthesis.rates.clone(),
                parameters: network.parameters,
                macs_per_patch: network.macs_per_patch,
                run: run(Runner {
                    network,
                    engine,
                    spare: Mutex::default(),
                }),
            })
        }
        match choice {
            Choice::Full(isa) => with(bytes, isa, kernel, Runs::Full),
            Choice::Tiles(tiles) => with(bytes, tiles, kernel, Runs::Tiles),
        }
    }

    /// Its id: the SHA-256 of the file that it was loaded from.
    pub fn id(&self) -> [u8; 32] {
        self.id
    }

    /// Id of the program whose latents this decodes.
    pub fn program(&self) -> [u8; 32] {
        self.program
    }

    /// Latent bits per patch, a multiple of 8.
    pub fn bits(&self) -> u32 {
        *self
            .rates
            .last()
            .expect("the last rate is that of all bits")
    }

    /// Bits per patch that it decodes, increasing: prefixes of the latent, then all of it, [`Decoder::bits`].
    pub fn rates(&self) -> &[u32] {
        &self.rates
    }

    /// Number of weights and biases.
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// Multiply-accumulates per output pixel, for sides that are multiples of 32.
    pub fn macs_per_pixel(&self) -> f64 {
        self.macs_per_patch as f64 / (PATCH * PATCH) as f64
    }

    /// Name of the path in use.
    pub fn path(&self) -> &'static str {
        self.kernel.name()
    }

    /// Bytes of feature maps that a frame of `width` x `height` pixels takes while it is decoded, the frame itself not
    /// counted. They grow with the width, and with the height only up to some rows of patches.
    pub fn map_bytes(&self, width: u32, height: u32) -> usize {
        let patches = |side: u32| side.div_ceil(PATCH as u32) as usize;
        let (rows, columns) = (patches(height), patches(width));
        match &self.run {
            Runs::Full(runner) => {
                Plan::new(&runner.network, rows, columns).map_bytes(&runner.network)
            }
            Runs::Tiles(runner) => {
                Plan::new(&runner.network, rows, columns).map_bytes(&runner.network)
            }
        }
    }

    /// Decodes a frame of `width` x `height` pixels to interleaved 8-bit RGB, `width * height * 3` bytes.
    ///
    /// `latents` holds the patches row by row, for the frame padded to multiples of 32. All have the same number of
    /// bits, one of [`Decoder::rates`], which follows from the length. Values are clamped to 0..=1, scaled by 255 and
    /// rounded half to even.
    ///
    /// # Errors
    /// [`DecodeError::Size`], [`DecodeError::Length`], or [`DecodeError::Memory`] if the feature maps of so wide a
    /// frame do not fit.
    pub fn decode(&self, latents: &[u8], width: u32, height: u32) -> Result<Vec<u8>, DecodeError> {
        self.decode_while(latents, width, height, &|| true)
    }

    /// The same as [`Decoder::decode`], but stops when `go_on` returns false. It is called every few rows of patches.
    ///
    /// # Errors
    /// As [`Decoder::decode`], and [`DecodeError::Stopped`].
    pub fn decode_while(
        &self,
        latents: &[u8],
        width: u32,
        height: u32,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, DecodeError> {
        let frame = self.frame(latents, width, height)?;
        match &self.run {
            Runs::Full(runner) => runner.decode(latents, frame, go_on),
            Runs::Tiles(runner) => runner.decode(latents, frame, go_on),
        }
    }

    /// Decodes to unclamped planes, shape (3, height, width), nominally 0 to 1.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn decode_planes(
        &self,
        latents: &[u8],
        width: u32,
        height: u32,
    ) -> Result<Array3<f32>, DecodeError> {
        let frame = self.frame(latents, width, height)?;
        match &self.run {
            Runs::Full(runner) => runner.decode_planes(latents, frame),
            Runs::Tiles(runner) => runner.decode_planes(latents, frame),
        }
    }

    fn frame(&self, latents: &[u8], width: u32, height: u32) -> Result<Frame, DecodeError> {
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(DecodeError::Size { width, height });
        }
        let (width_px, height_px) = (width as usize, height as usize);
        let (rows, columns) = (height_px.div_ceil(PATCH), width_px.div_ceil(PATCH));
        let bytes = |bits: &u32| rows * columns * *bits as usize / 8;
        let mut rates = self.rates.iter();
        let Some(bits) = rates.find(|&bits| bytes(bits) == latents.len()) else {
            return Err(DecodeError::Length {
                found: latents.len(),
                expected: self.rates.iter().map(bytes).collect(),
                width,
                height,
            });
        };
        Ok(Frame {
            width: width_px,
            height: height_px,
            rows,
            columns,
            patch_bytes: *bits as usize / 8,
        })
    }
}

impl<E: Engine> Runner<E> {
    fn decode(
        &self,
        latents: &[u8],
        frame: Frame,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, DecodeError> {
        if self.network.base.is_none() {
            return self.rgb::<u8>(latents, frame, go_on, |finished, y, line| {
                finished.row(y, line)
            });
        }
        self.rgb::<f32>(latents, frame, go_on, |finished, y, line| {
            let mut values = vec![0.0; line.len()];
            finished.row(y, &mut values);
            let bytes = line.iter_mut().zip(values);
            bytes.for_each(|(byte, value)| *byte = Value::from_f32(value));
        })
    }

    /// Decodes to bytes; `row` converts one finished row.
    fn rgb<O: Value>(
        &self,
        latents: &[u8],
        frame: Frame,
        go_on: &dyn Fn() -> bool,
        row: impl Fn(&Finished<'_, O>, usize, &mut [u8]) + Sync,
    ) -> Result<Vec<u8>, DecodeError> {
        let stride = frame.width * 3;
        let mut rgb = vec![0; stride * frame.height];
        self.pass::<O>(latents, frame, go_on, |finished| {
            let rows = finished.rows();
            let end = rows.end.min(frame.height);
            let lines = &mut rgb[rows.start.min(end) * stride..end * stride];
            let lines = lines.par_chunks_exact_mut(stride).enumerate();
            lines.for_each(|(y, line)| row(&finished, rows.start + y, line));
        })?;
        Ok(rgb)
    }

    fn decode_planes(&self, latents: &[u8], frame: Frame) -> Result<Array3<f32>, DecodeError> {
        let mut planes = Array3::zeros((3, frame.height, frame.width));
        let mut line = vec![0.0; frame.width * 3];
        self.pass::<f32>(latents, frame, &|| true, |finished| {
            let rows = finished.rows();
            for y in rows.start..rows.end.min(frame.height) {
                finished.row(y, &mut line);
                let mut row = planes.slice_mut(s![.., y, ..]);
                let line = ArrayView2::from_shape((frame.width, 3), &line);
                row.assign(&line.expect("three values a pixel").t());
            }
        })?;
        Ok(planes)
    }

    fn pass<O: Value>(
        &self,
        latents: &[u8],
        frame: Frame,
        go_on: &dyn Fn() -> bool,
        sink: impl FnMut(Finished<'_, O>),
    ) -> Result<(), DecodeError> {
        let plan = Plan::new(&self.network, frame.rows, frame.columns);
        let needed = plan.map_bytes(&self.network);
        if needed > MAX_ACTIVATION_BYTES {
            return Err(DecodeError::Memory {
                width: frame.width as u32,
                needed,
            });
        }
        let maps = self.maps(plan);
        let pass = Pass::new(&self.network, self.engine, maps);
        let (maps, whole) = pass.run(latents, frame.patch_bytes, go_on, sink);
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if (spare.len() + 1) * needed <= MAX_SPARE_BYTES {
            spare.push(maps);
        }
        if !whole {
            return Err(DecodeError::Stopped);
        }
        Ok(())
    }

    /// Spare maps of this size, or else new ones in place of all the spare ones.
    fn maps(&self, plan: Plan) -> Maps<E::Value> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |plan: &Plan| (plan.rows, plan.columns);
        let fits = |maps: &Maps<E::Value>| size(&maps.plan) == size(&plan);
        if let Some(index) = spare.iter().position(fits) {
            return spare.swap_remove(index);
        }
        spare.clear();
        drop(spare);
        Maps::new(&self.network, plan)
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("bits", &self.bits())
            .field("parameters", &self.parameters())
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
