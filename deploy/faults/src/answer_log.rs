//! The answers that the cameras got: accepted frames, and frames without an answer.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result};
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    caller::Caller,
    clock::now_ms,
    models::Score,
    pictures::{Form, Picture},
};

/// The answer to a frame.
#[derive(Deserialize)]
struct Answered {
    frame_id: Uuid,
    /// Id of the program in hexadecimal.
    program: String,
    /// Bits per patch.
    bits_per_patch: u32,
    scores: Option<Vec<Score>>,
    original_attached: bool,
}

/// An accepted frame.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) picture: Picture,
    /// Index of the edge node among the places.
    pub(crate) edge: usize,
    /// Program of the latents, or else of the label.
    pub(crate) program: String,
    /// Bits per patch; 0 without latents.
    pub(crate) bits: u32,
    pub(crate) scores: Option<Vec<Score>>,
    /// Whether the original travels along.
    pub(crate) original: bool,
    /// When it was sent, and when the answer came, in milliseconds since the Unix epoch.
    pub(crate) sent_ms: i64,
    pub(crate) answered_ms: i64,
}

/// Takes down every answer; shared by all cameras.
pub(crate) struct AnswerLog {
    pub(crate) seed: u64,
    shots: fn(u64, u64) -> Picture,
    next: AtomicU64,
    pages: Mutex<Pages>,
}

/// The recorded answers.
#[derive(Clone, Default)]
pub(crate) struct Pages {
    /// Frames that were answered 202, by id.
    pub(crate) accepted: HashMap<Uuid, Accepted>,
    /// Pictures that were sent and not answered: they may have been accepted or not.
    pub(crate) unanswered: Vec<Picture>,
    /// Answers other than 202, by status.
    pub(crate) refused: BTreeMap<u16, u64>,
}

/// The outcome of one post.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    Accepted(Uuid),
    Refused,
    /// Sent, and the connection ended.
    Unanswered,
    /// No connection could be made.
    Unsent,
}

impl AnswerLog {
    /// `shots` makes the picture of a seed and a number.
    pub(crate) fn new(seed: u64, shots: fn(u64, u64) -> Picture) -> Self {
        Self {
            seed,
            shots,
            next: AtomicU64::default(),
            pages: Mutex::default(),
        }
    }

    /// A copy of the answers so far.
    pub(crate) fn pages(&self) -> Pages {
        self.with(|pages| pages.clone())
    }

    /// Takes frames out that were lost as the operator chose.
    pub(crate) fn forget(&self, ids: &[Uuid]) {
        self.with(|pages| {
            for id in ids {
                pages.accepted.remove(id);
            }
        });
    }

    /// Frames that an edge node accepted within the last milliseconds.
    pub(crate) fn accepted_lately(&self, edge: usize, within_ms: i64) -> Vec<Uuid> {
        let from = now_ms() - within_ms;
        self.with(|pages| {
            let accepted = pages.accepted.iter();
            let lately = accepted.filter(|(_, frame)| frame.edge == edge && frame.sent_ms > from);
            lately.map(|(id, _)| *id).collect()
        })
    }

    /// Accepted, refused and unanswered so far.
    pub(crate) fn counts(&self) -> [u64; 3] {
        self.with(|pages| {
            [
                pages.accepted.len() as u64,
                pages.refused.values().sum(),
                pages.unanswered.len() as u64,
            ]
        })
    }

    /// Posts the next picture to an edge node and takes down the answer. No picture is ever sent twice.
    pub(crate) async fn post(
        &self,
        caller: &Caller,
        edge: usize,
        at: SocketAddr,
    ) -> Result<Answer> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let picture = (self.shots)(self.seed, number);
        let (camera, task) = (&picture.camera, picture.task.name());
        let mut request = caller
            .post(at, &format!("/v1/frames?camera={camera}&task={task}"))
            .header(CONTENT_TYPE, picture.form.content_type())
            .body(picture.body()?);
        if picture.form == Form::Raw {
            request = request
                .header("x-frame-width", picture.width)
                .header("x-frame-height", picture.height);
        }
        let sent_ms = now_ms();
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Ok(Answer::Unsent),
            Err(_) => return Ok(self.unanswered(picture)),
        };
        let status = response.status().as_u16();
        let Ok(body) = response.bytes().await else {
            return Ok(self.unanswered(picture));
        };
        if status != 202 {
            self.with(|pages| *pages.refused.entry(status).or_default() += 1);
            return Ok(Answer::Refused);
        }
        let answered: Answered = serde_json::from_slice(&body).context("answer to a frame")?;
        let id = answered.frame_id;
        let accepted = Accepted {
            picture,
            edge,
            program: answered.program,
            bits: answered.bits_per_patch,
            scores: answered.scores,
            original: answered.original_attached,
            sent_ms,
            answered_ms: now_ms(),
        };
        self.with(|pages| pages.accepted.insert(id, accepted));
        Ok(Answer::Accepted(id))
    }

    fn unanswered(&self, picture: Picture) -> Answer {
        self.with(|pages| pages.unanswered.push(picture));
        Answer::Unanswered
    }

    fn with<T>(&self, change: impl FnOnce(&mut Pages) -> T) -> T {
        change(&mut self.pages.lock().expect("no holder panics"))
    }
}
