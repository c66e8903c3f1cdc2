//! Decoder weights.

use std::sync::LazyLock;

use purenet::{DecodeError, Decoder, ModelError, PATCH};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Networks with more multiply-accumulates a pixel are loaded and not run.
const MOST_MACS: f64 = 2048.0;

/// One thread, the caller's own, so that an input costs no change of threads.
static POOL: LazyLock<ThreadPool> = LazyLock::new(|| {
    let pool = ThreadPoolBuilder::new().num_threads(1).use_current_thread();
    pool.build().expect("a thread")
});

pub(crate) fn run(input: &[u8]) {
    let decoder = match Tiny::load(input) {
        Ok(decoder) => decoder,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    if decoder.0.macs_per_pixel() > MOST_MACS {
        return;
    }
    let side = PATCH as u32 + 1;
    for &bits in decoder.rates() {
        let latents: Vec<u8> = (0..bits / 2)
            .map(|at| (at as u8).wrapping_mul(37))
            .collect();
        let rgb = decoder.decode(&latents, side, side).expect("four patches");
        whole(&rgb, side, side);
    }
}

pub(crate) fn whole(rgb: &[u8], width: u32, height: u32) {
    assert_eq!(rgb.len() as u64, u64::from(width) * u64::from(height) * 3);
}

/// A decoder that runs on the caller's thread.
pub(crate) struct Tiny(Decoder);

impl Tiny {
    pub(crate) fn load(bytes: &[u8]) -> Result<Self, ModelError> {
        Decoder::from_safetensors(bytes).map(Self)
    }

    pub(crate) fn rates(&self) -> &[u32] {
        self.0.rates()
    }

    pub(crate) fn decode(&self, latents: &[u8], w: u32, h: u32) -> Result<Vec<u8>, DecodeError> {
        POOL.install(|| self.0.decode(latents, w, h))
    }
}
