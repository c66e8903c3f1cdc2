//! What the cameras were told: the frames that were accepted, and those whose answer did not come.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use reqwest::{Client, header::CONTENT_TYPE};
use serde::Deserialize;
use std::net::SocketAddr;
use uuid::Uuid;

use crate::scene;

/// Longest wait for the answer to a frame.
const PATIENCE: Duration = Duration::from_secs(15);

/// The answer to an accepted frame.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Accepted {
    frame_id: Uuid,
    /// Id of the program in hexadecimal.
    pub(crate) program: String,
    /// Bits a patch.
    pub(crate) bits_per_patch: u32,
    /// The picture.
    #[serde(skip)]
    pub(crate) number: u64,
}

/// Takes down every answer; shared by all cameras.
pub(crate) struct Book {
    pub(crate) seed: u64,
    client: Client,
    next: AtomicU64,
    pages: Mutex<Pages>,
}

/// What was taken down.
#[derive(Clone, Default)]
pub(crate) struct Pages {
    /// By frame id, what was answered 202.
    pub(crate) accepted: HashMap<Uuid, Accepted>,
    /// Pictures that were sent and not answered: accepted or not, nobody knows.
    pub(crate) unanswered: Vec<u64>,
    /// Answers other than 202, by status.
    pub(crate) refused: BTreeMap<u16, u64>,
}

/// What became of one post.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    Accepted(Uuid),
    Refused,
    /// Sent, and the connection ended.
    Unanswered,
    /// There was nobody to send to.
    Unsent,
}

impl Book {
    pub(crate) fn new(seed: u64) -> Result<Self> {
        Ok(Self {
            seed,
            client: Client::builder().timeout(PATIENCE).no_proxy().build()?,
            next: AtomicU64::default(),
            pages: Mutex::default(),
        })
    }

    /// A copy of what was taken down so far.
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
    pub(crate) async fn post(&self, edge: SocketAddr) -> Result<Answer> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (camera, side) = (scene::camera(number), scene::side(number));
        let request = self
            .client
            .post(format!("http://{edge}/v1/frames?camera={camera}"))
            .header(CONTENT_TYPE, "application/octet-stream")
            .header("x-frame-width", side)
            .header("x-frame-height", side)
            .body(scene::picture(self.seed, number));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Ok(Answer::Unsent),
            Err(_) => return Ok(self.unanswered(number)),
        };
        let status = response.status().as_u16();
        let Ok(body) = response.bytes().await else {
            return Ok(self.unanswered(number));
        };
        if status != 202 {
            self.with(|pages| *pages.refused.entry(status).or_default() += 1);
            return Ok(Answer::Refused);
        }
        let accepted: Accepted = serde_json::from_slice(&body).context("answer to a frame")?;
        let id = accepted.frame_id;
        let accepted = Accepted { number, ..accepted };
        self.with(|pages| pages.accepted.insert(id, accepted));
        Ok(Answer::Accepted(id))
    }

    fn unanswered(&self, number: u64) -> Answer {
        self.with(|pages| pages.unanswered.push(number));
        Answer::Unanswered
    }

    fn with<T>(&self, change: impl FnOnce(&mut Pages) -> T) -> T {
        change(&mut self.pages.lock().expect("no holder panics"))
    }
}
