//! Configuration: built-in defaults, then a TOML file, then the environment, then flags.
//!
//! Environment variables are `EDGE_NODE_` and the key in capitals, with two underscores between a section and its key:
//! `EDGE_NODE_UPLINK__ENDPOINT`.

mod source;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

pub use daemon::{
    config::{ConfigError, Log, LogFormat},
    tls::Tls,
    tokens::Auth,
    trace::Trace,
};
use daemon::{
    config::{rate_within, within, wrong},
    exposure,
    forwarded::Network,
    origins::Origins,
};
use latent::{MAX_BITS, MIN_BITS};
use patchwire_proto::limits::{MAX_ID, check_id};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use uplink::config::{Uplink, UplinkTls};

pub(crate) use self::source::Address;
pub use self::source::Source;

/// Everything that an operator can set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of this node in the cloud: 1 to 64 characters of `[A-Za-z0-9._-]`.
    pub node_id: String,
    /// Share of compressed frames, 0 to 1, whose original travels along for quality measurement.
    pub originals_share: f64,
    /// Most bytes of originals within an hour; no limit when absent. A restart of the service resets the count.
    pub originals_bytes_per_hour: Option<u64>,
    /// Worker threads of the encoder; 0 means one per core.
    pub threads: usize,
    /// Longest that a shutdown waits for requests in progress, in seconds.
    pub shutdown_s: u64,
    /// Whether other machines may connect, and the cloud be on another machine, without TLS and tokens.
    pub insecure: bool,
    /// HTTP server.
    pub http: Http,
    /// Certificate of the HTTP server.
    pub tls: Tls,
    /// Access to the HTTP server.
    pub auth: Auth,
    /// Places that the node fetches frames from, in addition to frames that are posted.
    pub sources: Vec<Source>,
    /// Programs of the chip.
    pub programs: Programs,
    /// Bits per patch.
    pub rate: Rate,
    /// Durable queue of encoded frames.
    pub spool: Spool,
    /// Connection to the cloud.
    pub uplink: Uplink,
    /// Logging.
    pub log: Log,
    /// Traces.
    pub trace: Trace,
}

/// HTTP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address to bind; port 0 takes a free one.
    #[serde(deserialize_with = "daemon::config::listen")]
    pub listen: SocketAddr,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Largest frame in pixels.
    pub max_pixels: u64,
    /// Frames handled at once; any beyond that are answered 429.
    pub max_concurrent: usize,
    /// Frames per second that one camera may post on average; no limit when absent. Any beyond that are answered 429.
    pub camera_rate: Option<f64>,
    /// Frames that one camera may post at once before `camera_rate` applies.
    pub camera_burst: u32,
    /// Open connections of clients with a valid token, and as many of clients without one. Of the latter, the oldest
    /// are closed for new ones.
    pub max_connections: usize,
    /// Longest that a request may take to arrive, in seconds.
    pub request_timeout_s: u64,
    /// Proxies in front of the node, `ADDRESS` or `ADDRESS/BITS`. Their requests count for the client in their
    /// `X-Forwarded-For`.
    pub trusted_proxies: Vec<Network>,
}

/// Program files; the shipped program where none is named. They are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Programs {
    /// Compression program (`.nqe`).
    pub compress: Option<PathBuf>,
    /// Classification program (`.nqe`).
    pub classify: Option<PathBuf>,
    /// Folder of further programs (`NAME.nqe`) and of the file `cameras`, which assigns programs to cameras in lines
    /// `CAMERA TASK NAME`. Cameras without a line use `compress` and `classify`.
    pub folder: Option<PathBuf>,
}

/// Bits per patch of the latents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rate {
    /// Fixed number of bits per patch. When absent, frames get fewer bits as the spool fills.
    pub bits: Option<u32>,
    /// Numbers of bits per patch below the program's that the cloud's decoder takes, ascending. When absent, those of
    /// the shipped decoder for the shipped program; for another program none, and frames always get all bits.
    pub steps: Option<Vec<u32>>,
}

/// Durable queue of encoded frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Spool {
    /// SQLite file; its folder must exist.
    pub path: PathBuf,
    /// Most bytes of the database file.
    pub max_bytes: u64,
    /// Policy for a new frame when the spool is full.
    pub on_full: OnFull,
    /// Age in seconds at which an undelivered frame is dropped; never when absent.
    pub ttl_s: Option<u64>,
}

