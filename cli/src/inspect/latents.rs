//! Files of latents, and priors of their codec.

use std::fmt::{self, Write};

use ::latent::codec::Header;
use ::latent::{LatentFrame, prior::Prior};
use anyhow::Result;
use bytes::Bytes;
use cloud_decoder::store::stored_frame::StoredFrame;
use nqe::ProgramId;

use crate::latents::is_coded;
use crate::terminal::grouped;

/// A description, if the file begins as a prior, as coded latents, or as a container or an object of the cloud's store.
pub(super) fn describe(file: &[u8]) -> Option<Result<String>> {
    match file.first_chunk::<4>() {
        Some(b"PWP1") => Some(prior(file)),
        Some(b"PWL1" | b"PWF1") => Some(container(file)),
        _ => is_coded(file).then(|| coded(file)),
    }
}

fn prior(file: &[u8]) -> Result<String> {
    let prior = Prior::from_bytes(file)?;
    Ok(format!(
        "prior      of up to {} bits a 32x32 patch, {} bytes\nid         {}\nprogram    {}\n",
        prior.bits(),
        grouped(file.len() as u64),
        prior.id(),
        ProgramId::from(*prior.program())
    ))
}

fn coded(file: &[u8]) -> Result<String> {
    let header = Header::read(file)?;
    let mut text = String::new();
    let how = match (header.stored, header.referenced) {
        (true, _) => "stored as they are",
        (false, true) => "coded with the camera's frame before as reference",
        (false, false) => "coded alone",
    };
    writeln!(text, "latents    {how}, version {}", file[0])?;
    let size = (header.width, header.height);
    shape(&mut text, size, header.bits, header.container_bytes(), file)?;
    writeln!(text, "prior      {}", header.prior)?;
    writeln!(text, "checksum   {:08x}", header.checksum)?;
    Ok(text)
}

fn container(file: &[u8]) -> Result<String> {
    let container = StoredFrame::decode(Bytes::copy_from_slice(file))?.latents;
    let bytes = container.len();
    let latents = LatentFrame::decode(container)?;
    let mut text = String::new();
    writeln!(text, "latents    a container")?;
    let size = (latents.width, latents.height);
    shape(&mut text, size, latents.bits, bytes, file)?;
    writeln!(text, "program    {}", ProgramId::from(latents.program))?;
    writeln!(text, "checksum   {:08x}", latents.checksum())?;
    Ok(text)
}

fn shape(
    text: &mut String,
    (width, height): (u32, u32),
    bits: u32,
    container: usize,
    file: &[u8],
) -> fmt::Result {
    writeln!(
        text,
        "frame      {width}x{height} pixels, {bits} bits a 32x32 patch"
    )?;
    let (container, file) = (grouped(container as u64), grouped(file.len() as u64));
    writeln!(text, "size       {file} bytes, {container} as a container")
}
