//! The edge daemon: takes camera frames over HTTP, encodes them on the emulated ASIC, keeps them in
//! a durable spool and sends them to the cloud.
//!
//! A frame, posted or fetched by [`sources`], flows through [`media`] (bytes to pixels), [`encode`] (the chip), [`spool`] (the disk)
//! and [`uplink`] (the stream to the cloud). [`start`] runs all of it in this process.
#![forbid(unsafe_code)]

pub mod config;
mod delivery;
pub mod encode;
mod http;
pub mod metrics;
mod node;
pub mod original;
pub mod programs;
mod rate;
pub mod sources;
pub mod spool;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use daemon::{
    expiry::Watched,
    rate::Rates,
    tls::{Acceptor, Protocol},
    tokens::{Gate, Kind},
};
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use uplink::Client;

pub use self::{
    config::{Config, ConfigError},
    delivery::describe_program,
};
use self::{
    delivery::{Delivery, follow_programs, hello},
    encode::Encoder,
    metrics::{CertificateOf, Metrics},
    node::Node,
    sources::Board,
    spool::Spool,
};

/// The kinds of tokens that a node knows.
pub const TOKENS: [Kind; 2] = [Kind::Sender, Kind::Viewer];

/// Longest that the last writes to the spool may take after the time for requests in progress.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// A node that runs.
#[must_use = "a node is stopped by `shutdown`"]
pub struct Running {
    /// Where HTTP is bound.
    pub http_addr: SocketAddr,
    stop: CancellationToken,
    http: JoinHandle<()>,
    uplink: JoinHandle<()>,
    expiry: JoinHandle<()>,
    sources: JoinHandle<()>,
    spool: Arc<Spool>,
    patience: Duration,
}

/// Loads the programs and runs a warm-up patch through each, opens the spool, binds HTTP and starts
/// calling the cloud, which need not be there.
///
/// # Errors
/// A configuration that is out of range, programs or a spool that cannot be opened, an address
/// that cannot be bound.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    config.check()?;
    let loading = config.clone();
    let encoder = spawn_blocking(move || Encoder::load(&loading)).await??;
    let metrics = Metrics::new();
    metrics.bounds(&config, encoder.threads());
    let programs = encoder.programs().clone();
    let bits = programs.get().all().compress.bits(0.0);
    metrics.rate_bits.set(bits.into());
    let spool = Spool::open(&config.spool, metrics.clone())
        .await
        .with_context(|| format!("spool {}", config.spool.path.display()))?;
    let spool = Arc::new(spool);
    let acceptor = Acceptor::new(&config.tls, None, Protocol::Http1).context("tls")?;
    let gate = Gate::new(&config.auth, &TOKENS).context("auth.tokens")?;
    let listener = daemon::connections::bind(config.http.listen)
        .with_context(|| format!("cannot bind HTTP to {}", config.http.listen))?;
    let http_addr = listener.local_addr()?;
    let stop = CancellationToken::new();
    let (hello_of, said) = watch::channel(hello(&config.node_id, &programs.get()));
    tokio::spawn(follow_programs(
        config.node_id.clone(),
        programs.clone(),
        hello_of,
        metrics.clone(),
        stop.clone(),
    ));
    let delivery = Delivery::new(Arc::clone(&spool), programs, metrics.clone());
    let delivery = Arc::new(delivery);
    let client = Client::new(config.uplink.clone(), said, Arc::clone(&delivery))?;
    let certificates = [
        ("tls.cert", &config.tls.cert, CertificateOf::Http),
        (
            "uplink.tls.cert",
            &config.uplink.tls.cert,
            CertificateOf::Uplink,
        ),
    ]
    .map(|(key, path, of)| {
        let gauge = metrics.certificates.get_or_create(&of).clone();
        let watched = Watched::new(key, path.clone(), gauge);
        tokio::spawn(watched.clone().warn(stop.clone()));
        watched
    });
    let node = Arc::new(Node {
        certificates,
        link: client.link(),
        slots: Arc::new(Semaphore::new(config.http.max_concurrent)),
        bodies: http::Bodies::new(
            config.http.max_body_bytes,
            Duration::from_secs(config.http.request_timeout_s),
        ),
        camera_rates: camera_rates(&config.http),
        sources: Board::new(&config.sources),
        originals: original::Budget::new(config.originals_bytes_per_hour),
        spool: Arc::clone(&spool),
        stop: stop.clone(),
        started: Instant::now(),
        encoder,
        metrics,
        gate,
        guesses: daemon::guesses::Guesses::default(),
        config: config.clone(),
    });
    if config.insecure {
        tracing::warn!(
            "insecure is set: who reaches the ports or the network may read and send frames"
        );
    }
    tracing::info!(http = %http_addr, endpoint = daemon::secrets::hide(&config.uplink.endpoint), "edge node is up");
    let router = http::router(Arc::clone(&node));
    let limits = daemon::http::Limits {
        max_connections: config.http.max_connections,
        head_timeout: Duration::from_secs(config.http.request_timeout_s),
        stall_timeout: Duration::from_secs(config.http.request_timeout_s),
        drain: config.shutdown(),
    };
    Ok(Running {
        http_addr,
        http: tokio::spawn(daemon::http::serve(
            listener,
            acceptor,
            router,
            limits,
            stop.clone(),
        )),
        uplink: tokio::spawn(delivery.run(client, stop.clone())),
        sources: tokio::spawn(sources::run(Arc::clone(&node), stop.clone())),
        expiry: tokio::spawn(node.expire()),
        stop,
        spool,
        patience: config.shutdown(),
    })
}

impl Running {
    /// Waits until the node cannot go on by itself.
    pub async fn ended(&self) -> anyhow::Error {
        self.spool.damaged().await;
        anyhow::anyhow!("the spool's file is damaged, the next start saves what can be read of it")
    }

    /// Stops: no new connections, requests in progress are finished within the configured bound,
    /// the spool is closed. What was not delivered stays in it; what is not done in time is cut off.
    pub async fn shutdown(self) {
        self.stop.cancel();
        let mut tasks = [self.http, self.sources, self.uplink, self.expiry];
        let drain = async {
            for task in &mut tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a task ended badly");
                }
            }
            self.spool.close().await;
        };
        if timeout(self.patience + LAST_WRITES, drain).await.is_err() {
            tracing::warn!("not everything ended in time");
            tasks.iter().for_each(JoinHandle::abort);
        }
    }
}

fn camera_rates(http: &config::Http) -> Option<Rates> {
    let rate = http.camera_rate?;
    Some(Rates::new(rate, http.camera_burst))
}
