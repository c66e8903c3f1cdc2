//! Whether a frame that the cloud has is the one that was accepted.

use anyhow::{Context as _, Result, ensure};

use crate::{
    book::Accepted,
    found::{Found, Label, Record, Sum, sum},
    models::Models,
    scene::Shot,
};

/// Milliseconds by which two clocks that are right may differ.
const SLACK_MS: i64 = 100;

/// What a frame of a picture has to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Content {
    camera: String,
    size: (u32, u32),
    latents: Option<Sum>,
    label: Option<Label>,
}

impl Content {
    /// Of a picture, encoded by a program at a rate where it has latents.
    pub(crate) fn expected(models: &Models, shot: &Shot, program: &str, bits: u32) -> Result<Self> {
        let latents = match shot.task.compresses() {
            true => Some(sum(&models.latents(shot, program, bits)?.encode())),
            false => None,
        };
        let label = match shot.task.classifies() {
            true => Some(Label {
                program_id: models.classifier(),
                scores: models.label(shot)?,
            }),
            false => None,
        };
        Ok(Self {
            camera: shot.camera.clone(),
            size: (shot.width, shot.height),
            latents,
            label,
        })
    }

    /// Of a frame that is there.
    pub(crate) fn of(found: &Found) -> Self {
        let record = &found.row.record;
        Self {
            camera: record.camera.clone(),
            size: (record.width, record.height),
            latents: found.latents,
            label: record.label.clone(),
        }
    }
}

/// What the clocks of the services may have said.
pub(crate) trait Clocks {
    /// By how many seconds that of an edge node, or that of the cloud, may have been wrong within these milliseconds.
    fn wrong(&self, edge: Option<usize>, from_ms: i64, to_ms: i64) -> Vec<i64>;
}

/// How a frame differs from what was accepted. `node` is the name of the edge node.
pub(crate) fn compare(
    models: &Models,
    clocks: &dyn Clocks,
    node: &str,
    accepted: &Accepted,
    found: &Found,
) -> Result<()> {
    let record = &found.row.record;
    let expected = Content::expected(models, &accepted.shot, &accepted.program, accepted.bits)?;
    let content = Content::of(found);
    ensure!(content == expected, "it is {content:?}, not {expected:?}");
    let scores = record.label.as_ref().map(|label| &label.scores);
    ensure!(
        scores == accepted.scores.as_ref(),
        "its label is {scores:?}, and {:?} was answered",
        accepted.scores
    );
    ensure!(
        record.node == node,
        "its node is {}, not {node}",
        record.node
    );
    ensure!(
        found.original.is_some() == accepted.original,
        "an original was attached: {}, and is there: {}",
        accepted.original,
        found.original.is_some()
    );
    original(&accepted.shot, found)?;
    times(clocks, accepted, record, found.seen_ms)
}

/// Whether an original, if there is one, is the picture.
pub(crate) fn original(shot: &Shot, found: &Found) -> Result<()> {
    let Some(original) = found.original else {
        return Ok(());
    };
    match shot.own_file()? {
        Some(file) => ensure!(original.file == sum(&file), "its original is another file"),
        None => {
            let pixels = original.pixels.context("its original is no WebP")?;
            ensure!(
                pixels == sum(&shot.pixels()?),
                "its original is another picture"
            );
        }
    }
    Ok(())
}

fn times(clocks: &dyn Clocks, accepted: &Accepted, record: &Record, seen_ms: i64) -> Result<()> {
    let (sent, answered) = (accepted.sent_ms, accepted.answered_ms);
    let right = |at: i64, to: i64, wrong: Vec<i64>| {
        // Right, where nobody has set it wrong.
        let mut wrong = wrong.into_iter().chain([0]);
        let within = sent - SLACK_MS..=to + SLACK_MS;
        wrong.any(|seconds| within.contains(&(at - seconds * 1000)))
    };
    let (captured, received) = (record.captured_ms, record.received_ms);
    ensure!(
        right(
            captured,
            answered,
            clocks.wrong(Some(accepted.edge), sent, answered)
        ),
        "it was captured at {captured}, and sent between {sent} and {answered}"
    );
    ensure!(
        right(received, seen_ms, clocks.wrong(None, sent, seen_ms)),
        "it was received at {received}, and is of the time between {sent} and {seen_ms}"
    );
    Ok(())
}
