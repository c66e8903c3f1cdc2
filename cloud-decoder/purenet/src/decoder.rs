//! From latents to a frame.

use crate::forward::{Finished, Maps, Pass};
use crate::loader::Network;
use crate::simd::Isa;
use crate::{DecodeError, MAX_ACTIVATION_BYTES, MAX_SIDE, ModelError, PATCH};
use ndarray::{Array3, s};
use rayon::prelude::*;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A loaded decoder: turns the latents of a frame into RGB.
///
/// It can be shared between threads and decodes on the rayon pool it is called from.
pub struct Decoder {
    network: Network,
    isa: Isa,
    /// Maps of a frame decoded before, for the next of its size.
    spare: Mutex<Vec<Maps>>,
}

/// Most maps that are kept for further frames: for as many as are decoded at once on a few cores.
const MAX_SPARE: usize = 4;

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
    /// Loads a decoder from the bytes of a `.safetensors` file.
    ///
    /// Memory use is bounded by the size of `bytes` and [`MAX_WEIGHTS`](crate::MAX_WEIGHTS).
    ///
    /// # Errors
    /// A [`ModelError`] that names the first stage, tensor or metadata entry that is not as specified.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, ModelError> {
        Ok(Self {
            network: Network::load(bytes)?,
            isa: Isa::best(),
            spare: Mutex::default(),
        })
    }

    /// Id of the program whose latents this decodes.
    pub fn program(&self) -> [u8; 32] {
        self.network.program
    }

    /// Latent bits of a patch, a multiple of 8.
    pub fn bits(&self) -> u32 {
        self.network.bits as u32
    }

    /// Bits a patch that it decodes, increasing: prefixes of the latent, then all of it, [`Decoder::bits`].
    pub fn rates(&self) -> &[u32] {
        &self.network.rates
    }

    /// Number of weights and biases.
    pub fn parameters(&self) -> u64 {
        self.network.parameters
    }

    /// Multiply-accumulates an output pixel, for sides that are multiples of 32.
    pub fn macs_per_pixel(&self) -> f64 {
        self.network.macs_per_patch as f64 / (PATCH * PATCH) as f64
    }

    /// Name of the instruction set in use: `avx512`, `avx2` or `portable`.
    pub fn path(&self) -> &'static str {
        self.isa.name()
    }

    /// What one core of this machine could do at most with that instruction set, measured: operations a second, two a
    /// multiply-accumulate, on registers alone. None for `portable`.
    pub fn peak(&self) -> Option<f64> {
        self.isa.peak()
    }

    /// Decodes a frame of `width` x `height` pixels to interleaved 8-bit RGB, `width * height * 3` bytes.
    ///
    /// `latents` holds the patches row by row, for the frame padded to multiples of 32; all have the same number of
    /// bits, one of [`Decoder::rates`], which follows from the length. Values are clamped to 0..=1, scaled by 255 and rounded half to even.
    ///
    /// # Errors
    /// [`DecodeError::Size`], [`DecodeError::Length`], or [`DecodeError::Memory`] if the feature maps of so wide a frame
    /// do not fit.
    pub fn decode(&self, latents: &[u8], width: u32, height: u32) -> Result<Vec<u8>, DecodeError> {
        let frame = self.frame(latents, width, height)?;
        let mut rgb = vec![0; frame.width * frame.height * 3];
        self.pass(latents, frame, |finished| {
            let stride = frame.width * 3;
            let end = finished.rows.end.min(frame.height);
            let rows = &mut rgb[finished.rows.start.min(end) * stride..end * stride];
            rows.par_chunks_exact_mut(stride)
                .enumerate()
                .for_each(|(y, out)| {
                    finished.row(finished.rows.start + y, |i, value| {
                        if let Some(out) = out.get_mut(i) {
                            *out = to_u8(value);
                        }
                    });
                });
        })?;
        Ok(rgb)
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
        let mut planes = Array3::zeros((3, frame.height, frame.width));
        self.pass(latents, frame, |finished| {
            for y in finished.rows.start..finished.rows.end.min(frame.height) {
                let mut row = planes.slice_mut(s![.., y, ..]);
                finished.row(y, |i, value| {
                    if let Some(out) = row.get_mut((i % 3, i / 3)) {
                        *out = value;
                    }
                });
            }
        })?;
        Ok(planes)
    }

    fn frame(&self, latents: &[u8], width: u32, height: u32) -> Result<Frame, DecodeError> {
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(DecodeError::Size { width, height });
        }
        let (width_px, height_px) = (width as usize, height as usize);
        let (rows, columns) = (height_px.div_ceil(PATCH), width_px.div_ceil(PATCH));
        let bytes = |bits: &u32| rows * columns * *bits as usize / 8;
        let mut rates = self.network.rates.iter();
        let Some(bits) = rates.find(|&bits| bytes(bits) == latents.len()) else {
            return Err(DecodeError::Length {
                found: latents.len(),
                expected: self.network.rates.iter().map(bytes).collect(),
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

    fn pass(
        &self,
        latents: &[u8],
        frame: Frame,
        sink: impl FnMut(Finished<'_>),
    ) -> Result<(), DecodeError> {
        let needed = self.network.map_bytes(frame.rows, frame.columns);
        if needed > MAX_ACTIVATION_BYTES {
            return Err(DecodeError::Memory {
                width: frame.width as u32,
                needed,
            });
        }
        let maps = self.maps(frame.rows, frame.columns);
        let pass = Pass::new(&self.network, self.isa, maps);
        let maps = pass.run(latents, frame.patch_bytes, sink);
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < MAX_SPARE {
            spare.push(maps);
        }
        Ok(())
    }

    /// Spare maps of this size, or else new ones in place of all the spare ones.
    fn maps(&self, rows: usize, columns: usize) -> Maps {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |maps: &Maps| (maps.rows, maps.columns) == (rows, columns);
        if let Some(index) = spare.iter().position(fits) {
            return spare.swap_remove(index);
        }
        spare.clear();
        drop(spare);
        Maps::new(&self.network, rows, columns)
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

/// Clamps to 0..=1, scales by 255 and rounds half to even.
fn to_u8(value: f32) -> u8 {
    // From 2^23 on, floats are the integers and the sum rounds half to even: the byte is the mantissa's
    // lowest. `f32::round_ties_even` is a library call on plain x86-64.
    (value.clamp(0.0, 1.0) * 255.0 + 8_388_608.0).to_bits() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder() -> Decoder {
        let bytes = include_bytes!("../tests/golden/full.safetensors");
        Decoder::from_safetensors(bytes).expect("the golden decoder loads")
    }

    #[test]
    fn instruction_sets_agree() {
        let mut decoder = decoder();
        let latents = [0x3c; 3 * 2 * 2];
        let fast = decoder.decode_planes(&latents, 70, 45).unwrap();
        decoder.isa = Isa::Portable;
        let portable = decoder.decode_planes(&latents, 70, 45).unwrap();
        let worst = (&fast - &portable).abs().fold(0.0f32, |a, &b| a.max(b));
        assert!(worst < 1e-4, "off by {worst}");
    }

    #[test]
    fn bytes_round_half_to_even() {
        let halves = (0..=510).map(|i| i as f32 / 510.0);
        let near = halves.flat_map(|v| [v.next_down(), v, v.next_up()]);
        for value in near.chain([-1.0, -0.0, 2.0, f32::INFINITY, f32::NEG_INFINITY]) {
            let expected = (value.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
            assert_eq!(to_u8(value), expected, "{value}");
        }
    }
}
