//! All settings, how they are read, and the checks that span sections.

use std::path::{Path, PathBuf};

use daemon::{
    config::{ConfigError, Log, within},
    exposure,
    origins::Origins,
    secrets::hide,
    tls::Tls,
    tokens::Auth,
    trace::Trace,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    policies::{Analysis, Retention},
    sections::{Catalogue, Decode, Grpc, Http, Objects, Queue},
};

/// Everything that can be set; see `cloud-decoder.example.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The work of this process.
    pub role: Role,
    /// Whether other machines may be served without TLS and tokens.
    pub insecure: bool,
    /// Certificate of both servers.
    pub tls: Tls,
    /// Tokens of nodes and viewers.
    pub auth: Auth,
    /// Dashboard and HTTP API.
    pub http: Http,
    /// Uplink of the edge nodes, catalogue, health and reflection.
    pub grpc: Grpc,
    /// Folder of the embedded catalogue and the objects, created if missing.
    pub data_dir: PathBuf,
    /// Database of the rows.
    pub catalogue: Catalogue,
    /// The decode queue.
    pub queue: Queue,
    /// Store of the objects.
    pub objects: Objects,
    /// Decoder weights (`.safetensors`); the embedded ones when absent.
    pub decoder: Option<PathBuf>,
    /// Folder of further decoders (`*.safetensors`), each for another program.
    pub decoders: Option<PathBuf>,
    /// Decode workers.
    pub decode: Decode,
    /// When frames are removed.
    pub retention: Retention,
    /// When a camera raises an alarm.
    pub analysis: Analysis,
    /// Logging.
    pub log: Log,
    /// Traces.
    pub trace: Trace,
}

/// The work of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// All of it.
    #[default]
    All,
    /// Receives frames from edge nodes.
    Ingest,
    /// Decodes frames.
    Decode,
    /// Shows frames.
    Web,
}

impl Role {
    /// Whether a process of this role does what `part` does.
    pub fn does(self, part: Self) -> bool {
        self == Self::All || self == part
    }

    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Ingest => "ingest",
            Self::Decode => "decode",
            Self::Web => "web",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            role: Role::All,
            insecure: false,
            tls: Tls::default(),
            auth: Auth::default(),
            http: Http::default(),
            grpc: Grpc::default(),
            data_dir: PathBuf::from("cloud-data"),
            catalogue: Catalogue::default(),
            queue: Queue::default(),
            objects: Objects::default(),
            decoder: None,
            decoders: None,
            decode: Decode::default(),
            retention: Retention::default(),
            analysis: Analysis::default(),
            log: Log::default(),
            trace: Trace::default(),
        }
    }
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
        Ok(Self::load_with_origins(file, environment, flags)?.0)
    }

    /// The same, with the origin of each value.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn load_with_origins(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(Self, Origins), ConfigError> {
        let read = daemon::config::load::<Self>("CLOUD_DECODER", file, environment, flags);
        let (config, origins) = read?;
        config.check()?;
        Ok((config, origins))
    }

    /// Checks the ranges of all numbers.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.trace.check()?;
        self.grpc.check()?;
        self.decode.check()?;
        if self.decode.fast && self.decoder.is_some() {
            return Err(ConfigError::Value {
                key: "decode.fast",
                reason: "is about the embedded decoders, and `decoder` names another: leave one of them out".to_owned(),
            });
        }
        self.retention.check()?;
        self.analysis.check()?;
        within("queue.max_frames", self.queue.max_frames, 1, 1 << 32)?;
        self.check_engines()?;
        self.check_security()
    }

    fn check_engines(&self) -> Result<(), ConfigError> {
        let urls = [
            (
                "catalogue.url",
                &self.catalogue.url,
                &["postgres://", "postgresql://"][..],
            ),
            ("queue.url", &self.queue.url, &["nats://", "tls://"]),
            ("objects.url", &self.objects.url, &["s3://"]),
        ];
        let shared =
            self.role != Role::All || self.catalogue.url.is_some() || self.queue.url.is_some();
        for (key, url, schemes) in urls {
            let reason = match url {
                Some(url) if !schemes.iter().any(|scheme| url.starts_with(scheme)) => {
                    format!("is {:?}, allowed are addresses with {}", hide(url), schemes.join(" or "))
                }
                None if shared && self.role != Role::All => {
                    format!("is not set, role {:?} needs catalogue, queue and objects that processes share", self.role.name())
                }
                None if shared => {
                    "is not set, a catalogue in PostgreSQL, a queue in NATS and objects in S3 go together".to_owned()
                }
                _ => continue,
            };
            return Err(ConfigError::Value { key, reason });
        }
        Ok(())
    }

    fn check_security(&self) -> Result<(), ConfigError> {
        self.tls.check()?;
        if self.grpc.client_ca.is_some() && !self.tls.on() {
            let reason = "needs tls.cert and tls.key".into();
            return Err(ConfigError::Value {
                key: "grpc.client_ca",
                reason,
            });
        }
        let guarded = self.tls.on() && self.auth.tokens.is_some();
        let needed = "tls.cert, tls.key and auth.tokens";
        for (key, listen) in [
            ("http.listen", self.http.listen),
            ("grpc.listen", self.grpc.listen),
        ] {
            exposure::check(key, listen, guarded, self.insecure, needed)?;
        }
        Ok(())
    }
}
