//! Configuration: a TOML file, then the environment, then flags; later ones win.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Everything that can be set; see `cloud-decoder.example.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Dashboard and HTTP API.
    pub http: Http,
    /// Uplink of the edge nodes, catalogue, health and reflection.
    pub grpc: Grpc,
    /// Folder of the catalogue and the objects, created if missing.
    pub data_dir: PathBuf,
    /// Decoder weights (`.safetensors`); the embedded ones when absent.
    pub decoder: Option<PathBuf>,
    /// Decode workers.
    pub decode: Decode,
    /// Logging.
    pub log: Log,
}

/// Section `http`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// Section `grpc`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grpc {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Largest message taken, in bytes.
    pub max_message_bytes: usize,
    /// Most frames of one stream in flight without an ack.
    pub window: u32,
}

/// Section `decode`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Decode {
    /// Frames decoded at the same time.
    pub workers: usize,
    /// Threads that they share; 0 means one a core.
    pub threads: usize,
    /// Times that a frame is tried before it is given up.
    pub max_attempts: u32,
    /// Largest frame taken, width times height; the decoder's memory grows with it.
    pub max_pixels: u64,
}

/// Section `log`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines are written, as `tracing_subscriber::EnvFilter` reads it.
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: Http::default(),
            grpc: Grpc::default(),
            data_dir: PathBuf::from("cloud-data"),
            decoder: None,
            decode: Decode::default(),
            log: Log::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8090).into(),
        }
    }
}

impl Default for Grpc {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 50051).into(),
            max_message_bytes: patchwire_proto::limits::MAX_MESSAGE_BYTES,
            window: 32,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

impl Default for Decode {
    fn default() -> Self {
        Self {
            workers: 2,
            threads: 0,
            max_attempts: 3,
            max_pixels: 64 << 20,
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file, variable or flag that cannot be read.
    #[error("configuration cannot be read: {}", one_line(.0))]
    Read(#[from] config::ConfigError),
    /// A number out of range.
    #[error("{name} is {value}, allowed are {min} to {max}")]
    Range {
        /// Name of the setting.
        name: &'static str,
        /// What it was set to.
        value: u64,
        /// Least allowed.
        min: u64,
        /// Most allowed.
        max: u64,
    },
}

impl Config {
    /// Reads the file if one is given, then `CLOUD_DECODER_*` variables (two underscores between
    /// section and key: `CLOUD_DECODER_HTTP__LISTEN`), then flags as (key, value) pairs.
    ///
    /// # Errors
    /// An unreadable file, an unknown key, a value of the wrong type or out of range.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(
                config::File::from(file)
                    .format(config::FileFormat::Toml)
                    .required(true),
            );
        }
        let variables = environment
            .into_iter()
            .filter(|(name, _)| name != CONFIG_VARIABLE)
            .collect();
        builder = builder.add_source(
            config::Environment::with_prefix("CLOUD_DECODER")
                .prefix_separator("_")
                .separator("__")
                .source(Some(variables)),
        );
        for (key, value) in flags {
            builder = builder.set_override(key.as_str(), value)?;
        }
        let config: Self = builder.build()?.try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    /// Checks the ranges of all numbers.
    ///
    /// # Errors
    /// [`ConfigError::Range`] for the first that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let decode = &self.decode;
        for (name, value, min, max) in [
            (
                "grpc.max_message_bytes",
                self.grpc.max_message_bytes as u64,
                64 << 10,
                1 << 30,
            ),
            ("grpc.window", u64::from(self.grpc.window), 1, 1024),
            ("decode.workers", decode.workers as u64, 1, 64),
            ("decode.threads", decode.threads as u64, 0, 1024),
            (
                "decode.max_attempts",
                u64::from(decode.max_attempts),
                1,
                100,
            ),
            ("decode.max_pixels", decode.max_pixels, 1024, 1 << 28),
        ] {
            if !(min..=max).contains(&value) {
                return Err(ConfigError::Range {
                    name,
                    value,
                    min,
                    max,
                });
            }
        }
        Ok(())
    }
}

/// A foreign error's text on one line.
fn one_line(error: &config::ConfigError) -> String {
    let text = error.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Names the configuration file, so it is not itself a setting.
pub const CONFIG_VARIABLE: &str = "CLOUD_DECODER_CONFIG";
