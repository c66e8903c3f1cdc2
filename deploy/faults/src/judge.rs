//! Whether a frame that the cloud has is the one that was accepted.

use anyhow::{Context as _, Result, ensure};

use crate::{
    answer_log::Accepted,
    found::{Found, Label, Record, Sum, sum},
    models::Models,
    pictures::Picture,
};

/// Milliseconds by which two clocks that are right may differ.
const SLACK_MS: i64 = 100;

/// The expected or actual content of a frame.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Content {
    camera: String,
    size: (u32, u32),
    latents: Option<Sum>,
    label: Option<Label>,
}

impl Content {
    /// The expected content of a picture, with latents by a program at a rate if it is compressed.
    pub(crate) fn expected(
        models: &Models,
        picture: &Picture,
        program: &str,
        bits: u32,
    ) -> Result<Self> {
        let latents = match picture.task.compresses() {
            true => Some(sum(&models.latents(picture, program, bits)?.encode())),
            false => None,
        };
        let label = match picture.task.classifies() {
            true => Some(Label {
                program_id: models.classifier(),
                scores: models.label(picture)?,
            }),
            false => None,
        };
        Ok(Self {
            camera: picture.camera.clone(),
            size: (picture.width, picture.height),
            latents,
            label,
        })
    }

    /// The content of a frame in the cloud.
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

/// The clock errors of the services.
pub(crate) trait Clocks {
    /// By how many seconds that of an edge node, or that of the cloud, may have been wrong within these milliseconds.
    fn wrong(&self, edge: Option<usize>, from_ms: i64, to_ms: i64) -> Vec<i64>;
}

/// The difference between a frame and the accepted one. `node` is the name of the edge node.
pub(crate) fn compare(
    models: &Models,
    clocks: &dyn Clocks,
    node: &str,
    accepted: &Accepted,
    found: &Found,
) -> Result<()> {
    let record = &found.row.record;
    let expected = Content::expected(models, &accepted.picture, &accepted.program, accepted.bits)?;
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
    original(&accepted.picture, found)?;
    times(clocks, accepted, record, found.seen_ms)
}

/// Whether an original, if there is one, is the picture.
pub(crate) fn original(picture: &Picture, found: &Found) -> Result<()> {
    let Some(original) = found.original else {
        return Ok(());
    };
    match picture.own_file()? {
        Some(file) => ensure!(original.file == sum(&file), "its original is another file"),
        None => {
            let pixels = original.pixels.context("its original is no WebP")?;
            ensure!(
                pixels == sum(&picture.pixels()?),
                "its original is another picture"
            );
        }
    }
    Ok(())
}

fn times(clocks: &dyn Clocks, accepted: &Accepted, record: &Record, seen_ms: i64) -> Result<()> {
    let (sent, answered) = (accepted.sent_ms, accepted.answered_ms);
    let right = |at: i64, to: i64, wrong: Vec<i64>| {
        // Right, unless the harness has set it wrong.
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        found::{Original, Row},
        pictures::{Form, Task},
    };

    const NODE: &str = "edge-1";
    const SENT: i64 = 1_800_000_000_000;

    type Spoil<'a> = &'a dyn Fn(&mut Found);

    /// Clocks that are right, but for one that was wrong by so many seconds.
    struct Wrong(Option<i64>);

    impl Clocks for Wrong {
        fn wrong(&self, _: Option<usize>, _: i64, _: i64) -> Vec<i64> {
            self.0.into_iter().collect()
        }
    }

    /// A frame with latents, a label and an original, as it was accepted and as it came.
    fn example(models: &Models) -> (Accepted, Found) {
        let wanted = |picture: &Picture| picture.task == Task::Both && picture.form == Form::WebP;
        let mut shots = (0..).map(|number| Picture::varied(5, number));
        let picture = shots.find(wanted).expect("there are some");
        let program = nqe::Program::from_bytes(patchwire_models::COMPRESS).expect("a program");
        let program = program.id().to_string();
        let latents = models.latents(&picture, &program, 256).expect("latents");
        let scores = models.label(&picture).expect("a label");
        let file = picture.own_file().expect("a file").expect("WebP has one");
        let record = Record {
            id: Uuid::now_v7(),
            node: NODE.into(),
            camera: picture.camera.clone(),
            captured_ms: SENT + 5,
            received_ms: SENT + 30,
            width: picture.width,
            height: picture.height,
            latent_bits: latents.total_bits(),
            source_bytes: Some(file.len() as u64),
            original_bytes: file.len() as u64,
            program_id: Some(program.clone()),
            label: Some(Label {
                program_id: models.classifier(),
                scores: scores.clone(),
            }),
        };
        let accepted = Accepted {
            picture,
            edge: 0,
            program,
            bits: 256,
            scores: Some(scores),
            original: true,
            sent_ms: SENT,
            answered_ms: SENT + 20,
        };
        let found = Found {
            row: Row {
                record,
                state: "decoded".into(),
                failure: String::new(),
                latents: None,
                finished_ms: None,
            },
            latents: Some(sum(&latents.encode())),
            original: Some(Original {
                file: sum(&file),
                pixels: None,
            }),
            seen_ms: SENT + 1000,
        };
        (accepted, found)
    }

    #[test]
    fn a_frame_in_which_one_thing_differs_is_not_the_one_that_was_accepted() {
        let folder = tempfile::tempdir().expect("a folder");
        let models = Models::make(folder.path()).expect("models");
        let (accepted, found) = example(&models);
        let judged = |found: &Found| compare(&models, &Wrong(None), NODE, &accepted, found);
        judged(&found).expect("it is the same");

        let mut swapped = models
            .latents(&accepted.picture, &accepted.program, 256)
            .expect("latents");
        let mut payload = swapped.payload.to_vec();
        payload.reverse();
        swapped.payload = payload.into();
        let as_many_ones = sum(&swapped.encode());

        let spoil: [(&str, Spoil<'_>); 9] = [
            ("latents with as many ones", &|found| {
                found.latents = Some(as_many_ones);
            }),
            ("no latents", &|found| found.latents = None),
            ("the class", &|found| {
                let label = found.row.record.label.as_mut().expect("one");
                label.scores[0].label = "another".into();
            }),
            ("the score", &|found| {
                let label = found.row.record.label.as_mut().expect("one");
                label.scores[0].score -= f32::EPSILON;
            }),
            ("the original", &|found| {
                found.original.as_mut().expect("one").file[0] ^= 1;
            }),
            ("no original", &|found| found.original = None),
            ("the camera", &|found| {
                found.row.record.camera = "gate".into()
            }),
            ("the node", &|found| found.row.record.node = "edge-2".into()),
            ("the time", &|found| {
                found.row.record.captured_ms += 3_600_000
            }),
        ];
        for (what, spoil) in spoil {
            let mut spoilt = found.clone();
            spoil(&mut spoilt);
            assert!(judged(&spoilt).is_err(), "{what} is not compared");
        }
    }

    #[test]
    fn a_time_may_be_wrong_by_what_a_clock_was_wrong() {
        let folder = tempfile::tempdir().expect("a folder");
        let models = Models::make(folder.path()).expect("models");
        let (accepted, mut found) = example(&models);
        found.row.record.captured_ms += 60_000;
        let judged = |wrong| compare(&models, &Wrong(wrong), NODE, &accepted, &found);
        judged(Some(60)).expect("the clock was a minute ahead");
        assert!(judged(Some(59)).is_err(), "the clock was not");
        assert!(judged(None).is_err(), "no clock was wrong");
    }
}
