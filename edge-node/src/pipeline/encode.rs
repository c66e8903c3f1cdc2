//! The chip: programs on the emulator, on worker threads of their own.

use std::time::Instant;

use daemon::files::Live;
use latent::LatentFrame;
use media::Picture;
use patchwire_proto::limits::MAX_LABELS;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::programs::{Choice, Programs};
use crate::task::Task;

/// One class and its probability.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Score {
    /// The class.
    pub(crate) label: String,
    /// Softmax of the logits, 0 to 1.
    pub(crate) score: f32,
}

/// The result of a program that classifies.
#[derive(Debug)]
pub(crate) struct Classified {
    /// Id of the program.
    pub(crate) program: [u8; 32],
    /// Most likely class first.
    pub(crate) scores: Vec<Score>,
}

/// The results of a frame.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// Present if the task was to compress.
    pub(crate) latents: Option<LatentFrame>,
    /// Present if the task was to classify.
    pub(crate) classified: Option<Classified>,
    /// Time in the emulator in nanoseconds.
    pub(crate) elapsed_ns: u64,
}

/// The loaded programs and the threads that run them.
pub(crate) struct Encoder {
    programs: Live<Programs>,
    pool: ThreadPool,
}

/// A job on the worker threads panicked; the panic is in the log.
#[derive(Debug, thiserror::Error)]
#[error("an encoder job panicked")]
pub(crate) struct Panicked;

impl Encoder {
    /// Starts `threads` threads for the programs; 0 means one per core.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub(crate) fn new(
        programs: Live<Programs>,
        threads: usize,
    ) -> Result<Self, ThreadPoolBuildError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("encode-{index}"))
            .panic_handler(|_| tracing::error!("an encoder job panicked"))
            .build()?;
        Ok(Self { programs, pool })
    }

    /// The loaded programs, kept up to date.
    pub(crate) fn programs(&self) -> &Live<Programs> {
        &self.programs
    }

    /// Number of worker threads.
    pub(crate) fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `job` on the worker threads, where [`encode`] runs in parallel.
    ///
    /// # Errors
    /// [`Panicked`] if it panicked.
    pub(crate) async fn spawn<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let (done, result) = oneshot::channel();
        self.pool.spawn(move || {
            if done.send(job()).is_err() {
                tracing::debug!("a client left before its frame was encoded");
            }
        });
        result.await.map_err(|_| Panicked)
    }
}

/// Runs a camera's programs on a frame.
///
/// # Errors
/// The emulator refuses the picture, which it does not for a decoded one.
pub(super) fn encode(
    choice: &Choice,
    picture: &Picture,
    task: Task,
) -> Result<Encoded, nqe::FrameError> {
    let (rgb, width, height) = (&picture.rgb, picture.width, picture.height);
    let start = Instant::now();
    let mut encoded = Encoded {
        latents: None,
        classified: None,
        elapsed_ns: 0,
    };
    if task.compresses() {
        let emulator = &choice.compress.emulator;
        let payload = emulator.encode_frame(rgb, width, height)?.into();
        encoded.latents = Some(LatentFrame {
            bits: emulator.program().latent_bits().unwrap_or_default(),
            width,
            height,
            program: choice.compress.id(),
            payload,
        });
    }
    if task.classifies() {
        let emulator = &choice.classify.emulator;
        let program = emulator.program();
        let logits = emulator.classify_frame(rgb, width, height)?;
        encoded.classified = Some(Classified {
            program: choice.classify.id(),
            scores: rank(program.labels(), &logits, program.score_shift()),
        });
    }
    encoded.elapsed_ns = start.elapsed().as_nanos() as u64;
    Ok(encoded)
}

/// Softmax in f32 over the scaled logits, most likely class first, at most [`MAX_LABELS`]. Labels with equal logits
/// keep their order.
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
