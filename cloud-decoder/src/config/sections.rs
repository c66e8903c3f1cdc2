//! The sections of the configuration that set up one part of the service each.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use daemon::{
    config::{ConfigError, rate_within, within},
    forwarded::Network,
};
use patchwire_proto::limits::MAX_REFERENCE_BYTES;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Section `catalogue`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Catalogue {
    /// Address of a PostgreSQL database; SQLite in `data_dir` when absent. Parts that are missing from the address,
    /// for example the password, come from the variables of libpq, such as `PGPASSWORD`.
    pub url: Option<String>,
}

/// Section `queue`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Addresses of NATS servers with JetStream, with commas between them; the catalogue's own rows when absent.
    pub url: Option<String>,
    /// Number of frames in NATS from which no more are accepted from edge nodes.
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
    /// Proxies in front of the service, `ADDRESS` or `ADDRESS/BITS`. Their requests count for the client in their
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
    /// CA certificates (PEM) that verify clients (mutual TLS); clients need no certificate when absent.
    pub client_ca: Option<PathBuf>,
    /// Largest accepted message in bytes.
    pub max_message_bytes: usize,
    /// Maximum bytes of earlier latents that the frames of one stream refer to; with 0 there are no references. The
    /// edge node takes as much memory.
    pub reference_bytes: usize,
    /// Maximum bytes of earlier latents of all streams. Streams that find too little left go without references.
    pub all_reference_bytes: usize,
    /// Maximum frames of one stream without an ack.
    pub window: u32,
    /// Maximum uplink streams at once; each node has one.
    pub max_streams: usize,
    /// Maximum frames per second of one node, on average; no limit when absent. The service reads no faster from a node
    /// that sends more.
    pub node_rate: Option<f64>,
    /// Frames that one node may send at once before `node_rate` applies.
    pub node_burst: u32,
    /// Age in seconds from which a connection takes no more calls and an uplink stream is asked to reconnect; for
    /// streams a tenth more or less, so that not all reconnect at once.
    pub max_connection_age_s: u64,
    /// Time in seconds that a stream has to reconnect when it is asked to.
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
    /// Threads that the workers share; 0 means one per core.
    pub threads: usize,
    /// The small embedded decoder in place of the large one.
    pub fast: bool,
    /// Attempts to decode a frame before it fails.
    pub max_attempts: u32,
    /// Largest accepted frame, width times height; the decoder's memory grows with it.
    pub max_pixels: u64,
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
            reference_bytes: 8 << 20,
            all_reference_bytes: 1 << 30,
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

impl Grpc {
    /// Checks the ranges.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bytes = self.max_message_bytes as u64;
        within("grpc.max_message_bytes", bytes, 64 << 10, 1 << 30)?;
        let (one, all) = (self.reference_bytes as u64, self.all_reference_bytes as u64);
        within("grpc.reference_bytes", one, 0, MAX_REFERENCE_BYTES)?;
        within("grpc.all_reference_bytes", all, one, 1 << 40)?;
        within("grpc.window", self.window.into(), 1, 1024)?;
        within("grpc.max_streams", self.max_streams as u64, 1, 1_000_000)?;
        if let Some(rate) = self.node_rate {
            rate_within("grpc.node_rate", rate)?;
        }
        within("grpc.node_burst", self.node_burst.into(), 1, 1_000_000)?;
        let age = self.max_connection_age_s;
        within("grpc.max_connection_age_s", age, 1, 365 * 86_400)?;
        within("grpc.connection_grace_s", self.connection_grace_s, 1, 3600)?;
        within("grpc.idle_timeout_s", self.idle_timeout_s, 1, 86_400)
    }
}

impl Decode {
    /// Checks the ranges.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within("decode.workers", self.workers as u64, 1, 64)?;
        within("decode.threads", self.threads as u64, 0, 1024)?;
        within("decode.max_attempts", self.max_attempts.into(), 1, 100)?;
        within("decode.max_pixels", self.max_pixels, 1024, 1 << 28)
    }
}
