//! From latents to a frame.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use kernels::{Kernel, Simd};

use crate::error::{DecodeError, ModelError};
use crate::latents::Size;
use crate::limits::{MAX_ACTIVATION_BYTES, PATCH};
use crate::network::Network;
use crate::pass::{Maps, Pass};
use crate::plan::Plan;

/// A loaded decoder: turns the latents of a frame into RGB, the same bytes with every [`Kernel`] and any number of
/// threads.
///
/// It can be shared between threads and decodes on the rayon pool it is called from.
pub struct Decoder {
    network: Network,
    /// Maps of frames decoded before, for the next of their size.
    spare: Mutex<Vec<Maps>>,
}

/// Most bytes of maps that are kept for further frames: enough for the frames that some cores decode at once.
const MAX_SPARE_BYTES: usize = 512 << 20;

impl Decoder {
    /// Loads a decoder from the bytes of a `.safetensors` file, for [`Kernel::chosen`].
    ///
    /// Memory use is bounded by the size of `bytes` and [`MAX_WEIGHTS`](crate::MAX_WEIGHTS).
    ///
    /// # Errors
    /// A [`ModelError`] that names the first stage, tensor or metadata entry that is not as specified.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, ModelError> {
        Self::load(bytes, Simd::chosen())
    }

    /// Loads a decoder for one kernel; none when this machine cannot run it.
    ///
    /// # Errors
    /// As [`Decoder::from_safetensors`].
    pub fn with_kernel(bytes: &[u8], kernel: Kernel) -> Result<Option<Self>, ModelError> {
        let loaded = Simd::detect(kernel).map(|simd| Self::load(bytes, simd));
        loaded.transpose()
    }

    fn load(bytes: &[u8], simd: Simd) -> Result<Self, ModelError> {
        Ok(Self {
            network: Network::load(bytes, simd)?,
            spare: Mutex::default(),
        })
    }

    /// SHA-256 of the file that it was loaded from, by which a picture names the decoder that made it.
    pub fn id(&self) -> [u8; 32] {
        self.network.id
    }

    /// Id of the program whose latents this decodes.
    pub fn program(&self) -> [u8; 32] {
        self.network.program
    }

    /// Latent bits per patch, a multiple of 8.
    pub fn bits(&self) -> u32 {
        let rates = self.rates();
        *rates.last().expect("the last rate is that of all bits")
    }

    /// Bits per patch that it decodes, increasing: prefixes of the latent, then all of it, [`Decoder::bits`].
    pub fn rates(&self) -> &[u32] {
        &self.network.rates
    }

    /// Number of weights and biases.
    pub fn parameters(&self) -> u64 {
        self.network.parameters
    }

    /// Multiply-accumulates per output pixel, for sides that are multiples of 32.
    pub fn macs_per_pixel(&self) -> f64 {
        self.network.macs_per_patch as f64 / (PATCH * PATCH) as f64
    }

    /// The kernel in use.
    pub fn kernel(&self) -> Kernel {
        self.network.simd.kernel()
    }

    /// Bytes of feature maps that a frame of `width` x `height` pixels takes while it is decoded, the frame itself not
    /// counted. They grow with the width, and with the height only up to some rows of patches.
    pub fn map_bytes(&self, width: u32, height: u32) -> usize {
        let patches = |side: u32| side.div_ceil(PATCH as u32) as usize;
        Plan::new(&self.network, patches(height), patches(width)).map_bytes(&self.network)
    }

    /// Decodes a frame of `width` x `height` pixels to interleaved 8-bit RGB, `width * height * 3` bytes.
    ///
    /// `latents` holds the patches row by row, for the frame padded to multiples of 32. All have the same number of
    /// bits, one of [`Decoder::rates`], which follows from the length.
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
        let size = Size::new(width, height)?;
        self.pass(&size.equal(latents, self.rates())?, size, go_on)
    }

    /// The same as [`Decoder::decode`] with a number of bits for each patch, each one of [`Decoder::rates`]: `latents`
    /// holds these bits of patch after patch.
    ///
    /// # Errors
    /// [`DecodeError::Size`], [`DecodeError::Prefix`], [`DecodeError::Mixed`] or [`DecodeError::Memory`].
    pub fn decode_mixed(
        &self,
        latents: &[u8],
        bits: &[u16],
        width: u32,
        height: u32,
    ) -> Result<Vec<u8>, DecodeError> {
        let size = Size::new(width, height)?;
        self.pass(&size.mixed(latents, bits, self.rates())?, size, &|| true)
    }

    fn pass(
        &self,
        patches: &[&[u8]],
        size: Size,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, DecodeError> {
        let plan = Plan::new(&self.network, size.rows, size.columns);
        let needed = plan.map_bytes(&self.network);
        if needed > MAX_ACTIVATION_BYTES {
            return Err(DecodeError::Memory {
                width: size.width as u32,
                needed,
            });
        }
        let mut rgb = vec![0; size.width * size.height * 3];
        let pass = Pass::new(&self.network, self.maps(plan));
        let (maps, whole) = pass.run(patches, size, &mut rgb, go_on);
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if (spare.len() + 1) * needed <= MAX_SPARE_BYTES {
            spare.push(maps);
        }
        if whole {
            Ok(rgb)
        } else {
            Err(DecodeError::Stopped)
        }
    }

    /// Spare maps of this size, or else new ones in place of all the spare ones.
    fn maps(&self, plan: Plan) -> Maps {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |plan: &Plan| (plan.rows, plan.columns);
        let fits = |maps: &Maps| size(&maps.plan) == size(&plan);
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
            .field("kernel", &self.kernel().name())
            .finish_non_exhaustive()
    }
}
