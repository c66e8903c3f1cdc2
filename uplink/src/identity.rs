//! TLS and token for the connection to the cloud. The files are read at each connect, so that an operator can exchange
//! them while the node runs.

use std::path::Path;

use daemon::{files, tokens};
use tokio::task::spawn_blocking;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

use crate::{config::Uplink, error::LinkError};

/// The value of the header `authorization`, marked so that no log shows it.
pub(crate) type Authorization = MetadataValue<Ascii>;

/// The endpoint with the configured TLS, and this node's token if it has one.
///
/// # Errors
/// A file cannot be read or used.
pub(crate) async fn load(
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
    let token_file = config.token_file.as_deref();
    let authorization = token_file.map(authorization).transpose()?;
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

fn authorization(token_file: &Path) -> Result<Authorization, LinkError> {
    let bearer = format!("Bearer {}", tokens::from_file(token_file)?);
    let mut value = Authorization::try_from(bearer).expect("a token has only graphic characters");
    value.set_sensitive(true);
    Ok(value)
}
