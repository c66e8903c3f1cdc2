//! Start and end of a node.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use daemon::{
    connections::bind,
    expiry::Watched,
    files::Live,
    guesses::Guesses,
    http::Limits,
    rate::Rates,
    secrets::hide,
    tls::{Acceptor, Protocol},
    tokens::{Authenticator, Kind},
};
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::{self, timeout},
};
use tokio_util::sync::CancellationToken;
use uplink::{Client, Link};

use crate::{
    config::{self, Config},
    delivery::{Delivery, announce_programs, hello},
    http::{self, App, Bodies},
    metrics::{CertificateOf, Metrics},
    pipeline::{Encoder, Pipeline, Programs, follow_programs},
    sources::{self, Statuses},
    spool::Spool,
};

/// Kinds of tokens that a node knows.
pub const TOKENS: [Kind; 2] = [Kind::Sender, Kind::Viewer];

/// Longest time for the last writes to the spool, after the time for requests in progress.
const LAST_WRITES: Duration = Duration::from_secs(1);
/// How often expired frames are looked for.
const EXPIRY_PERIOD: Duration = Duration::from_secs(10);

/// A running node.
#[must_use = "a node is stopped by `shutdown`"]
pub struct Running {
    /// Address of the HTTP server.
    pub http_addr: SocketAddr,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    spool: Arc<Spool>,
    patience: Duration,
}

/// Loads the programs and runs a warm-up patch through each, opens the spool, binds HTTP and starts calling the cloud,
/// which need not be there.
///
/// # Errors
/// A configuration that is out of range, programs or a spool that cannot be opened, or an address that cannot be bound.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    config.check()?;
    let encoder = load_encoder(&config).await?;
    let metrics = Metrics::new(http::routes());
    metrics.set_bounds(&config, encoder.threads());
    let programs = encoder.programs().clone();
    let bits = programs.get().all().compress.bits(0.0);
    metrics.rate_bits.set(bits.into());
    let spool = Spool::open(&config.spool, metrics.clone()).await;
    let spool = spool.with_context(|| format!("spool {}", config.spool.path.display()))?;
    let spool = Arc::new(spool);
    let acceptor = Acceptor::new(&config.tls, None, Protocol::Http1).context("tls")?;
    let authenticator = Authenticator::new(&config.auth, &TOKENS).context("auth.tokens")?;
    let listener = bind(config.http.listen)
        .with_context(|| format!("cannot bind HTTP to {}", config.http.listen))?;
    let http_addr = listener.local_addr()?;

    let stop = CancellationToken::new();
    let pipeline = Pipeline::new(&config, encoder, Arc::clone(&spool), metrics.clone());
    let pipeline = Arc::new(pipeline);
    let (link, uplink) = start_uplink(&config, programs, &spool, &metrics, &stop)?;
    let statuses = Statuses::new(&config.sources);
    let app = Arc::new(App {
        pipeline: Arc::clone(&pipeline),
        spool: Arc::clone(&spool),
        metrics: metrics.clone(),
        link,
        stop: stop.clone(),
        started: Instant::now(),
        bodies: Bodies::new(config.http.max_body_bytes, request_timeout(&config)),
        authenticator,
        guesses: Guesses::default(),
        certificates: watch_certificates(&config, &metrics, &stop),
        camera_rates: camera_rates(&config.http),
        sources: statuses.clone(),
        config: config.clone(),
    });
    if config.insecure {
        tracing::warn!(
            "insecure is set: anyone who reaches the ports or the network can read and send frames"
        );
    }
    tracing::info!(http = %http_addr, endpoint = hide(&config.uplink.endpoint), "edge node is up");
    let (limits, patience) = (limits(&config), config.shutdown());
    let serving = daemon::http::serve(listener, acceptor, http::router(app), limits, stop.clone());
    let fetching = sources::run(
        config,
        statuses,
        pipeline,
        Arc::clone(&spool),
        metrics,
        stop.clone(),
    );
    let expiry = drop_expired(Arc::clone(&spool), stop.clone());
    Ok(Running {
        http_addr,
        tasks: vec![
            tokio::spawn(serving),
            tokio::spawn(fetching),
            uplink,
            tokio::spawn(expiry),
        ],
        stop,
        spool,
        patience,
    })
}

async fn load_encoder(config: &Config) -> anyhow::Result<Encoder> {
    let (programs, rate) = (config.programs.clone(), config.rate.clone());
    let programs = spawn_blocking(move || follow_programs(&programs, &rate)).await??;
    Encoder::new(programs, config.threads).context("cannot start the encoder's threads")
}

/// Starts sending the spool to the cloud. The hello follows the loaded programs.
fn start_uplink(
    config: &Config,
    programs: Live<Programs>,
    spool: &Arc<Spool>,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> anyhow::Result<(watch::Receiver<Link>, JoinHandle<()>)> {
    let (hello_of, hellos) = watch::channel(hello(&config.node_id, &programs.get()));
    tokio::spawn(announce_programs(
        config.node_id.clone(),
        programs.clone(),
        hello_of,
        metrics.clone(),
        stop.clone(),
    ));
    let delivery = Delivery::new(Arc::clone(spool), programs, metrics.clone());
    let delivery = Arc::new(delivery);
    let client = Client::new(config.uplink.clone(), hellos, Arc::clone(&delivery))?;
    let link = client.link();
    Ok((link, tokio::spawn(delivery.run(client, stop.clone()))))
}

/// Watches when the certificates of the HTTP server and of the uplink expire.
fn watch_certificates(
    config: &Config,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> [Watched; 2] {
    let uplink = &config.uplink.tls.cert;
    [
        ("tls.cert", &config.tls.cert, CertificateOf::Http),
        ("uplink.tls.cert", uplink, CertificateOf::Uplink),
    ]
    .map(|(key, path, of)| {
        let gauge = metrics.certificates.get_or_create(&of).clone();
        let watched = Watched::new(key, path.clone(), gauge);
        tokio::spawn(watched.clone().warn(stop.clone()));
        watched
    })
}

/// Drops expired frames until `stop`.
async fn drop_expired(spool: Arc<Spool>, stop: CancellationToken) {
    let mut ticks = time::interval(EXPIRY_PERIOD);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = spool.expire().await {
            tracing::warn!(%error, "looking for expired frames failed");
        }
    }
}

impl Running {
    /// Waits until the node cannot go on by itself, and returns why.
    pub async fn ended(&self) -> anyhow::Error {
        self.spool.damaged().await;
        anyhow::anyhow!(
            "the spool's file is damaged, the next start saves its readable frames into a new one"
        )
    }

    /// Stops: no new connections, requests in progress are finished within the configured bound, the spool is closed.
    /// Undelivered frames stay in the spool; requests that take too long are aborted.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let drain = async {
            for task in &mut self.tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a task ended badly");
                }
            }
            self.spool.close().await;
        };
        if timeout(self.patience + LAST_WRITES, drain).await.is_err() {
            tracing::warn!("not everything ended in time");
            self.tasks.iter().for_each(JoinHandle::abort);
        }
    }
}

fn camera_rates(http: &config::Http) -> Option<Rates> {
    let rate = http.camera_rate?;
    Some(Rates::new(rate, http.camera_burst))
}

fn request_timeout(config: &Config) -> Duration {
    Duration::from_secs(config.http.request_timeout_s)
}

fn limits(config: &Config) -> Limits {
    Limits {
        max_connections: config.http.max_connections,
        head_timeout: request_timeout(config),
        stall_timeout: request_timeout(config),
        drain: config.shutdown(),
    }
}
