//! Listeners that other machines can reach need TLS and tokens, unless the operator says otherwise.

use std::net::SocketAddr;

use crate::config::ConfigError;

/// Checks that a listener on `listen` has TLS and authentication (`guarded`), or can only be reached by this machine,
/// or may be `insecure`. `needed` names the keys that would guard it.
///
/// # Errors
/// [`ConfigError::Value`] about `key`.
pub fn check(
    key: &'static str,
    listen: SocketAddr,
    guarded: bool,
    insecure: bool,
    needed: &str,
) -> Result<(), ConfigError> {
    if guarded || insecure || listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(ConfigError::Value {
        key,
        reason: format!(
            "is {listen}, which other machines can reach: set {needed}, or insecure = true if \
             something else protects it"
        ),
    })
}
