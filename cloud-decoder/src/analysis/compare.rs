//! A reconstruction beside its original: the error of each patch, and what JPEG makes of the same bytes.
//!
//! Comparisons are made on request, one at a time, so that many requests delay only each other.

use std::sync::Arc;

use bytes::Bytes;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use quality::PATCH;
use tokio::sync::Semaphore;

use crate::store::objects::ObjectError;

/// Largest picture that is compared, in pixels.
pub(crate) const MAX_COMPARED_PIXELS: u64 = 16 << 20;

/// Why a comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompareError {
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error("a picture does not decode: {0}")]
    Read(#[from] media::DecodeError),
    #[error("JPEG cannot be written: {0}")]
    Write(#[from] jpeg_encoder::EncodingError),
    #[error(transparent)]
    Quality(#[from] quality::QualityError),
    #[error("the comparison panicked or the service is shutting down")]
    Broken,
}

/// Makes comparisons, one at a time.
#[derive(Clone)]
pub(crate) struct Comparisons {
    slot: Arc<Semaphore>,
}

impl Default for Comparisons {
    fn default() -> Self {
        Self {
            slot: Arc::new(Semaphore::new(1)),
        }
    }
}

/// A picture as it is kept.
pub(crate) struct Picture {
    pub(crate) media_type: String,
    pub(crate) data: Bytes,
}

/// The original as JPEG.
pub(crate) struct SameSize {
    pub(crate) jpeg: Bytes,
    /// 1 to 100.
    pub(crate) quality: u8,
    pub(crate) measured: quality::Quality,
}

impl Comparisons {
    /// Mean squared error of each patch over RGB, row by row.
    pub(crate) async fn patches(
        &self,
        original: Picture,
        rebuilt: Picture,
        size: (u32, u32),
    ) -> Result<Vec<f32>, CompareError> {
        let work = move || {
            Ok(patch_errors(
                &original.read(size)?,
                &rebuilt.read(size)?,
                size.0,
            ))
        };
        self.run(work).await
    }

    /// The original as the best JPEG of at most so many bytes; the smallest there is, if that takes more.
    pub(crate) async fn same_size(
        &self,
        original: Picture,
        size: (u32, u32),
        bytes: usize,
    ) -> Result<SameSize, CompareError> {
        self.run(move || best_jpeg(&original.read(size)?, size, bytes))
            .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, CompareError> + Send + 'static,
    ) -> Result<T, CompareError> {
        let slot = self.slot.clone().acquire_owned().await;
        let slot = slot.map_err(|_| CompareError::Broken)?;
        let work = move || {
            // Held until the work ends, even if the request is gone.
            let _slot = slot;
            work()
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| CompareError::Broken)?
    }
}

impl Picture {
    fn read(&self, (width, height): (u32, u32)) -> Result<Vec<u8>, media::DecodeError> {
        media::decode_as(&self.data, &self.media_type, (width, height))
    }
}

/// The quality of one RGB picture against another of the same size.
fn patch_errors(a: &[u8], b: &[u8], width: u32) -> Vec<f32> {
    let (stride, side) = (width as usize * 3, PATCH as usize);
    let columns = width.div_ceil(PATCH) as usize;
    let mut errors = Vec::new();
    for (a, b) in a.chunks(stride * side).zip(b.chunks(stride * side)) {
        let mut sums = vec![(0u64, 0u64); columns];
        for (a, b) in a.chunks(stride).zip(b.chunks(stride)) {
            let patches = a.chunks(side * 3).zip(b.chunks(side * 3));
            for ((a, b), (sum, count)) in patches.zip(&mut sums) {
                let squares = a
                    .iter()
                    .zip(b)
                    .map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2));
                *sum += squares.sum::<u64>();
                *count += a.len() as u64;
            }
        }
        errors.extend(sums.iter().map(|&(sum, count)| sum as f32 / count as f32));
    }
    errors
}

fn best_jpeg(rgb: &[u8], size: (u32, u32), bytes: usize) -> Result<SameSize, CompareError> {
    let mut best = (1, jpeg(rgb, size, 1)?);
    let (mut low, mut high) = (2, 100);
    while low <= high && best.1.len() <= bytes {
        let quality = low + (high - low) / 2;
        let data = jpeg(rgb, size, quality)?;
        if data.len() <= bytes {
            best = (quality, data);
            low = quality + 1;
        } else {
            high = quality - 1;
        }
    }
    let (quality, data) = best;
    let seen = media::decode_as(&data, "image/jpeg", size)?;
    Ok(SameSize {
        measured: quality::measure(rgb, &seen, size.0, size.1)?,
        jpeg: data.into(),
        quality,
    })
}

/// Encodes a progressive JPEG with colour at half the resolution and optimized Huffman tables, which is best at few
/// bits. With such tables, a sequential JPEG has a scan per channel, which the decoder here reads wrongly.
fn jpeg(rgb: &[u8], (width, height): (u32, u32), quality: u8) -> Result<Vec<u8>, CompareError> {
    let mut data = Vec::new();
    let mut encoder = Encoder::new(&mut data, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_optimized_huffman_tables(true);
    encoder.set_progressive_scans(2);
    let side = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
    encoder.encode(rgb, side(width), side(height), ColorType::Rgb)?;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(width: u32, height: u32) -> Vec<u8> {
        let pixel = |x: u32, y: u32| [x as u8, y as u8, ((x + y) / 2) as u8];
        let rows = (0..height).flat_map(|y| (0..width).map(move |x| pixel(x, y)));
        rows.flatten().collect()
    }

    #[test]
    fn an_error_is_found_in_its_patch() {
        let a = scene(70, 40);
        let mut b = a.clone();
        // One channel of a pixel of the second patch of the second row, which is 32 x 8 pixels.
        b[(35 * 70 + 40) * 3] ^= 0x10;
        let errors = patch_errors(&a, &b, 70);
        assert_eq!(errors.len(), 3 * 2);
        let want = 256.0 / (32.0 * 8.0 * 3.0);
        assert_eq!(errors, [0.0, 0.0, 0.0, 0.0, want, 0.0]);
    }

    #[test]
    fn the_best_jpeg_that_fits_is_taken() {
        let rgb = scene(256, 192);
        let bytes = 2000;
        let made = best_jpeg(&rgb, (256, 192), bytes).expect("JPEG");
        assert!(made.jpeg.len() <= bytes);
        let next = jpeg(&rgb, (256, 192), made.quality + 1).expect("JPEG");
        assert!(next.len() > bytes, "quality {} fits too", made.quality + 1);
        // A low value would mean that our decoder misread the JPEG.
        assert!(made.measured.psnr_db > 30.0, "{:?}", made.measured);
    }

    #[test]
    fn where_none_fits_the_smallest_is_taken() {
        let made = best_jpeg(&scene(64, 64), (64, 64), 10).expect("JPEG");
        assert_eq!(made.quality, 1);
        assert!(made.jpeg.len() > 10);
    }
}
