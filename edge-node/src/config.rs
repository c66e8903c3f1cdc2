//! Configuration: built-in defaults, then a TOML file, then the environment, then flags.
//!
//! Environment variables are `EDGE_NODE_` and the key in capitals, with two underscores between a
//! section and its key: `EDGE_NODE_UPLINK__ENDPOINT`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use daemon::config::{rate_within, within, wrong};
pub use daemon::{
    config::{ConfigError, Log, LogFormat},
    tls::Tls,
    tokens::Auth,
    trace::Trace,
};
use daemon::{effective::Origins, exposure, forwarded::Network};
use patchwire_proto::latent::{MAX_BITS, MIN_BITS};
use patchwire_proto::limits::{self, MAX_ID};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sources;
pub use crate::sources::Source;
pub use uplink::config::{Uplink, UplinkTls};

/// Everything that an operator can set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of this node in the cloud: 1 to 64 characters of `[A-Za-z0-9._-]`.
    pub node_id: String,
    /// Share of compressed frames, 0 to 1, whose original travels along for quality measurement.
    pub originals_share: f64,
    /// Most bytes of originals within an hour; any number when absent. It begins anew with the service.
    pub originals_bytes_per_hour: Option<u64>,
    /// Worker threads of the encoder; 0 means one for each core.
    pub threads: usize,
    /// Longest that a shutdown waits for requests in progress, in seconds.
    pub shutdown_s: u64,
    /// Whether other machines may be served, and the cloud called on another machine, without TLS and tokens.
    pub insecure: bool,
    /// The HTTP side.
    pub http: Http,
    /// Certificate of the HTTP side.
    pub tls: Tls,
    /// Who may use the HTTP side.
    pub auth: Auth,
    /// Where frames are fetched from, besides those that are posted.
    pub sources: Vec<Source>,
    /// What is loaded into the chip.
    pub programs: Programs,
    /// Bits a patch.
    pub rate: Rate,
    /// The durable queue of encoded frames.
    pub spool: Spool,
    /// The way to the cloud.
    pub uplink: Uplink,
    /// Logging.
    pub log: Log,
    /// Traces.
    pub trace: Trace,
}

/// The HTTP side.
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
    /// Frames handled at once; one more is answered 429.
    pub max_concurrent: usize,
    /// Frames a second that one camera may post, on average; any number when absent. One more is answered 429.
    pub camera_rate: Option<f64>,
    /// Frames that one camera may post at once before `camera_rate` holds it back.
    pub camera_burst: u32,
    /// Open connections of clients with a valid token, and as many without one, of which the oldest are closed for new ones.
    pub max_connections: usize,
    /// Longest that a request may take to arrive, in seconds.
    pub request_timeout_s: u64,
    /// Proxies in front of the node, `ADDRESS` or `ADDRESS/BITS`: requests that come from them count for the address in their
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
    /// Folder of further programs (`NAME.nqe`), and of the file `cameras` that says which camera has which, a line
    /// `CAMERA TASK NAME` each.
    pub folder: Option<PathBuf>,
}

/// Bits a patch of the latents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rate {
    /// Always so many; fewer as the spool fills when absent.
    pub bits: Option<u32>,
    /// Fewer bits a patch than the program's that the cloud's decoder takes, ascending. When absent, those of the
    /// shipped decoder for the shipped program, and none for another: no rate is shed.
    pub steps: Option<Vec<u32>>,
}

/// The durable queue of encoded frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Spool {
    /// SQLite file; its folder must exist.
    pub path: PathBuf,
    /// Most bytes of the database file.
    pub max_bytes: u64,
    /// What happens to a new frame when the spool is full.
    pub on_full: OnFull,
    /// Age in seconds after which an undelivered frame is dropped; never when absent.
    pub ttl_s: Option<u64>,
}

/// What happens to a new frame when the spool is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// Answer 503 with Retry-After; what is stored stays.
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
    /// Reads the configuration: `file` if given, then `env` (all variables; those with another
    /// prefix are skipped), then `flags` as pairs of dotted key and value.
    ///
    /// # Errors
    /// What does not parse, unknown keys, and values that [`check`](Self::check) refuses.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        Ok(Self::load_with_origins(file, env, flags)?.0)
    }

    /// The same, with where each value came from.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn load_with_origins(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<(Self, Origins), ConfigError> {
        let flags = flags.iter().cloned();
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
        let (http, spool) = (&self.http, &self.spool);
        limits::check_id("node_id", &self.node_id).map_err(|_| {
            let allowed = format!("1 to {MAX_ID} characters of A-Z a-z 0-9 . _ -");
            wrong("node_id", &self.node_id, &allowed)
        })?;
        if !(0.0..=1.0).contains(&self.originals_share) {
            return Err(wrong("originals_share", self.originals_share, "0 to 1"));
        }
        within("threads", self.threads as u64, 0, 1024)?;
        within("shutdown_s", self.shutdown_s, 0, 600)?;
        within(
            "http.max_body_bytes",
            http.max_body_bytes as u64,
            1024,
            1 << 30,
        )?;
        within("http.max_pixels", http.max_pixels, 1, 1 << 28)?;
        within("http.max_concurrent", http.max_concurrent as u64, 1, 4096)?;
        if let Some(rate) = http.camera_rate {
            rate_within("http.camera_rate", rate)?;
        }
        within("http.camera_burst", http.camera_burst.into(), 1, 1_000_000)?;
        within(
            "http.max_connections",
            http.max_connections as u64,
            1,
            65_536,
        )?;
        within("http.request_timeout_s", http.request_timeout_s, 1, 3600)?;
        let steps = self.rate.steps.as_deref().unwrap_or_default();
        let rising = steps.is_sorted_by(|a, b| a < b);
        let rates = steps.iter().chain(&self.rate.bits);
        for &bits in rates {
            if !rising || !bits.is_multiple_of(8) || !(MIN_BITS..=MAX_BITS).contains(&bits) {
                let allowed = format!("multiples of 8 from {MIN_BITS} to {MAX_BITS}, ascending");
                return Err(wrong("rate", bits, &allowed));
            }
        }
        within("spool.max_bytes", spool.max_bytes, 1 << 20, 1 << 42)?;
        if let Some(ttl_s) = spool.ttl_s {
            within("spool.ttl_s", ttl_s, 1, 10 * 365 * 86_400)?;
        }
        sources::check(&self.sources)?;
        self.check_security()
    }

    fn check_security(&self) -> Result<(), ConfigError> {
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
