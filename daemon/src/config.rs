//! Configuration: a service's defaults, then a TOML file, then the environment, then flags; later ones win.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs as _},
    path::Path,
};

use config::{Environment, File, FileFormat};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _},
};

use crate::{
    links,
    origins::{Origin, Origins},
    secrets::hide,
};

/// Section `log`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Format of the lines.
    pub format: LogFormat,
    /// Lines that are written, in the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".into(),
        }
    }
}

/// Why a configuration is refused, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file, variable or flag does not parse, or names a key that does not exist.
    #[error("configuration cannot be read: {}", hide(&crate::error::one_line(.0)))]
    Read(#[from] config::ConfigError),
    /// A key does not exist.
    #[error("configuration cannot be read: {message}, and {origin} has it{}", hint(.origin))]
    Unknown {
        /// The message about it.
        message: String,
        /// Origin of the key.
        origin: Origin,
    },
    /// A value is out of range.
    #[error("{key} {reason}")]
    Value {
        /// Dotted name of the key.
        key: &'static str,
        /// The value and the allowed values, as the rest of a sentence that the key begins.
        reason: String,
    },
}

/// Reads the settings of the service whose environment variables begin with `prefix`: `file` if given, then
/// `environment` (two underscores between section and key: `PREFIX_HTTP__LISTEN`; other variables are skipped), then
/// `flags` as pairs of dotted key and value. Keys that none of them sets have the defaults of `T` for `serde`. Also
/// returns the origin of each value.
///
/// An empty variable counts as unset. Variables that Kubernetes sets for a service of such a name are not settings.
///
/// # Errors
/// [`ConfigError::Read`] and [`ConfigError::Unknown`]; ranges are checked by the caller.
pub fn load<T: DeserializeOwned>(
    prefix: &str,
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: impl IntoIterator<Item = (String, String)>,
) -> Result<(T, Origins), ConfigError> {
    let mut builder = config::Config::builder();
    let mut origins = Origins::default();
    if let Some(path) = file {
        origins.file(path)?;
        builder = builder.add_source(File::from(path).format(FileFormat::Toml));
    }
    // This variable names the file of settings.
    let of_file = format!("{prefix}_CONFIG");
    let mut variables = config::Map::new();
    for (name, value) in environment {
        if name == of_file || value.is_empty() {
            continue;
        }
        if links::is_link(prefix, &name, &value) {
            origins.ignore(name);
            continue;
        }
        origins.variable(prefix, &name);
        variables.insert(name, value);
    }
    builder = builder.add_source(
        Environment::with_prefix(prefix)
            .prefix_separator("_")
            .separator("__")
            .source(Some(variables)),
    );
    for (key, value) in flags {
        origins.flag(&key);
        builder = builder.set_override(key, value)?;
    }
    let settings = builder.build()?.try_deserialize();
    let settings = settings.map_err(|error| {
        let message = hide(&crate::error::one_line(&error));
        match unknown(&message, &origins) {
            Some(origin) => ConfigError::Unknown { message, origin },
            None => error.into(),
        }
    })?;
    Ok((settings, origins))
}

/// The origin of a key that an error message calls unknown. The message has only the key's last word.
fn unknown(message: &str, origins: &Origins) -> Option<Origin> {
    let (_, rest) = message.split_once("unknown field `")?;
    origins.of_word(rest.split_once('`')?.0)
}

fn hint(origin: &Origin) -> &'static str {
    match origin {
        Origin::Environment(name) if !name.contains("__") => {
            " (between a section and its key are two underscores)"
        }
        _ => "",
    }
}

/// Reads an address to listen on, for `serde`: ADDRESS:PORT, or NAME:PORT with a name of this machine such as
/// `localhost`. For a name, its first IPv4 address is used, or else its first address.
///
/// # Errors
/// The text is neither, or the name is unknown.
pub fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let found = text.to_socket_addrs().map(Vec::from_iter);
    let found = found.unwrap_or_default();
    let first = found.iter().find(|found| found.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| {
        D::Error::custom(format!(
            "{text:?} is no address to listen on, allowed are ADDRESS:PORT and NAME:PORT with a name that this machine knows"
        ))
    })
}

/// Checks that a number is in its range, both ends included.
///
/// # Errors
/// [`ConfigError::Value`] when it is not.
pub fn within(key: &'static str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(wrong(key, value, &format!("{min} to {max}")))
}

/// Checks that a rate is 0.00001 (about one per day) to 1,000,000 per second.
///
/// # Errors
/// [`ConfigError::Value`] when it is not.
pub fn rate_within(key: &'static str, rate: f64) -> Result<(), ConfigError> {
    if (0.00001..=1e6).contains(&rate) {
        return Ok(());
    }
    Err(wrong(key, rate, "0.00001 to 1000000"))
}

/// The error for a value that is not allowed. `allowed` is a phrase in the plural.
pub fn wrong(key: &'static str, value: impl fmt::Debug, allowed: &str) -> ConfigError {
    ConfigError::Value {
        key,
        reason: format!("is {value:?}, allowed are {allowed}"),
    }
}
