//! The chip: two programs on the emulator, run on worker threads of their own.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, ensure};
use nqe::{Emulator, Program};
use patchwire_proto::{
    latent::LatentFrame,
    limits::{MAX_LABEL_TEXT, MAX_LABELS},
};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::{config::Config, intake::Frame, metrics::TaskKind, rate::Rate};

/// What a camera asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Task {
    Compress,
    Classify,
    Both,
}

impl Task {
    /// Whether latents are made.
    pub fn compresses(self) -> bool {
        self != Self::Classify
    }

    /// Whether a label is made.
    pub fn classifies(self) -> bool {
        self != Self::Compress
    }
}

impl From<Task> for TaskKind {
    fn from(task: Task) -> Self {
        match task {
            Task::Compress => Self::Compress,
            Task::Classify => Self::Classify,
            Task::Both => Self::Both,
        }
    }
}

/// One class and its probability.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Score {
    /// The class.
    pub label: String,
    /// Softmax of the logits, 0 to 1.
    pub score: f32,
}

/// What the chip made of a frame.
#[derive(Debug)]
pub struct Encoded {
    /// Present if the task was to compress.
    pub latents: Option<LatentFrame>,
    /// Most likely class first; present if the task was to classify.
    pub scores: Option<Vec<Score>>,
    /// Time in the emulator.
    pub elapsed_ns: u64,
}

/// The loaded programs and the threads that run them.
pub struct Encoder {
    compress: Emulator,
    classify: Emulator,
    pool: ThreadPool,
}

/// A job on the worker threads panicked; the panic is in the log.
#[derive(Debug, thiserror::Error)]
#[error("an encoder job panicked")]
pub struct Failed;

impl Encoder {
    /// Loads the programs, starts the threads and runs a warm-up patch through each program.
    ///
    /// # Errors
    /// A program that cannot be read, is not valid, is over budget or is for the other task.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        let programs = &config.programs;
        let compress = load(
            &programs.compress,
            patchwire_models::COMPRESS,
            nqe::Task::Compress,
        )?;
        let classify = load(
            &programs.classify,
            patchwire_models::CLASSIFY,
            nqe::Task::Classify,
        )?;
        for label in classify.labels() {
            let fits = (1..=MAX_LABEL_TEXT).contains(&label.len());
            ensure!(
                fits,
                "classification label {label:?} is not 1 to {MAX_LABEL_TEXT} bytes long"
            );
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(config.threads)
            .thread_name(|index| format!("encode-{index}"))
            .panic_handler(|_| tracing::error!("an encoder job panicked"))
            .build()
            .context("cannot start the encoder's threads")?;
        let encoder = Self {
            compress: Emulator::new(compress),
            classify: Emulator::new(classify),
            pool,
        };
        let patch = vec![0; nqe::PATCH * nqe::PATCH * 3];
        for emulator in encoder.emulators() {
            let name = emulator.program().name();
            emulator
                .run_patch(&patch)
                .with_context(|| format!("warm-up of program {name:?} failed"))?;
        }
        Ok(encoder)
    }

    /// The compressing and the classifying emulator, in this order.
    pub fn emulators(&self) -> [&Emulator; 2] {
        [&self.compress, &self.classify]
    }

    /// The policy for the bits of the program that compresses.
    ///
    /// # Errors
    /// A pinned rate that the program does not have.
    pub fn rate(&self, config: &Config) -> anyhow::Result<Rate> {
        let shipped: &[u32] = match config.programs.compress {
            None => &patchwire_models::PREFIXES,
            Some(_) => &[],
        };
        let config = &config.rate;
        let bits = self.compress.program().latent_bits().unwrap_or_default();
        Rate::new(
            config.bits,
            config.steps.as_deref().unwrap_or(shipped),
            bits,
        )
    }

    /// Id of the program that classifies.
    pub fn classifier(&self) -> [u8; 32] {
        *self.classify.program().id().as_bytes()
    }

