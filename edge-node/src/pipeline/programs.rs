//! The loaded programs, by camera.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use daemon::error::one_line;
use latent::prior::Prior;
use nqe::{Emulator, Program, Task};
use patchwire_proto::limits::MAX_LABEL_TEXT;

use super::rate::Rate;
use crate::config;

/// A program on the emulator.
pub(crate) struct Loaded {
    /// The emulator.
    pub(crate) emulator: Emulator,
    /// Of a program that compresses.
    rate: Option<Rate>,
}

/// The programs of one camera.
#[derive(Clone)]
pub(crate) struct Choice {
    /// For the task to compress.
    pub(crate) compress: Arc<Loaded>,
    /// For the task to classify.
    pub(crate) classify: Arc<Loaded>,
}

/// All loaded programs.
pub(crate) struct Programs {
    all: Choice,
    cameras: BTreeMap<String, Choice>,
    priors: Vec<Arc<Prior>>,
}

impl Loaded {
    /// Loads a program and runs it on a warm-up patch.
    ///
    /// # Errors
    /// Why it cannot be used, as the rest of a sentence that the file's name begins.
    pub(super) fn new(bytes: &[u8], task: Task, rate: &config::Rate) -> Result<Self, String> {
        let program = Program::from_bytes(bytes)
            .map_err(|error| format!("cannot be loaded: {}", one_line(&error)))?;
        if program.task() != task {
            return Err(format!("is for {}, not for {task}", program.task()));
        }
        let allowed = 1..=MAX_LABEL_TEXT;
        let mut labels = program.labels().iter();
        if let Some(label) = labels.find(|label| !allowed.contains(&label.len())) {
            return Err(format!(
                "has the label {label:?}, which is not 1 to {MAX_LABEL_TEXT} bytes long"
            ));
        }
        let rate = program.latent_bits().map(|bits| {
            let shipped: &[u32] = match bytes == patchwire_models::COMPRESS {
                true => &patchwire_models::PREFIXES,
                false => &[],
            };
            let steps = rate.steps.as_deref().unwrap_or(shipped);
            Rate::new(rate.bits, steps, bits).map_err(|error| format!("cannot be used: {error}"))
        });
        let rate = rate.transpose()?;
        let emulator = Emulator::new(Arc::new(program));
        let patch = vec![0; nqe::PATCH * nqe::PATCH * 3];
        emulator
            .run_patch(&patch)
            .map_err(|error| format!("fails on a warm-up patch: {}", one_line(&error)))?;
        Ok(Self { emulator, rate })
    }

    /// Id of the program.
    pub(crate) fn id(&self) -> [u8; 32] {
        *self.emulator.program().id().as_bytes()
    }

    /// Bits per patch of a new frame when the share `fill` of the spool, 0 to 1, is in use; 0 for a program that
    /// classifies.
    pub(crate) fn bits(&self, fill: f64) -> u32 {
        self.rate.as_ref().map_or(0, |rate| rate.bits(fill))
    }
}

impl Programs {
    /// `all` for the cameras that are not among `cameras`.
    pub(super) fn new(
        all: Choice,
        cameras: BTreeMap<String, Choice>,
        priors: Vec<Arc<Prior>>,
    ) -> Self {
        Self {
            all,
            cameras,
            priors,
        }
    }

    /// Priors of the latent codec for these programs.
    pub(crate) fn priors(&self) -> &[Arc<Prior>] {
        &self.priors
    }

    /// The programs of a camera.
    pub(crate) fn of(&self, camera: &str) -> &Choice {
        self.cameras.get(camera).unwrap_or(&self.all)
    }

    /// The programs of cameras without a line of their own.
    pub(crate) fn all(&self) -> &Choice {
        &self.all
    }

    /// The programs of cameras with a line of their own, by camera.
    pub(crate) fn cameras(&self) -> impl Iterator<Item = (&str, &Choice)> {
        let cameras = self.cameras.iter();
        cameras.map(|(camera, choice)| (camera.as_str(), choice))
    }

    /// Each program once; the programs of cameras without a line come first.
    pub(crate) fn loaded(&self) -> Vec<&Arc<Loaded>> {
        let mut seen = HashSet::new();
        [&self.all]
            .into_iter()
            .chain(self.cameras.values())
            .flat_map(|choice| [&choice.compress, &choice.classify])
            .filter(|loaded| seen.insert(loaded.id()))
            .collect()
    }
}