/// Policy for a new frame when the spool is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// Answer 503 with Retry-After; stored frames stay.
    RejectNew,
    /// Drop the oldest frames until the new one fits, and count them.
    DropOldest,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_id: "edge-1".into(),
            originals_share: 0.01,
            originals_bytes_per_hour: None,
            threads: 0,
            shutdown_s: 10,
            insecure: false,
            tls: Tls::default(),
            auth: Auth::default(),
            http: Http::default(),
            sources: Vec::new(),
            programs: Programs::default(),
            rate: Rate::default(),
            spool: Spool::default(),
            uplink: Uplink::default(),
            log: Log::default(),
            trace: Trace::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_body_bytes: 64 << 20,
            max_pixels: 64_000_000,
            max_concurrent: 8,
            camera_rate: None,
            camera_burst: 20,
            max_connections: 256,
            request_timeout_s: 30,
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            path: "edge-node.sqlite".into(),
            max_bytes: 1 << 30,
            on_full: OnFull::RejectNew,
            ttl_s: None,
        }
    }
}

impl Config {
    /// Reads the configuration: `file` if given, then `env` (all variables; those with another prefix are skipped),
    /// then
    /// `flags` as pairs of dotted key and value.
    ///
    /// # Errors
    /// A file, variable or flag that does not parse, an unknown key, or a value that [`check`](Self::check) refuses.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        Ok(Self::load_with_origins(file, env, flags.to_vec())?.0)
    }

    /// Like [`load`](Self::load), with the origin of each value.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn load_with_origins(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        flags: Vec<(String, String)>,
    ) -> Result<(Self, Origins), ConfigError> {
        let (config, origins) = daemon::config::load::<Self>("EDGE_NODE", file, env, flags)?;
        config.check()?;
        Ok((config, origins))
    }

    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with the first key that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.trace.check()?;
        check_id("node_id", &self.node_id).map_err(|_| {
            let allowed = format!("1 to {MAX_ID} characters of A-Z a-z 0-9 . _ -");
            wrong("node_id", &self.node_id, &allowed)
        })?;
        if !(0.0..=1.0).contains(&self.originals_share) {
            return Err(wrong("originals_share", self.originals_share, "0 to 1"));
        }
        within("threads", self.threads as u64, 0, 1024)?;
        within("shutdown_s", self.shutdown_s, 0, 600)?;
        self.http.check()?;
        self.rate.check()?;
        within("spool.max_bytes", self.spool.max_bytes, 1 << 20, 1 << 42)?;
        if let Some(ttl_s) = self.spool.ttl_s {
            within("spool.ttl_s", ttl_s, 1, 10 * 365 * 86_400)?;
        }
        source::check(&self.sources)?;
        self.tls.check()?;
        exposure::check(
            "http.listen",
            self.http.listen,
            self.tls.on() && self.auth.tokens.is_some(),
            self.insecure,
            "tls.cert, tls.key and auth.tokens",
        )?;
        self.uplink.check(self.insecure)
    }

    /// Longest that a shutdown waits for requests in progress.
    pub fn shutdown(&self) -> Duration {
        Duration::from_secs(self.shutdown_s)
    }
}

impl Http {
    fn check(&self) -> Result<(), ConfigError> {
        let body_bytes = self.max_body_bytes as u64;
        within("http.max_body_bytes", body_bytes, 1024, 1 << 30)?;
        within("http.max_pixels", self.max_pixels, 1, 1 << 28)?;
        within("http.max_concurrent", self.max_concurrent as u64, 1, 4096)?;
        if let Some(rate) = self.camera_rate {
            rate_within("http.camera_rate", rate)?;
        }
        within("http.camera_burst", self.camera_burst.into(), 1, 1_000_000)?;
        let connections = self.max_connections as u64;
        within("http.max_connections", connections, 1, 65_536)?;
        within("http.request_timeout_s", self.request_timeout_s, 1, 3600)
    }
}

impl Rate {
    fn check(&self) -> Result<(), ConfigError> {
        let steps = self.steps.as_deref().unwrap_or_default();
        let ascending = steps.is_sorted_by(|a, b| a < b);
        for &bits in steps.iter().chain(&self.bits) {
            if !ascending || !bits.is_multiple_of(8) || !(MIN_BITS..=MAX_BITS).contains(&bits) {
                let allowed = format!("multiples of 8 from {MIN_BITS} to {MAX_BITS}, ascending");
                return Err(wrong("rate", bits, &allowed));
            }
        }
        Ok(())
    }
}
