//! An HTTP client of a service: its address, its certificates, its token, and the sentences of its refusals.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use daemon::proxy;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Response, Url};
use serde::Deserialize;

use crate::args::Access;

/// Longest wait for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Most bytes of an answer in JSON; real ones are a few hundred.
pub(crate) const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// A client of one service.
pub(crate) struct Http {
    pub(crate) client: Client,
    /// Ends with a slash.
    pub(crate) base: Url,
    /// Tells of the proxy on the way; empty without one.
    pub(crate) through: String,
}

impl Http {
    /// A client of the service at `url`, for example `http://127.0.0.1:8080`; nothing is sent yet.
    pub(crate) fn new(url: &str, access: &Access) -> Result<Self> {
        let mut base = Url::parse(url).with_context(|| format!("{url} is not a URL"))?;
        ensure!(
            matches!(base.scheme(), "http" | "https") && base.has_host(),
            "{url} is not of the form http://HOST:PORT or https://HOST:PORT"
        );
        // Behind a proxy with a path, requests go below that path.
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut client = Client::builder().timeout(ANSWER_WITHIN);
        if let Some(path) = &access.ca {
            let bundle = Certificate::from_pem_bundle(&daemon::files::read(path)?);
            let bundle = bundle.with_context(|| format!("{} is not PEM", path.display()))?;
            client = client.tls_certs_only(bundle);
        } else if base.scheme() == "http" {
            // The system's certificates are not asked for: an image from scratch has none.
            client = client.tls_certs_only([]);
        }
        let proxy = proxy::of(&base.as_str().parse()?);
        if proxy.is_none() {
            client = client.no_proxy();
        }
        if let Some(path) = &access.token_file {
            let bearer = format!("Bearer {}", daemon::tokens::from_file(path)?);
            let mut value = HeaderValue::try_from(bearer)?;
            value.set_sensitive(true);
            client = client.default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
        }
        Ok(Self {
            client: client.build()?,
            base,
            through: proxy.map_or_else(String::new, |proxy| {
                format!(" (through the proxy {proxy}, which the environment names)")
            }),
        })
    }

    /// Asks for a path below the address. An answer that is no success is an error with its sentence, in which the
    /// service is called `who`.
    pub(crate) async fn get(&self, who: &str, path: &str) -> Result<Response> {
        let through = &self.through;
        let response = self.client.get(self.base.join(path)?).send().await;
        let response = response.with_context(|| format!("{who} did not answer{through}"))?;
        let status = response.status();
        ensure!(
            status.is_success(),
            "{who} answers {status}{through}: {}",
            reason(response).await
        );
        Ok(response)
    }
}

/// The sentence of an error answer, `{"error": "..."}`, or the answer itself.
pub(crate) async fn reason(response: Response) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    match body(response, MAX_ANSWER_BYTES).await {
        Ok(bytes) => match serde_json::from_slice::<Refusal>(&bytes) {
            Ok(refusal) => refusal.error,
            Err(_) => String::from_utf8_lossy(&bytes).chars().take(200).collect(),
        },
        Err(error) => format!("{error:#}"),
    }
}

/// The bytes of an answer, at most `limit`.
pub(crate) async fn body(mut response: Response, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        ensure!(
            (bytes.len() + chunk.len()) as u64 <= limit,
            "the answer is longer than {limit} bytes"
        );
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
