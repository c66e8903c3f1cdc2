//! Calls of the harness to the services, with or without TLS and tokens.

use std::{
    net::SocketAddr,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use anyhow::Result;
use reqwest::{Certificate, Client, RequestBuilder};
use serde::de::DeserializeOwned;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Tokens that the harness has; empty where none are asked for.
#[derive(Clone, Default)]
pub(crate) struct Tokens {
    pub(crate) sender: String,
    pub(crate) edge_viewer: String,
    pub(crate) cloud_viewer: String,
}

/// The service that is called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Side {
    Edge,
    Cloud,
}

/// Calls services.
pub(crate) struct Caller {
    scheme: &'static str,
    client: Client,
    tokens: RwLock<Tokens>,
}

impl Caller {
    /// For services that anyone may call.
    pub(crate) fn plain() -> Result<Self> {
        Ok(Self {
            scheme: "http",
            client: builder().tls_certs_only([]).build()?,
            tokens: RwLock::default(),
        })
    }

    /// For services whose certificates are signed by the authority of this PEM.
    pub(crate) fn secure(ca: &[u8], tokens: Tokens) -> Result<Self> {
        let ca = Certificate::from_pem(ca)?;
        Ok(Self {
            scheme: "https",
            client: builder().tls_certs_only([ca]).build()?,
            tokens: RwLock::new(tokens),
        })
    }

    /// From now on these.
    pub(crate) fn exchange(&self, tokens: Tokens) {
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    /// A request for something that only viewers get.
    pub(crate) fn get(&self, side: Side, at: SocketAddr, path: &str) -> RequestBuilder {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let token = match side {
            Side::Edge => &tokens.edge_viewer,
            Side::Cloud => &tokens.cloud_viewer,
        };
        with(self.client.get(self.url(at, path)), token)
    }

    /// A request that brings a frame.
    pub(crate) fn post(&self, at: SocketAddr, path: &str) -> RequestBuilder {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        with(self.client.post(self.url(at, path)), &tokens.sender)
    }

    /// The JSON of the answer.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        side: Side,
        at: SocketAddr,
        path: &str,
    ) -> Result<T> {
        let response = self.get(side, at, path).send().await?;
        Ok(response.error_for_status()?.json().await?)
    }

    /// Whether the service says that it is ready.
    pub(crate) async fn is_ready(&self, at: SocketAddr) -> bool {
        let asked = self.client.get(self.url(at, "/readyz")).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    fn url(&self, at: SocketAddr, path: &str) -> String {
        format!("{}://{at}{path}", self.scheme)
    }
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder().timeout(PATIENCE).no_proxy()
}

fn with(request: RequestBuilder, token: &str) -> RequestBuilder {
    match token.is_empty() {
        true => request,
        false => request.bearer_auth(token),
    }
}
