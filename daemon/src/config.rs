//! Configuration: a service's defaults, then a TOML file, then the environment, then flags; later
//! ones win.

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
    effective::{Origin, Origins},
    links,
    secrets::hide,
};

/// Section `log`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines are written, as `tracing_subscriber::EnvFilter` reads it.
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
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
    #[error("configuration cannot be read: {told}, and {origin} has it{}", hint(.origin))]
    Unknown {
        /// What is said of it.
        told: String,
        /// Where it came from.
        origin: Origin,
    },
    /// A value is out of range.
    #[error("{key} {reason}")]
    Value {
        /// Dotted name of the key.
        key: &'static str,
        /// What it is and what is allowed, as the rest of a sentence that the key begins.
        reason: String,
    },
}

/// Reads the settings of the service whose environment variables begin with `prefix`: `file` if
/// given, then `environment` (two underscores between section and key: `PREFIX_HTTP__LISTEN`; all
/// other variables are skipped), then `flags` as pairs of dotted key and value. What none of them
/// sets is left to the defaults that `T` has for `serde`. Tells too where each value came from.
///
/// A variable that is empty counts as unset, and what Kubernetes says of a service with such a name is no setting.
///
/// # Errors
/// [`ConfigError::Read`] for what does not parse; ranges are the caller's to check.
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
    // Names the file of settings; it is not one of them.
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
        let told = hide(&crate::error::one_line(&error));
        match unknown(&told, &origins) {
            Some(origin) => ConfigError::Unknown { told, origin },
            None => error.into(),
        }
    })?;
    Ok((settings, origins))
}

/// Where a key came from that an error says is unknown. Only its last word is in the error.
fn unknown(told: &str, origins: &Origins) -> Option<Origin> {
    let (_, rest) = told.split_once("unknown field `")?;
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

/// Reads an address to listen on, for `serde`: ADDRESS:PORT, or NAME:PORT with a name of this machine such as `localhost`. Of a
/// name's addresses the first of IPv4 is taken, or else the first.
///
/// # Errors
/// It is neither, or the name is not known.
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

/// Checks that a rate is from 0.00001 to 1,000,000 a second; the first is about one a day.
///
/// # Errors
/// [`ConfigError::Value`] when it is not.
pub fn rate_within(key: &'static str, rate: f64) -> Result<(), ConfigError> {
    if (0.00001..=1e6).contains(&rate) {
        return Ok(());
    }
    Err(wrong(key, rate, "0.00001 to 1000000"))
}

/// The error for a value that is not among those `allowed`, which are told in the plural.
pub fn wrong(key: &'static str, value: impl fmt::Debug, allowed: &str) -> ConfigError {
    ConfigError::Value {
        key,
        reason: format!("is {value:?}, allowed are {allowed}"),
    }
}
