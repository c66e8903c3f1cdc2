//! `encode`, `decode`, and the path between pixels and latents that `evaluate` shares with them.

use std::path::Path;

use ::latent::codec::{self, CodecError, Header};
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
use crate::terminal::{grouped, out};

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
    let bytes = match args.coded {
        true => code(args.program.as_deref(), &emulator, &latents)?,
        false => latents.encode(),
    };
    write(&args.output, &bytes)?;
    let line = format!(
        "{}: {} bytes, {}x{}, {} patches of {} bits, {:.4} bpp, program {}",
        args.output.display(),
        grouped(bytes.len() as u64),
        latents.width,
        latents.height,
        latents.patches(),
        latents.bits,
        latents.bits_per_pixel(),
        emulator.program().id()
    );
    Ok(out(line)?)
}

/// A frame as it travels when its camera has sent none before.
fn code(program: Option<&Path>, emulator: &Emulator, latents: &LatentFrame) -> Result<Bytes> {
    let prior = models::prior(program, emulator.program())?;
    let prior = prior
        .context("the program has no prior: there is no file beside it with the ending .pwp")?;
    ensure!(
        latents.bits <= prior.bits(),
        "the program's prior is for {} bits a patch, and the latents have {}",
        prior.bits(),
        latents.bits
    );
    Ok(codec::encode(&prior, latents, None))
}

/// `patchwire decode`.
pub(crate) fn decode(args: &DecodeArgs) -> Result<()> {
    let decoder = models::decoder(args.decoder.as_deref(), args.fast)?;
    let latents = read(&args.latents, args.decoder.as_deref())?;
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

/// The latents in a file: coded, a latent container, or an object of the cloud's store that holds one. The prior of
/// coded ones may be beside the `decoder`'s file.
pub(crate) fn read(path: &Path, decoder: Option<&Path>) -> Result<LatentFrame> {
    let file = Bytes::from(read_bounded(path, MAX_CONTAINER_BYTES + MAX_RECORD_BYTES)?);
    if is_coded(&file) {
        let cannot = || format!("cannot decode {}", path.display());
        let header = Header::read(&file).with_context(cannot)?;
        let prior = models::prior_with_id(header.prior, decoder)?;
        let prior = prior
            .ok_or(CodecError::Prior(header.prior))
            .with_context(cannot)?;
        if header.referenced {
            return Err(CodecError::Reference).with_context(cannot);
        }
        return codec::decode(&prior, &file, None, || true).with_context(cannot);
    }
    let not_one = || format!("{} is not a latent container", path.display());
    let stored = StoredFrame::decode(file).with_context(not_one)?;
    LatentFrame::decode(stored.latents).with_context(not_one)
}

/// Whether a file of latents begins as coded ones do.
pub(crate) fn is_coded(file: &[u8]) -> bool {
    file.first() == Some(&codec::VERSION)
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

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
