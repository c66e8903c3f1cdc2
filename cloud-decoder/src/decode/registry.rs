//! The decoders of this service, each for the latents of one program.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use anyhow::{Context as _, ensure};
use latent::LatentFrame;
use purenet::Decoder;

/// Extension of the files in the folder of further decoders.
const EXTENSION: &str = "safetensors";

/// No installed decoder takes these latents. A frame fails with this sentence until there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no decoder for program {} at {bits} bits a patch is installed", hex::encode(.program))]
pub(crate) struct NoDecoder {
    pub(crate) program: [u8; 32],
    pub(crate) bits: u32,
}

/// All decoders, loaded.
pub(crate) struct Decoders {
    /// The configured decoder, or else an embedded one.
    pub(crate) main: Arc<Decoder>,
    by_program: BTreeMap<[u8; 32], Arc<Decoder>>,
}

impl Decoders {
    /// Loads `main`, or in its place an embedded decoder, the `fast` one or the large, and every decoder in the folder
    /// `further`.
    ///
    /// # Errors
    /// A file that cannot be read or is no decoder, or two decoders for one program.
    pub(crate) fn load(
        main: Option<&Path>,
        fast: bool,
        further: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let main = match main {
            Some(file) => read(file)?,
            None => Decoder::from_safetensors(patchwire_models::decoder(fast))
                .context("the embedded decoder cannot be loaded")?,
        };
        let main = Arc::new(main);
        let mut by_program = BTreeMap::from([(main.program(), main.clone())]);
        for file in further.map(files).transpose()?.unwrap_or_default() {
            let decoder = read(&file)?;
            let program = decoder.program();
            let another = by_program.insert(program, Arc::new(decoder));
            ensure!(
                another.is_none(),
                "decoder {} is the second one for program {}",
                file.display(),
                hex::encode(program)
            );
        }
        Ok(Self { main, by_program })
    }

    /// The decoder that takes latents of a program at a rate.
    pub(crate) fn find(&self, program: [u8; 32], bits: u32) -> Result<&Arc<Decoder>, NoDecoder> {
        self.by_program
            .get(&program)
            .filter(|decoder| decoder.rates().contains(&bits))
            .ok_or(NoDecoder { program, bits })
    }

    /// The decoder that takes these latents.
    pub(crate) fn of(&self, latents: &LatentFrame) -> Result<&Arc<Decoder>, NoDecoder> {
        self.find(latents.program, latents.bits)
    }

    /// All of them, in the order of their programs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Decoder>> {
        self.by_program.values()
    }
}

/// The decoders in a folder, by name.
fn files(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let unreadable = || format!("decoders {} cannot be read", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.extension().is_some_and(|e| e == EXTENSION) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> anyhow::Result<Decoder> {
    let bytes =
        fs::read(file).with_context(|| format!("decoder {} cannot be read", file.display()))?;
    Decoder::from_safetensors(&bytes)
        .with_context(|| format!("decoder {} cannot be loaded", file.display()))
}
