//! Configuration: a TOML file, then the environment, then flags; later ones win.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

pub use daemon::{
    config::{ConfigError, Log, LogFormat},
    tls::Tls,
    tokens::Auth,
    trace::Trace,
};
use daemon::{
    config::{rate_within, within},
    exposure,
    forwarded::Network,
    origins::Origins,
    secrets::hide,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Everything that can be set; see `cloud-decoder.example.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What this process does.
    pub role: Role,
    /// Whether other machines may be served without TLS and tokens.
    pub insecure: bool,
    /// Certificate of both doors.
    pub tls: Tls,
    /// Who may use them.
    pub auth: Auth,
    /// Dashboard and HTTP API.
    pub http: Http,
    /// Uplink of the edge nodes, catalogue, health and reflection.
    pub grpc: Grpc,
    /// Folder of the embedded catalogue and the objects, created if missing.
    pub data_dir: PathBuf,
    /// Where rows are kept.
    pub catalogue: Catalogue,
    /// Who decodes what next.
    pub queue: Queue,
    /// Where bytes are kept.
    pub objects: Objects,
    /// Decoder weights (`.safetensors`); the embedded ones when absent.
    pub decoder: Option<PathBuf>,
    /// Folder of further decoders (`*.safetensors`), each for another program.
    pub decoders: Option<PathBuf>,
    /// Decode workers.
    pub decode: Decode,
    /// What is removed, and when.
    pub retention: Retention,
    /// What is expected of cameras.
    pub analysis: Analysis,
    /// Logging.
    pub log: Log,
    /// Traces.
    pub trace: Trace,
}

/// What a process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// All of it.
    #[default]
    All,
    /// Takes frames from edge nodes.
    Ingest,
    /// Decodes them.
    Decode,
    /// Shows them.
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

/// Section `catalogue`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Catalogue {
    /// Address of a PostgreSQL database; SQLite in `data_dir` when absent. What it does not say, for example the
    /// password, is taken from the variables that libpq has for it, such as `PGPASSWORD`.
    pub url: Option<String>,
}

/// Section `queue`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Addresses of NATS servers with JetStream, with commas between them; the catalogue's own rows when absent.
    pub url: Option<String>,
    /// Frames in NATS at which no more are taken from edge nodes.
    pub max_frames: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            url: None,
            max_frames: 1_000_000,
        }
    }
}

/// Section `objects`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Objects {
    /// Bucket and prefix of an S3 store, `s3://BUCKET/PREFIX`; files in `data_dir` when absent. Keys, region and
    /// encryption are taken from the usual variables, such as `AWS_ACCESS_KEY_ID`.
    pub url: Option<String>,
    /// Address of an S3 server other than Amazon's.
    pub endpoint: Option<String>,
}

/// Section `http`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address to listen on; port 0 takes a free one.
    #[serde(deserialize_with = "daemon::config::listen")]
    pub listen: SocketAddr,
    /// Proxies in front of it, `ADDRESS` or `ADDRESS/BITS`: requests that come from them count for the address in their
    /// `X-Forwarded-For`.
    pub trusted_proxies: Vec<Network>,
}

/// Section `grpc`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grpc {
    /// Address to listen on; port 0 takes a free one.
    #[serde(deserialize_with = "daemon::config::listen")]
    pub listen: SocketAddr,
    /// PEM certificates, one of which must have signed each client's: mutual TLS. None is asked of clients when absent.
    pub client_ca: Option<PathBuf>,
    /// Largest message taken, in bytes.
    pub max_message_bytes: usize,
    /// Most frames of one stream in flight without an ack.
    pub window: u32,
    /// Most uplink streams at once, which is one a node.
    pub max_streams: usize,
    /// Frames a second that one node may send, on average; any number when absent. One that sends more is read no
    /// faster.
    pub node_rate: Option<f64>,
    /// Frames that one node may send at once before `node_rate` holds it back.
    pub node_burst: u32,
    /// Age at which a connection takes no more calls and an uplink stream is asked to come again, in seconds; of
    /// streams a tenth more or less, so that they do not all come at once.
    pub max_connection_age_s: u64,
    /// Longest that a stream which was asked to come again may take, in seconds.
    pub connection_grace_s: u64,
    /// Age at which a connection without a call is closed, in seconds.
    pub idle_timeout_s: u64,
}

