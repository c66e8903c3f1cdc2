//! TLS of the services' listeners, with one provider: aws-lc-rs.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;

use crate::{
    config::ConfigError,
    files::{FileError, Live},
};

/// Section `tls`: the service's own certificate. Without both keys there is no TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain (PEM), beginning with the service's own certificate.
    pub cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate.
    pub key: Option<PathBuf>,
}

impl Tls {
    /// Whether there is a certificate.
    pub fn on(&self) -> bool {
        self.cert.is_some()
    }

    /// Checks that both files are named or neither.
    ///
    /// # Errors
    /// [`ConfigError::Value`] when only one is named.
    pub fn check(&self) -> Result<(), ConfigError> {
        pair("tls.key", self.cert.as_ref(), "tls.cert", self.key.as_ref())
    }
}

/// Checks that a certificate and its key are both named or neither.
///
/// # Errors
/// [`ConfigError::Value`] about `key_name` when only one is named.
pub fn pair(
    key_name: &'static str,
    cert: Option<&PathBuf>,
    cert_name: &str,
    key: Option<&PathBuf>,
) -> Result<(), ConfigError> {
    if cert.is_some() == key.is_some() {
        return Ok(());
    }
    Err(ConfigError::Value {
        key: key_name,
        reason: format!("goes with {cert_name}: set both or neither"),
    })
}

/// The server's end of a connection, in plain text or encrypted.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// The protocol that is offered in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, as gRPC needs it.
    Http2,
}

/// Makes the server's end of connections, with TLS or without. New connections get the certificate that is in the files
/// now; open ones keep theirs.
#[derive(Clone, Debug, Default)]
pub struct Acceptor(Option<Live<ServerConfig>>);

impl Acceptor {
    /// With TLS if `tls` names a certificate. If `client_ca` names a file of CA certificates, clients need a
    /// certificate that one of these has signed.
    ///
    /// # Errors
    /// A file cannot be read or used, or the key is not that of the certificate.
    pub fn new(tls: &Tls, client_ca: Option<&Path>, protocol: Protocol) -> Result<Self, FileError> {
        let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else {
            return Ok(Self(None));
        };
        let paths: Vec<PathBuf> = [cert.as_path(), key.as_path()]
            .into_iter()
            .chain(client_ca)
            .map(Path::to_owned)
            .collect();
        let named = paths.clone();
        let make = move |contents: &[Vec<u8>]| server_config(&named, contents, protocol);
        Ok(Self(Some(Live::start(paths, make)?)))
    }

    /// Makes the handshake, if there is TLS. It takes as long as the client takes.
    ///
    /// # Errors
    /// The handshake failed.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let Some(config) = &self.0 else {
            return Ok(Either::Left(stream));
        };
        let accepted = TlsAcceptor::from(config.get()).accept(stream).await?;
        Ok(Either::Right(Box::new(accepted)))
    }
}

fn server_config(
    paths: &[PathBuf],
    contents: &[Vec<u8>],
    protocol: Protocol,
) -> Result<ServerConfig, FileError> {
    let chain = certificates(&paths[0], &contents[0])?;
    let key = PrivateKeyDer::from_pem_slice(&contents[1])
        .map_err(|error| content(&paths[1], &format!("has no private key in PEM: {error}")))?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| content(&paths[0], &error))?;
    let builder = match contents.get(2) {
        None => builder.with_no_client_auth(),
        Some(bytes) => {
            let ca = &paths[2];
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca, bytes)? {
                let added = roots.add(certificate);
                added.map_err(|error| content(ca, &format!("cannot be used: {error}")))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
            let verifier = verifier.build();
            builder.with_client_cert_verifier(verifier.map_err(|error| content(ca, &error))?)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| content(&paths[0], &format!("cannot be used with its key: {error}")))?;
    config.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    Ok(config)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(found) if found.is_empty() => Err(content(path, &"has no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(content(path, &format!("is not PEM: {error}"))),
    }
}

fn content(path: &Path, reason: &dyn std::fmt::Display) -> FileError {
    FileError::Content(path.to_owned(), crate::error::one_line(reason))
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
