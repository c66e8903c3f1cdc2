//! The programs and decoder weights that Patchwire ships, embedded so that a binary runs alone.
//! Each has a model card beside it.
#![forbid(unsafe_code)]

/// Classification program (`.nqe`), CIFAR-10 classes.
pub static CLASSIFY: &[u8] = include_bytes!("classify.nqe");

/// Score from which on a label of [`CLASSIFY`] is shown as sure. Of crops of photographs, hardly any of which shows one
/// of its classes, a tenth reaches it; `classify.md` has the measurement.
pub const SURE: f32 = 0.9;

/// Compression program (`.nqe`), 256 bits per 32x32 patch.
pub static COMPRESS: &[u8] = include_bytes!("compress.nqe");

/// Prior of the latent codec (`.pwp`) for the latents that [`COMPRESS`] makes.
pub static PRIOR: &[u8] = include_bytes!("compress.pwp");

/// Decoder (`.safetensors`) of the latents that [`COMPRESS`] makes.
pub static DECODER: &[u8] = include_bytes!("decoder.safetensors");

/// The small decoder of the same latents.
pub static FAST_DECODER: &[u8] = include_bytes!("fast.safetensors");

/// [`FAST_DECODER`] or [`DECODER`].
pub fn decoder(fast: bool) -> &'static [u8] {
    if fast { FAST_DECODER } else { DECODER }
}

/// Bits of a patch, below all of [`COMPRESS`]'s, that [`DECODER`] and [`FAST_DECODER`] decode too: the first ones.
pub const PREFIXES: [u32; 3] = [64, 128, 192];
