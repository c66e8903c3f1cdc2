//! `encode`, `decode`, and the path between pixels and latents that `evaluate` shares with them.

use std::path::Path;

use ::latent::{LatentFrame, MAX_BITS, OVERHEAD_BYTES, PATCH};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use cloud_decoder::store::stored_frame::StoredFrame;
use nqe::{Emulator, ProgramId};
use patchwire_proto::limits::MAX_SIDE;
use purenet::Decoder;

use crate::args::{DecodeArgs, EncodeArgs};
use crate::frames::{self, Frame, read_bounded};
use crate::models;
use crate::terminal::out;

/// Bytes of the largest latent container that the format allows.
pub(crate) const MAX_CONTAINER_BYTES: u64 = {
    let patches = MAX_SIDE.div_ceil(PATCH) as u64;
    patches * patches * (MAX_BITS / 8) as u64 + OVERHEAD_BYTES as u64
};

/// Most bytes that an object of the cloud's store has beside its container; real ones have a few hundred.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// `patchwire encode`.
pub(crate) fn encode(args: &EncodeArgs) -> Result<()> {
    let emulator = models::compressor(args.program.as_deref())?;
    let frame = frames::load(&args.image)?;
    let mut latents = compress(&emulator, &frame)?;
    if let Some(bits) = args.bits {
        latents = latents.prefix(bits)?;
    }
    write(&args.output, &latents.encode())?;
    let line = format!(
        "{}: {}x{}, {} patches of {} bits, {:.4} bpp, program {}",
        args.output.display(),
        latents.width,
        latents.height,
        latents.patches(),
        latents.bits,
        latents.bits_per_pixel(),
        emulator.program().id()
    );
    Ok(out(line)?)
}

/// `patchwire decode`.
pub(crate) fn decode(args: &DecodeArgs) -> Result<()> {
    let decoder = models::decoder(args.decoder.as_deref(), args.fast)?;
    let latents = read(&args.latents)?;
    let rgb = reconstruct(&decoder, &latents)?;
    let (width, height) = (latents.width, latents.height);
    let picture = media::reconstruction::encode(&rgb, width, height, &decoder.id())?;
    write(&args.output, &picture)?;
    let line = format!(
        "{}: {}x{} from {:.4} bpp",
        args.output.display(),
        latents.width,
        latents.height,
        latents.bits_per_pixel()
    );
    Ok(out(line)?)
}

/// The latents in a file: a latent container, or an object of the cloud's store that holds one.
pub(crate) fn read(path: &Path) -> Result<LatentFrame> {
    let file = read_bounded(path, MAX_CONTAINER_BYTES + MAX_RECORD_BYTES)?;
    let not_one = || format!("{} is not a latent container", path.display());
    let stored = StoredFrame::decode(Bytes::from(file)).with_context(not_one)?;
    LatentFrame::decode(stored.latents).with_context(not_one)
}

/// The latents of a frame.
pub(crate) fn compress(emulator: &Emulator, frame: &Frame) -> Result<LatentFrame> {
    let program = emulator.program();
    let bits = program
        .latent_bits()
        .context("the program makes no latents")?;
    let payload = emulator.encode_frame(&frame.rgb, frame.width, frame.height)?;
    Ok(LatentFrame {
        bits,
        width: frame.width,
        height: frame.height,
        program: *program.id().as_bytes(),
        payload: payload.into(),
    })
}

/// The frame that `decoder` makes of `latents`: RGB rows.
pub(crate) fn reconstruct(decoder: &Decoder, latents: &LatentFrame) -> Result<Vec<u8>> {
    ensure!(
        decoder.program() == latents.program,
        "the latents are of program {}, and the decoder is for program {}",
        ProgramId::from(latents.program),
        ProgramId::from(decoder.program())
    );
    Ok(decoder.decode(&latents.payload, latents.width, latents.height)?)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
