//! The health of a running service, asked from outside, for container engines and scripts.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use reqwest::{Client, StatusCode};

use crate::{
    error::{one_line, root_cause},
    http_error::ErrorBody,
};

/// Longest time for a check.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// Why a service does not count as ready, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The configuration does not give the port.
    #[error("http.listen has port 0, which any port may be; name the one that the service took")]
    AnyPort,
    /// No connection.
    #[error("nothing listens on {0}: {cause}", cause = root_cause(.1))]
    Unreachable(SocketAddr, reqwest::Error),
    /// The connection ended early, or the answer is not HTTP.
    #[error("{0} gives no HTTP answer: {cause}", cause = one_line(&root_cause(.1)))]
    NoAnswer(SocketAddr, reqwest::Error),
    /// No answer in [`TIMEOUT`].
    #[error("{0} did not answer within {secs} s", secs = TIMEOUT.as_secs())]
    Late(SocketAddr),
    /// The service says so itself.
    #[error("{addr} is not ready: {reason} ({status})")]
    NotReady {
        /// Address that was asked.
        addr: SocketAddr,
        /// Status of the answer.
        status: StatusCode,
        /// The service's sentence.
        reason: String,
    },
}

/// Asks `GET /readyz` of the service on this host that is configured to listen on `listen`, with TLS or without.
/// Returns the address that was asked: the loopback one if the service listens on all.
///
/// Any certificate is accepted: its names need not match this address, and nothing secret is sent.
///
/// # Errors
/// Any answer but 200, or none within [`TIMEOUT`].
pub async fn check(listen: SocketAddr, tls: bool) -> Result<SocketAddr, HealthError> {
    if listen.port() == 0 {
        return Err(HealthError::AnyPort);
    }
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let addr = SocketAddr::new(ip, listen.port());
    let (status, body) = ask(addr, tls).await.map_err(|error| {
        if error.is_timeout() {
            HealthError::Late(addr)
        } else if error.is_connect() {
            HealthError::Unreachable(addr, error)
        } else {
            HealthError::NoAnswer(addr, error)
        }
    })?;
    if status == StatusCode::OK {
        return Ok(addr);
    }
    let reason = match serde_json::from_str(&body) {
        Ok(ErrorBody { error }) => one_line(&error),
        Err(_) => one_line(&body),
    };
    Err(HealthError::NotReady {
        addr,
        status,
        reason,
    })
}

async fn ask(addr: SocketAddr, tls: bool) -> reqwest::Result<(StatusCode, String)> {
    let client = Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .tls_danger_accept_invalid_certs(true)
        .build()?;
    let scheme = if tls { "https" } else { "http" };
    let answer = client
        .get(format!("{scheme}://{addr}/readyz"))
        .send()
        .await?;
    Ok((answer.status(), answer.text().await?))
}
