//! Client of an edge node's HTTP API.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::args::{Access, Task};
use crate::http::{self, Http, MAX_ANSWER_BYTES, reason};

/// Longest that a frame is offered to an edge node that is overloaded or not there.
const RETRY_FOR: Duration = Duration::from_secs(30);
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LAST_BACKOFF: Duration = Duration::from_secs(8);

/// An edge node.
pub(crate) struct Edge(Http);

/// The edge node's answer to a frame that it accepted.
#[derive(Debug, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) frame_id: Uuid,
    /// 0 when the task was only to classify.
    pub(crate) bits_per_pixel: f64,
    /// Most likely class first; empty when the task was only to compress.
    #[serde(default)]
    pub(crate) scores: Vec<Score>,
}

/// One class.
#[derive(Debug, Deserialize)]
pub(crate) struct Score {
    pub(crate) label: String,
    pub(crate) score: f32,
}

/// The end of a submission: taken, or the edge node's sentence on why this frame never will be.
pub(crate) type Answer = Result<Accepted, String>;

/// A frame's place on its way to the cloud.
#[derive(Debug, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(crate) enum Delivery {
    /// On the edge node's disk.
    Spooled,
    Delivered,
    /// Delivered twice, kept once.
    Duplicate,
    Rejected {
        reason: String,
    },
    Dropped {
        reason: String,
    },
    /// It left the edge node so long ago that it does not know how.
    #[serde(skip)]
    Forgotten,
}

/// The programs that an edge node has loaded.
#[derive(Debug, Deserialize)]
pub(crate) struct Chip {
    pub(crate) programs: Vec<ProgramSummary>,
    /// Of cameras that have no choice of their own.
    pub(crate) chosen: Chosen,
    /// By camera.
    pub(crate) cameras: BTreeMap<String, Chosen>,
}

/// A program's kind, size and cost.
#[derive(Debug, Deserialize)]
pub(crate) struct ProgramSummary {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) task: String,
    /// Instructions that the emulator uses, where it is loaded.
    pub(crate) kernel: Option<String>,
    pub(crate) labels: Vec<String>,
    pub(crate) latent_bits: Option<u32>,
    pub(crate) layers: usize,
    pub(crate) macs_per_patch: u64,
    pub(crate) memory_bits: MemoryBits,
}

/// Bits of the chip's memory.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct MemoryBits {
    pub(crate) weights: u64,
    pub(crate) wiring: u64,
    pub(crate) biases: u64,
    pub(crate) shifts: u64,
    pub(crate) maps: u64,
    pub(crate) total: u64,
}

/// Ids of a camera's programs.
#[derive(Debug, Deserialize)]
pub(crate) struct Chosen {
    pub(crate) compress: String,
    pub(crate) classify: String,
}

impl Edge {
    /// The edge node at `url`, for example `http://127.0.0.1:8080`; nothing is sent yet.
    pub(crate) fn new(url: &str, access: &Access) -> Result<Self> {
        Ok(Self(Http::new(url, access)?))
    }

    /// Posts an image file's bytes. An edge node that is overloaded (429, 503) or not there is asked
    /// again, after the time that it names or else after twice the last wait, for half a minute at most.
    pub(crate) async fn submit(&self, camera: &str, task: Task, image: &[u8]) -> Result<Answer> {
        let media_type = match image::guess_format(image) {
            Ok(format) => format.to_mime_type(),
            Err(_) => return Ok(Err("it is no image of a known format".to_owned())),
        };
        let mut url = self.0.base.join("v1/frames")?;
        url.query_pairs_mut()
            .append_pair("camera", camera)
            .append_pair("task", task.as_str());
        let through = &self.0.through;
        let deadline = Instant::now() + RETRY_FOR;
        let mut backoff = FIRST_BACKOFF;
        loop {
            let request = self
                .0
                .client
                .post(url.clone())
                .header(CONTENT_TYPE, media_type)
                .body(image.to_vec());
            let outcome = request.send().await;
            let (wait, problem) = match outcome {
                Ok(response) if is_overload(response.status()) => {
                    let wait = retry_after(&response).unwrap_or(backoff);
                    let status = response.status();
                    (
                        wait,
                        format!("it answers {status}{through}: {}", reason(response).await),
                    )
                }
                Ok(response) => return self.answer(response).await,
                Err(error) if error.is_connect() => {
                    (backoff, format!("it does not answer{through}"))
                }
                Err(error) => {
                    return Err(error).context(format!("the edge node did not answer{through}"));
                }
            };
            if Instant::now() + wait > deadline {
                bail!("the edge node at {} takes no frame: {problem}", self.0.base);
            }
            if backoff == FIRST_BACKOFF {
                eprintln!("the edge node at {}: {problem}, trying again", self.0.base);
            }
            sleep(wait).await;
            backoff = (2 * backoff).min(LAST_BACKOFF);
        }
    }

    /// A frame that fails takes no other with it.
    async fn answer(&self, response: Response) -> Result<Answer> {
        let (status, through) = (response.status(), &self.0.through);
        if status.is_success() {
            return Ok(Ok(json(response).await?));
        }
        let failed = status.is_client_error() || status.is_server_error();
        let told = format!("{}{through}: {}", status.as_u16(), reason(response).await);
        ensure!(failed, "the edge node answers {told}");
        Ok(Err(told))
    }

    /// The loaded programs.
    pub(crate) async fn encoder(&self) -> Result<Chip> {
        let response = self.0.get("the edge node", "v1/encoder").await?;
        json(response).await
    }

    /// Where a frame is now.
    pub(crate) async fn delivery(&self, id: Uuid) -> Result<Delivery> {
        let url = self.0.base.join(&format!("v1/frames/{id}"))?;
        let response = self.0.client.get(url).send().await?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(Delivery::Forgotten);
        }
        if is_overload(status) {
            // The state is unknown now.
            return Ok(Delivery::Spooled);
        }
        ensure!(
            status.is_success(),
            "the edge node answers {status} for frame {id}{}: {}",
            self.0.through,
            reason(response).await
        );
        json(response).await
    }
}

fn is_overload(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    )
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.parse().ok()?))
}

async fn json<T: DeserializeOwned>(response: Response) -> Result<T> {
    let body = http::body(response, MAX_ANSWER_BYTES).await?;
    serde_json::from_slice(&body).context("the answer is not that of an edge node")
}
