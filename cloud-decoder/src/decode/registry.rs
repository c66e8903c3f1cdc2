//! The decoders of this service, each for the latents of one program.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use latent::{LatentFrame, prior::Prior};
use patchwire_proto::limits::MAX_PRIORS;
use purenet::Decoder;

/// Extension of priors of the latent codec.
const PRIOR_EXTENSION: &str = "pwp";
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
    priors: Vec<Arc<Prior>>,
}

impl Decoders {
    /// Loads `main`, or in its place an embedded decoder, the `fast` one or the large, and every decoder in the folder
    /// `further`. The priors of the latent codec are the embedded one, the one beside `main`, and every prior in the
    /// folder.
    ///
    /// # Errors
    /// A file that cannot be read or is no decoder or prior, two decoders for one program, or too many priors.
    pub(crate) fn load(
        main: Option<&Path>,
        fast: bool,
        further: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let beside = main.map(|main| main.with_extension(PRIOR_EXTENSION));
        let main = match main {
            Some(file) => read(file)?,
            None => Decoder::from_safetensors(patchwire_models::decoder(fast))
                .context("the embedded decoder cannot be loaded")?,
        };
        let main = Arc::new(main);
        let mut by_program = BTreeMap::from([(main.program(), main.clone())]);
        for file in further
            .map(|folder| files(folder, EXTENSION))
            .transpose()?
            .unwrap_or_default()
        {
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
        let mut prior_files: Vec<_> = beside.into_iter().filter(|file| file.exists()).collect();
        let further = further.map(|folder| files(folder, PRIOR_EXTENSION));
        prior_files.extend(further.transpose()?.unwrap_or_default());
        Ok(Self {
            main,
            by_program,
            priors: priors(&prior_files)?,
        })
    }

    /// The priors of the latent codec, each once.
    pub(crate) fn priors(&self) -> &[Arc<Prior>] {
        &self.priors
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

/// The embedded prior and those of these files, each once.
fn priors(files: &[PathBuf]) -> anyhow::Result<Vec<Arc<Prior>>> {
    let embedded = Prior::from_bytes(patchwire_models::PRIOR);
    let embedded = embedded.context("the embedded prior cannot be loaded")?;
    let mut priors = BTreeMap::from([(embedded.id(), Arc::new(embedded))]);
    for file in files {
        let bytes = daemon::files::read(file)?;
        let prior = Prior::from_bytes(&bytes)
            .with_context(|| format!("prior {} cannot be loaded", file.display()))?;
        priors.insert(prior.id(), Arc::new(prior));
    }
    let count = priors.len();
    ensure!(
        count <= MAX_PRIORS,
        "{count} priors are installed, at most {MAX_PRIORS} can be"
    );
    Ok(priors.into_values().collect())
}

/// The files in a folder of decoders that have this extension, by name.
fn files(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = || format!("decoders {} cannot be read", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.extension().is_some_and(|e| e == extension) {
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
