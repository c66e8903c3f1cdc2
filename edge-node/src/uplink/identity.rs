//! Who the cloud must be, and who this node is to it: read from files at each connect, so that they can be
//! exchanged while the node runs.

use std::path::PathBuf;

use daemon::{files, tokens};
use tokio::task::spawn_blocking;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

use super::link::LinkError;
use crate::config::Uplink;

/// The value of `authorization`, marked so that no log shows it.
pub type Authorization = MetadataValue<Ascii>;

/// The endpoint with the TLS that is configured, and this node's token, if it has one.
///
/// # Errors
/// A file cannot be read or used.
pub async fn load(
    config: &Uplink,
    endpoint: Endpoint,
) -> Result<(Endpoint, Option<Authorization>), LinkError> {
    let config = config.clone();
    let read = spawn_blocking(move || read(&config, endpoint)).await;
    read.map_err(|_| LinkError::Closed)?
}

fn read(
    config: &Uplink,
    endpoint: Endpoint,
) -> Result<(Endpoint, Option<Authorization>), LinkError> {
    let authorization = config.token_file.as_ref().map(authorization).transpose()?;
    if !config.endpoint.starts_with("https://") {
        return Ok((endpoint, authorization));
    }
    let mut tls = match &config.tls.ca {
        Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(files::read(ca)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let (Some(cert), Some(key)) = (&config.tls.cert, &config.tls.key) {
        tls = tls.identity(Identity::from_pem(files::read(cert)?, files::read(key)?));
    }
    if let Some(name) = &config.tls.server_name {
        tls = tls.domain_name(name);
    }
    Ok((endpoint.tls_config(tls)?, authorization))
}

/// The value of `authorization` with the token of a file.
///
/// # Errors
/// The file cannot be read, or has something else.
pub fn authorization(path: &PathBuf) -> Result<Authorization, LinkError> {
    let bearer = format!("Bearer {}", tokens::from_file(path)?);
    let mut value = Authorization::try_from(bearer).expect("a token has only graphic characters");
    value.set_sensitive(true);
    Ok(value)
}
