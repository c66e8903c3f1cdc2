//! Section `uplink` of the configuration.

use std::{net::IpAddr, path::PathBuf};

use daemon::{
    config::{ConfigError, within, wrong},
    secrets::hide,
    tls,
};
use patchwire_proto::limits::MAX_MESSAGE_BYTES;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tonic::transport::Uri;

/// Connection to the cloud.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Uplink {
    /// gRPC address of the cloud decoder, `http://HOST:PORT` or `https://HOST:PORT`.
    pub endpoint: String,
    /// File with this node's token, read at each connect.
    pub token_file: Option<PathBuf>,
    /// Certificates for an `https` cloud.
    pub tls: UplinkTls,
    /// Most frames sent and not yet acknowledged; the cloud may ask for fewer.
    pub window: u32,
    /// Largest message in either direction in bytes; the cloud may take less.
    pub max_message_bytes: usize,
    /// Whether latents travel coded, and with references, to a cloud that takes them so; else as plain containers.
    pub codec: bool,
    /// Longest wait for a connection and for the cloud's welcome, in seconds.
    pub connect_timeout_s: u64,
    /// Seconds between HTTP/2 pings; the link counts as down after three times as long without an answer.
    pub keepalive_s: u64,
    /// Upper bound of the first wait before reconnecting, in milliseconds; it doubles each time.
    pub backoff_min_ms: u64,
    /// Upper bound of all waits before reconnecting, in milliseconds.
    pub backoff_max_ms: u64,
}

/// Certificates for an `https` cloud. The files are read at each connect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UplinkTls {
    /// CA certificates (PEM) that verify the cloud; the system's when absent.
    pub ca: Option<PathBuf>,
    /// This node's certificate (PEM), for mutual TLS.
    pub cert: Option<PathBuf>,
    /// Private key (PEM) of this node's certificate.
    pub key: Option<PathBuf>,
    /// Name that the cloud's certificate must have; the endpoint's host when absent.
    pub server_name: Option<String>,
}

impl Default for Uplink {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:50051".into(),
            token_file: None,
            tls: UplinkTls::default(),
            window: 32,
            max_message_bytes: MAX_MESSAGE_BYTES,
            codec: true,
            connect_timeout_s: 5,
            keepalive_s: 20,
            backoff_min_ms: 250,
            backoff_max_ms: 30_000,
        }
    }
}

impl Uplink {
    /// The parsed endpoint; `None` unless it is of the form `http://HOST:PORT` or `https://HOST:PORT`.
    pub fn address(&self) -> Option<Uri> {
        let uri = self.endpoint.parse::<Uri>().ok()?;
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        (scheme && uri.host().is_some()).then_some(uri)
    }

    /// Checks every value against its range. With `insecure`, a cloud on another machine may be called without TLS.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with the first key that is wrong.
    pub fn check(&self, insecure: bool) -> Result<(), ConfigError> {
        within("uplink.window", self.window.into(), 1, 4096)?;
        let bytes = self.max_message_bytes as u64;
        within("uplink.max_message_bytes", bytes, 1 << 16, 1 << 30)?;
        within("uplink.connect_timeout_s", self.connect_timeout_s, 1, 600)?;
        within("uplink.keepalive_s", self.keepalive_s, 1, 3600)?;
        let (min_ms, max_ms) = (self.backoff_min_ms, self.backoff_max_ms);
        within("uplink.backoff_min_ms", min_ms, 1, 60_000)?;
        within("uplink.backoff_max_ms", max_ms, min_ms, 3_600_000)?;
        self.check_security(insecure)
    }

    fn check_security(&self, insecure: bool) -> Result<(), ConfigError> {
        let Some(address) = self.address() else {
            return Err(wrong(
                "uplink.endpoint",
                hide(&self.endpoint),
                "addresses of the form http://HOST:PORT and https://HOST:PORT",
            ));
        };
        let UplinkTls {
            ca,
            cert,
            key,
            server_name,
        } = &self.tls;
        let (cert_name, key_name) = ("uplink.tls.cert", "uplink.tls.key");
        tls::pair(key_name, cert.as_ref(), cert_name, key.as_ref())?;
        if address.scheme_str() == Some("https") {
            return Ok(());
        }
        let value = |key, reason: String| Err(ConfigError::Value { key, reason });
        if ca.is_some() || cert.is_some() || server_name.is_some() {
            let reason = "is for an endpoint that begins with https://";
            return value("uplink.tls", reason.into());
        }
        if insecure || address.host().is_some_and(is_this_machine) {
            return Ok(());
        }
        let reason = format!(
            "is {:?}, which sends frames readable over the network: use https://, or set insecure = true if \
             something else protects the way",
            hide(&self.endpoint)
        );
        value("uplink.endpoint", reason)
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}
