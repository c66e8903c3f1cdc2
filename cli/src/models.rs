//! Programs, decoder weights and priors: the shipped ones, or a user's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use latent::prior::{Prior, PriorId};
use nqe::{Emulator, Program, ProgramId, Task};
use purenet::Decoder;
use sha2::{Digest as _, Sha256};

use crate::frames::read_bounded;

/// Most bytes of a program or decoder file; the shipped decoder is far smaller.
pub(crate) const MAX_MODEL_BYTES: u64 = 1 << 30;

/// Whether a file begins as a program does; if not, it may be a decoder.
pub(crate) fn is_program(bytes: &[u8]) -> bool {
    bytes.starts_with(b"NQE1")
}

/// Emulator for the compression program in `path`, or for the shipped one.
pub(crate) fn compressor(path: Option<&Path>) -> Result<Emulator> {
    emulator(path, patchwire_models::COMPRESS, Task::Compress)
}

/// Emulator for the classification program in `path`, or for the shipped one.
pub(crate) fn classifier(path: Option<&Path>) -> Result<Emulator> {
    emulator(path, patchwire_models::CLASSIFY, Task::Classify)
}

/// Decoder from the weights in `path`, or from shipped ones: the `fast` decoder's, or the large one's.
pub(crate) fn decoder(path: Option<&Path>, fast: bool) -> Result<Decoder> {
    match path {
        None => Decoder::from_safetensors(patchwire_models::decoder(fast))
            .context("a shipped decoder does not load"),
        Some(path) => Decoder::from_safetensors(&read_bounded(path, MAX_MODEL_BYTES)?)
            .with_context(|| format!("{} does not load", path.display())),
    }
}

/// The decoder with an id: the one in `path` or a shipped one. `None` if neither has this id.
pub(crate) fn decoder_with_id(id: [u8; 32], path: Option<&Path>) -> Result<Option<Decoder>> {
    let own = path.map(|path| read_bounded(path, MAX_MODEL_BYTES));
    let own = own.transpose()?;
    let shipped = [patchwire_models::DECODER, patchwire_models::FAST_DECODER];
    let mut at_hand = own.as_deref().into_iter().chain(shipped);
    let found = at_hand.find(|bytes| Sha256::digest(bytes)[..] == id);
    let loaded = found.map(Decoder::from_safetensors).transpose();
    loaded.context("the picture's decoder does not load")
}

/// The prior of the latents that the program in `path` makes, or the shipped one: the file beside it with the ending
/// `.pwp`, or the shipped prior. `None` if there is none of this program.
pub(crate) fn prior(path: Option<&Path>, program: &Program) -> Result<Option<Arc<Prior>>> {
    let of_it = |prior: &Prior| prior.program() == program.id().as_bytes();
    match prior_beside(path)? {
        Some((prior, file)) => {
            let (is, needed) = (ProgramId::from(*prior.program()), program.id());
            ensure!(
                of_it(&prior),
                "{} is of program {is}, and program {needed} is beside it",
                file.display()
            );
            Ok(Some(Arc::new(prior)))
        }
        None => Ok(Some(shipped_prior()?).filter(of_it).map(Arc::new)),
    }
}

/// The prior with an id: the one beside the decoder in `path`, with the ending `.pwp`, or the shipped one. `None` if
/// neither has this id.
pub(crate) fn prior_with_id(id: PriorId, path: Option<&Path>) -> Result<Option<Prior>> {
    let beside = prior_beside(path)?.map(|(prior, _)| prior);
    let mut at_hand = beside.into_iter().chain([shipped_prior()?]);
    Ok(at_hand.find(|prior| prior.id() == id))
}

fn shipped_prior() -> Result<Prior> {
    Prior::from_bytes(patchwire_models::PRIOR).context("the shipped prior does not load")
}

fn prior_beside(path: Option<&Path>) -> Result<Option<(Prior, PathBuf)>> {
    let file = path.map(|path| path.with_extension("pwp"));
    let Some(file) = file.filter(|file| file.exists()) else {
        return Ok(None);
    };
    let prior = Prior::from_bytes(&read_bounded(&file, MAX_MODEL_BYTES)?);
    let prior = prior.with_context(|| format!("{} does not load", file.display()))?;
    Ok(Some((prior, file)))
}

fn emulator(path: Option<&Path>, shipped: &[u8], task: Task) -> Result<Emulator> {
    let (program, name) = match path {
        None => (
            Program::from_bytes(shipped).context("a shipped program does not load")?,
            "the shipped program".to_owned(),
        ),
        Some(path) => (
            Program::from_bytes(&read_bounded(path, MAX_MODEL_BYTES)?)
                .with_context(|| format!("{} does not load", path.display()))?,
            path.display().to_string(),
        ),
    };
    ensure!(
        program.task() == task,
        "{name} is a {} program, and a {task} program is needed here",
        program.task()
    );
    Ok(Emulator::new(Arc::new(program)))
}
