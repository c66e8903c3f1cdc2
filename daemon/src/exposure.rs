//! Doors that other machines reach are guarded, unless the operator says otherwise.

use std::net::SocketAddr;

use crate::config::ConfigError;

/// Checks that a door on `listen` is guarded by TLS and something that tells who comes, or reached by
/// this machine alone, or told to be `insecure`. `needed` are the keys that would guard it.
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
             something else keeps strangers out"
        ),
    })
}
