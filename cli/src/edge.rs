//! Client of an edge node's HTTP API.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use daemon::proxy;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::args::{EdgeAccess, Task};

/// Longest that a frame is offered to an edge node that is overloaded or not there.
const RETRY_FOR: Duration = Duration::from_secs(30);
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LAST_BACKOFF: Duration = Duration::from_secs(8);
/// Longest wait for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Most bytes of an answer; real ones are a few hundred.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// An edge node.
pub(crate) struct Edge {
    http: reqwest::Client,
    base: Url,
    /// Tells of the proxy on the way; empty without one.
    through: String,
}

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
    pub(crate) fn new(url: &str, access: &EdgeAccess) -> Result<Self> {
        let mut base = Url::parse(url).with_context(|| format!("{url} is not a URL"))?;
        ensure!(
            matches!(base.scheme(), "http" | "https") && base.has_host(),
            "{url} is not of the form http://HOST:PORT or https://HOST:PORT"
        );
        // Behind a proxy with a path, requests go below that path.
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut http = reqwest::Client::builder().timeout(ANSWER_WITHIN);
        if let Some(path) = &access.ca {
            let bundle = Certificate::from_pem_bundle(&daemon::files::read(path)?);
            let bundle = bundle.with_context(|| format!("{} is not PEM", path.display()))?;
            http = http.tls_certs_only(bundle);
        } else if base.scheme() == "http" {
            // The system's certificates are not asked for: an image from scratch has none.
            http = http.tls_certs_only([]);
        }
        let proxy = proxy::of(&base.as_str().parse()?);
        if proxy.is_none() {
            http = http.no_proxy();
        }
        if let Some(path) = &access.token_file {
            let bearer = format!("Bearer {}", daemon::tokens::from_file(path)?);
            let mut value = HeaderValue::try_from(bearer)?;
            value.set_sensitive(true);
            http = http.default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
        }
        Ok(Self {
            http: http.build()?,
            base,
            through: proxy.map_or_else(String::new, |proxy| {
                format!(" (through the proxy {proxy}, which the environment names)")
            }),
        })
    }

    /// Posts an image file's bytes. An edge node that is overloaded (429, 503) or not there is asked
    /// again, after the time that it names or else after twice the last wait, for half a minute at most.
    pub(crate) async fn submit(&self, camera: &str, task: Task, image: &[u8]) -> Result<Answer> {
        let media_type = match image::guess_format(image) {
            Ok(format) => format.to_mime_type(),
            Err(_) => return Ok(Err("it is no image of a known format".to_owned())),
        };
        let mut url = self.base.join("v1/frames")?;
        url.query_pairs_mut()
            .append_pair("camera", camera)
            .append_pair("task", task.as_str());
        let through = &self.through;
        let deadline = Instant::now() + RETRY_FOR;
        let mut backoff = FIRST_BACKOFF;
        loop {
            let request = self
                .http
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
                bail!("the edge node at {} takes no frame: {problem}", self.base);
            }
            if backoff == FIRST_BACKOFF {
                eprintln!("the edge node at {}: {problem}, trying again", self.base);
            }
            sleep(wait).await;
            backoff = (2 * backoff).min(LAST_BACKOFF);
        }
    }

    /// A frame that fails takes no other with it.
    async fn answer(&self, response: Response) -> Result<Answer> {
        let (status, through) = (response.status(), &self.through);
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
        let response = self.http.get(self.base.join("v1/encoder")?).send().await;
        let through = &self.through;
        let response =
            response.with_context(|| format!("the edge node did not answer{through}"))?;
        let status = response.status();
        ensure!(
            status.is_success(),
            "the edge node answers {status}{through}: {}",
            reason(response).await
        );
        json(response).await
    }

    /// Where a frame is now.
    pub(crate) async fn delivery(&self, id: Uuid) -> Result<Delivery> {
        let url = self.base.join(&format!("v1/frames/{id}"))?;
        let response = self.http.get(url).send().await?;
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
            self.through,
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

/// The sentence of an error answer, `{"error": "..."}`, or the answer itself.
async fn reason(response: Response) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    match body(response).await {
        Ok(bytes) => match serde_json::from_slice::<Refusal>(&bytes) {
            Ok(refusal) => refusal.error,
            Err(_) => String::from_utf8_lossy(&bytes).chars().take(200).collect(),
        },
        Err(error) => format!("{error:#}"),
    }
}

async fn json<T: DeserializeOwned>(response: Response) -> Result<T> {
    serde_json::from_slice(&body(response).await?).context("the answer is not that of an edge node")
}

async fn body(mut response: Response) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        ensure!(
            bytes.len() + chunk.len() <= MAX_ANSWER_BYTES,
            "the answer is longer than {MAX_ANSWER_BYTES} bytes"
        );
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
