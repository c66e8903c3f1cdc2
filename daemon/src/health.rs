//! The health of a running service, asked from outside, for container engines and scripts.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time,
};
use tokio_rustls::TlsConnector;

/// Longest that a check takes.
pub const TIMEOUT: Duration = Duration::from_secs(3);
/// Most that is read of an answer, in bytes.
const MAX_ANSWER: usize = 16 << 10;

/// Why a service does not count as ready, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The configuration does not tell the port.
    #[error("http.listen has port 0, which any port may be; name the one that the service took")]
    AnyPort,
    /// No connection.
    #[error("nothing listens on {0}: {1}")]
    Unreachable(SocketAddr, io::Error),
    /// The connection ended early, or what came is not HTTP.
    #[error("{0} gives no HTTP answer: {cause}", cause = crate::error::one_line(.1))]
    NoAnswer(SocketAddr, BoxError),
    /// No answer in [`TIMEOUT`].
    #[error("{0} did not answer within {secs} s", secs = TIMEOUT.as_secs())]
    Late(SocketAddr),
    /// The service says so itself.
    #[error("{addr} is not ready: {reason} ({status})")]
    NotReady {
        /// Who was asked.
        addr: SocketAddr,
        /// The status of the answer.
        status: StatusCode,
        /// The service's sentence.
        reason: String,
    },
}

/// Asks `GET /readyz` of the service that is configured to listen on `listen`, with TLS or without, from the
/// same host, and gives the address that was asked: the loopback one if the service listens on all.
///
/// Any certificate will do: its names need not be those of this address, and nothing secret is sent.
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
    let asked = time::timeout(TIMEOUT, ask(addr, tls)).await;
    let (status, body) = asked.map_err(|_| HealthError::Late(addr))??;
    if status == StatusCode::OK {
        return Ok(addr);
    }
    Err(HealthError::NotReady {
        addr,
        status,
        reason: reason(&body),
    })
}

async fn ask(addr: SocketAddr, tls: bool) -> Result<(StatusCode, Vec<u8>), HealthError> {
    let stream = TcpStream::connect(addr).await;
    let stream = stream.map_err(|error| HealthError::Unreachable(addr, error))?;
    let exchange = async {
        if !tls {
            return exchange(addr, stream).await;
        }
        let config = ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(crate::tls::provider())))
            .with_no_client_auth();
        let name = ServerName::from(addr.ip());
        let connector = TlsConnector::from(Arc::new(config));
        exchange(addr, connector.connect(name, stream).await?).await
    };
    exchange
        .await
        .map_err(|error| HealthError::NoAnswer(addr, error))
}

async fn exchange(
    addr: SocketAddr,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<(StatusCode, Vec<u8>), BoxError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/readyz")
        .header(header::HOST, addr.to_string())
        .header(header::CONNECTION, "close")
        .body(Body::empty())?;
    let answer = async move {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), MAX_ANSWER).await?;
        Ok::<_, BoxError>((status, body.into()))
    };
    // The connection does the reading and writing; it ends after the answer.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}

/// Believes any certificate, though not a handshake that its key has not signed.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The sentence in `{"error": "..."}`, or whatever came in its place.
fn reason(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Told {
        error: String,
    }
    match serde_json::from_slice(body) {
        Ok(Told { error }) => crate::error::one_line(&error),
        Err(_) => crate::error::one_line(&String::from_utf8_lossy(body)),
    }
}