    /// Worker threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `job` on the worker threads, where [`encode`](Self::encode) runs in parallel.
    ///
    /// # Errors
    /// [`Failed`] if it panicked.
    pub async fn spawn<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failed> {
        let (done, result) = oneshot::channel();
        self.pool.spawn(move || {
            if done.send(job()).is_err() {
                tracing::debug!("a client left before its frame was encoded");
            }
        });
        result.await.map_err(|_| Failed)
    }

    /// Runs the chip on a frame.
    ///
    /// # Errors
    /// What the emulator refuses; nothing for a frame that passed the intake.
    pub fn encode(&self, frame: &Frame, task: Task) -> Result<Encoded, nqe::FrameError> {
        let (rgb, width, height) = (&frame.rgb, frame.width, frame.height);
        let start = Instant::now();
        let mut encoded = Encoded {
            latents: None,
            scores: None,
            elapsed_ns: 0,
        };
        if task.compresses() {
            let payload = self.compress.encode_frame(rgb, width, height)?.into();
            let program = self.compress.program();
            encoded.latents = Some(LatentFrame {
                bits: program.latent_bits().unwrap_or_default(),
                width,
                height,
                program: *program.id().as_bytes(),
                payload,
            });
        }
        if task.classifies() {
            let program = self.classify.program();
            let logits = self.classify.classify_frame(rgb, width, height)?;
            encoded.scores = Some(rank(program.labels(), &logits, program.score_shift()));
        }
        encoded.elapsed_ns = start.elapsed().as_nanos() as u64;
        Ok(encoded)
    }
}

fn load(
    path: &Option<impl AsRef<Path>>,
    shipped: &[u8],
    task: nqe::Task,
) -> anyhow::Result<Arc<Program>> {
    let (program, source) = match path {
        None => (
            Program::from_bytes(shipped),
            format!("the shipped {task} program"),
        ),
        Some(path) => {
            let source = format!("program {}", path.as_ref().display());
            let bytes = std::fs::read(path).with_context(|| format!("cannot read {source}"))?;
            (Program::from_bytes(&bytes), source)
        }
    };
    let program = program.with_context(|| format!("cannot load {source}"))?;
    ensure!(
        program.task() == task,
        "{source} is for {}, not for {task}",
        program.task()
    );
    Ok(Arc::new(program))
}

/// Softmax in f32 over the scaled logits, most likely class first, at most [`MAX_LABELS`]. Equal logits
/// keep the order of the labels.
fn rank(labels: &[String], logits: &[i32], score_shift: u32) -> Vec<Score> {
    let scale = (-f64::from(score_shift)).exp2() as f32;
    let top = logits.iter().copied().max().unwrap_or_default();
    let weight = |logit: i32| ((i64::from(logit) - i64::from(top)) as f32 * scale).exp();
    let total: f32 = logits.iter().map(|&logit| weight(logit)).sum();
    let mut ranked: Vec<_> = labels.iter().zip(logits).collect();
    ranked.sort_by_key(|&(_, &logit)| std::cmp::Reverse(logit));
    ranked.truncate(MAX_LABELS);
    let score = |(label, &logit): (&String, &i32)| Score {
        label: label.clone(),
        score: (weight(logit) / total).min(1.0),
    };
    ranked.into_iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_by_softmax() {
        let labels = ["a", "b", "c"].map(String::from);
        let ranked = rank(&labels, &[0, 16, 0], 3);
        let order: Vec<_> = ranked.iter().map(|score| score.label.as_str()).collect();
        assert_eq!(order, ["b", "a", "c"]);
        let e2 = 2f32.exp();
        assert!(
            (ranked[0].score - e2 / (e2 + 2.0)).abs() < 1e-6,
            "{ranked:?}"
        );
        let extreme = rank(&labels, &[i32::MIN, i32::MAX, i32::MIN], 0);
        assert_eq!((extreme[0].score, extreme[1].score), (1.0, 0.0));
    }
}