/// Section `decode`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Decode {
    /// Frames decoded at the same time.
    pub workers: usize,
    /// Threads that they share; 0 means one a core.
    pub threads: usize,
    /// The small embedded decoder in place of the large one.
    pub fast: bool,
    /// Times that a frame is tried before it is given up.
    pub max_attempts: u32,
    /// Largest frame taken, width times height; the decoder's memory grows with it.
    pub max_pixels: u64,
}

/// Section `retention`: what goes first is what arrived first; a frame that waits for the decoder stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Age from arrival at which a frame is removed, in seconds; never when absent.
    pub max_age_s: Option<u64>,
    /// Most bytes of all frames' objects; any number when absent.
    pub max_bytes: Option<u64>,
}

impl Retention {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(age) = self.max_age_s {
            within("retention.max_age_s", age, 1, 100 * 365 * 86_400)?;
        }
        if let Some(bytes) = self.max_bytes {
            within("retention.max_bytes", bytes, 1 << 20, 1 << 50)?;
        }
        Ok(())
    }
}

/// Section `analysis`: when a camera raises an alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Analysis {
    /// Time in seconds over which a camera's usual scene is learned. Longer than a day, so that night and day are both usual.
    pub memory_s: u64,
    /// Time in seconds without a frame after which a camera is silent at the earliest, and after three times its longest usual
    /// time between two frames.
    pub silence_s: f64,
    /// That longest usual time of any camera in seconds; learned from each camera when absent.
    pub interval_s: Option<f64>,
    /// The same of single cameras, by name.
    pub intervals_s: BTreeMap<String, f64>,
}

impl Default for Analysis {
    fn default() -> Self {
        Self {
            memory_s: 7 * 86_400,
            silence_s: 30.0,
            interval_s: None,
            intervals_s: BTreeMap::new(),
        }
    }
}

impl Analysis {
    fn check(&self) -> Result<(), ConfigError> {
        within("analysis.memory_s", self.memory_s, 60, 10 * 365 * 86_400)?;
        for (key, seconds) in [("analysis.silence_s", self.silence_s)]
            .into_iter()
            .chain(self.interval_s.iter().map(|s| ("analysis.interval_s", *s)))
            .chain(
                self.intervals_s
                    .values()
                    .map(|s| ("analysis.intervals_s", *s)),
            )
        {
            if !(0.001..=31_536_000.0).contains(&seconds) {
                let reason = format!("is {seconds}, allowed are 0.001 to 31536000 seconds");
                return Err(ConfigError::Value { key, reason });
            }
        }
        Ok(())
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

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8090).into(),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for Grpc {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 50051).into(),
            client_ca: None,
            max_message_bytes: patchwire_proto::limits::MAX_MESSAGE_BYTES,
            window: 32,
            max_streams: 8192,
            node_rate: None,
            node_burst: 64,
            max_connection_age_s: 3600,
            connection_grace_s: 30,
            idle_timeout_s: 300,
        }
    }
}

impl Default for Decode {
    fn default() -> Self {
        Self {
            workers: 2,
            threads: 0,
            fast: false,
            max_attempts: 3,
            max_pixels: 64 << 20,
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

    /// The same, with where each value came from.
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
        let (grpc, decode) = (&self.grpc, &self.decode);
        within(
            "grpc.max_message_bytes",
            grpc.max_message_bytes as u64,
            64 << 10,
            1 << 30,
        )?;
        within("grpc.window", grpc.window.into(), 1, 1024)?;
        within("grpc.max_streams", grpc.max_streams as u64, 1, 1_000_000)?;
        if let Some(rate) = grpc.node_rate {
            rate_within("grpc.node_rate", rate)?;
        }
        within("grpc.node_burst", grpc.node_burst.into(), 1, 1_000_000)?;
        within(
            "grpc.max_connection_age_s",
            grpc.max_connection_age_s,
            1,
            365 * 86_400,
        )?;
        within("grpc.connection_grace_s", grpc.connection_grace_s, 1, 3600)?;
        within("grpc.idle_timeout_s", grpc.idle_timeout_s, 1, 86_400)?;
        within("decode.workers", decode.workers as u64, 1, 64)?;
        within("decode.threads", decode.threads as u64, 0, 1024)?;
        within("decode.max_attempts", decode.max_attempts.into(), 1, 100)?;
        within("decode.max_pixels", decode.max_pixels, 1024, 1 << 28)?;
        if decode.fast && self.decoder.is_some() {
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
