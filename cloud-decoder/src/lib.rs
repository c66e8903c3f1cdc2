//! The cloud side of Patchwire: takes encoded frames, keeps them, rebuilds full frames from their
//! latents, measures them and shows them.
//!
//! A frame's way: [`uplink`] checks it, [`store`] makes it durable (objects, then its row), the ack
//! goes out; a worker of [`decode`] later claims the row, rebuilds the picture and records its
//! quality; every change of a row reaches the watchers through [`changes`].
#![forbid(unsafe_code)]

pub mod catalogue;
mod changes;
pub mod check;
mod clock;
mod compare;
pub mod config;
mod decode;
mod decoders;
mod drift;
pub mod frame;
mod grpc;
mod http;
mod idle;
mod metrics;
mod nodes;
pub mod objects;
mod picture;
mod repair;
mod retention;
mod share;
mod store;
mod turn;
mod uplink;

use std::{
    fs::{File, TryLockError},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use daemon::{
    tls::{Acceptor, Protocol},
    tokens::{Gate, Kind},
};
use rayon::ThreadPoolBuilder;
use tokio::{
    net::TcpListener,
    sync::{Notify, RwLock, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use catalogue::{Catalogue, Measured, SqliteCatalogue};
use changes::Changes;
use decoders::Decoders;
use metrics::Metrics;
use objects::Objects;
use store::Store;

pub use config::Config;

/// How long a shutdown may take.
const DRAIN: Duration = Duration::from_secs(10);
/// Most event streams and gRPC watchers at once.
const MAX_WATCHERS: usize = 256;
/// Services whose health follows readiness; the empty name is the server as a whole.
const SERVICES: [&str; 3] = ["", "patchwire.v1.Uplink", "patchwire.v1.Catalogue"];

/// The kinds of tokens that the service knows.
pub const TOKENS: [Kind; 2] = [Kind::Node, Kind::Viewer];

/// Whether frames can be decoded.
#[derive(Clone, Debug)]
pub(crate) enum Readiness {
    WarmingUp,
    Ready,
    Broken(String),
}

/// A started service.
pub struct Running {
    /// Where dashboard and HTTP API listen.
    pub http_addr: SocketAddr,
    /// Where the gRPC services listen.
    pub grpc_addr: SocketAddr,
    database: Arc<SqliteCatalogue>,
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
    // Held so that no second process opens the same folder.
    _lock: File,
}

impl Running {
    /// Waits until the service ends by itself, which it only does when something broke.
    pub async fn ended(&mut self) -> anyhow::Error {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(Ok(()))) => continue,
                Some(Ok(Err(error))) => return error,
                Some(Err(panic)) => return panic.into(),
                None => return anyhow::anyhow!("the service ended"),
            }
        }
    }

    /// Stops taking work, finishes what is under way, and closes the catalogue. Whatever has not
    /// ended within 10 seconds is cut off; nothing acked is lost by that.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let drain = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok(Err(error)) = ended {
                    tracing::warn!(%error, "while shutting down");
                }
            }
            self.database.close().await;
        };
        if timeout(DRAIN, drain).await.is_err() {
            tracing::warn!("not everything ended within 10 seconds");
            self.tasks.shutdown().await;
        }
    }
}

/// Starts the service and returns once both addresses are bound.
///
/// # Errors
/// The configuration is out of range, the decoder cannot be loaded, the data folder cannot be used
/// or is in use by another process, or an address cannot be bound.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    config.check()?;
    let decoders = Arc::new(Decoders::load(
        config.decoder.as_deref(),
        config.decoders.as_deref(),
    )?);
    let pool = ThreadPoolBuilder::new()
        .num_threads(config.decode.threads)
        .thread_name(|n| format!("decode-{n}"))
        .build()
        .context("decode threads cannot be started")?;
    let pool = Arc::new(pool);

    let gate = Gate::new(&config.auth, &TOKENS).context("auth.tokens")?;
    let http_acceptor = Acceptor::new(&config.tls, None, Protocol::Http1).context("tls")?;
    let client_ca = config.grpc.client_ca.as_deref();
    let grpc_acceptor = Acceptor::new(&config.tls, client_ca, Protocol::Http2).context("tls")?;

    let lock = open_data_dir(&config.data_dir)?;
    let metrics = Arc::new(Metrics::new(&config));
    let objects = Objects::local(&config.data_dir.join("objects"))?.measured(metrics.clone());
    let database = config.data_dir.join("catalogue.sqlite");
    let database = Arc::new(SqliteCatalogue::open(&database).await?);
    let catalogue: Arc<dyn Catalogue> = Arc::new(Measured {
        inner: database.clone(),
        metrics: metrics.clone(),
    });
    let http_listener = bind("http", config.http.listen).await?;
    let grpc_listener = bind("gRPC", config.grpc.listen).await?;
    let (http_addr, grpc_addr) = (http_listener.local_addr()?, grpc_listener.local_addr()?);

    let stop = CancellationToken::new();
    let changes = Changes::new();
    let nodes = nodes::Nodes::default();
    let queue = Arc::new(Notify::new());
    let watchers = Arc::new(Semaphore::new(MAX_WATCHERS));
    let together = Arc::new(RwLock::new(()));
    let store = Store::start(
        catalogue.clone(),
        objects.clone(),
        changes.clone(),
        queue.clone(),
        together.clone(),
    );
    let uplink = uplink::UplinkService::new(
        store,
        metrics.clone(),
        nodes.clone(),
        uplink::Limits {
            decoders: decoders.clone(),
            max_pixels: config.decode.max_pixels,
            max_message_bytes: config.grpc.max_message_bytes,
            window: config.grpc.window,
            shares: share::Shares::new(config.grpc.node_rate, config.grpc.node_burst),
            age: Duration::from_secs(config.grpc.max_connection_age_s),
            grace: Duration::from_secs(config.grpc.connection_grace_s),
        },
        gate.clone(),
        stop.clone(),
    );
    let catalogue_api = grpc::CatalogueService {
        catalogue: catalogue.clone(),
        changes: changes.clone(),
        metrics: metrics.clone(),
        watchers: watchers.clone(),
        gate: gate.clone(),
        shutdown: stop.clone(),
    };
    let repair = Arc::new(repair::Repair {
        catalogue: catalogue.clone(),
        objects: objects.clone(),
        changes: changes.clone(),
        metrics: metrics.clone(),
        queue: queue.clone(),
        decoders: decoders.clone(),
        together: together.clone(),
    });
    let (health, health_service) = tonic_health::server::health_reporter();
    let (ready, readiness) = watch::channel(Readiness::WarmingUp);
    set_health(&health, ServingStatus::NotServing).await;
    let app = http::App {
        catalogue: catalogue.clone(),
        objects: objects.clone(),
        changes: changes.clone(),
        metrics: metrics.clone(),
        nodes,
        compare: compare::Desk::default(),
        decoder: http::DecoderInfo::from(&*decoders.main),
        decoders: decoders.iter().map(|d| (&**d).into()).collect(),
        readiness,
        retention: config.retention,
        repair: repair.clone(),
        watchers,
        door: http::Entrance::new(gate.clone(), &config),
        shutdown: stop.clone(),
    };
    let worker = decode::Worker {
        catalogue: catalogue.clone(),
        objects: objects.clone(),
        changes,
        metrics: metrics.clone(),
        decoders,
        pool,
        max_attempts: config.decode.max_attempts,
        queue,
    };

    let keeper = retention::Keeper {
        policy: config.retention,
        catalogue: catalogue.clone(),
        objects,
        metrics,
        together,
    };

    let mut tasks = JoinSet::new();
    let until = stop.clone();
    tasks.spawn(async move {
        keeper.run(until).await;
        Ok(())
    });
    let until = stop.clone();
    tasks.spawn(async move {
        repair.run(until).await;
        Ok(())
    });
    tasks.spawn(async {
        http::serve(http_listener, http_acceptor, app).await;
        Ok(())
    });
    let door = grpc::Door {
        listener: grpc_listener,
        acceptor: grpc_acceptor,
        gate,
        limits: grpc::Limits {
            max_message_bytes: config.grpc.max_message_bytes,
            connection_age: Duration::from_secs(config.grpc.max_connection_age_s),
            idle: Duration::from_secs(config.grpc.idle_timeout_s),
        },
    };
    tasks.spawn(grpc::serve(
        door,
        uplink,
        catalogue_api,
        health_service,
        stop.clone(),
    ));
    let workers = config.decode.workers;
    tasks.spawn(warm_up_then_decode(
        worker,
        workers,
        ready,
        health,
        stop.clone(),
    ));
    if config.insecure {
        tracing::warn!("insecure is set: who reaches the ports may read and send frames");
    }
    tracing::info!(%http_addr, %grpc_addr, data = %config.data_dir.display(), "listening");
    Ok(Running {
        http_addr,
        grpc_addr,
        database,
        tasks,
        stop,
        _lock: lock,
    })
}

async fn warm_up_then_decode(
    worker: decode::Worker,
    workers: usize,
    ready: watch::Sender<Readiness>,
    health: HealthReporter,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (decoders, pool) = (worker.decoders.clone(), worker.pool.clone());
    let warmed = tokio::task::spawn_blocking(move || decode::warm_up(&decoders, &pool)).await;
    let problem = match warmed {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("it panicked".to_owned()),
    };
    if let Some(problem) = problem {
        // The API goes on: what is already decoded can be looked at, and new frames are queued.
        tracing::error!(problem, "the warm-up frame did not decode");
        ready.send_replace(Readiness::Broken(format!(
            "the decoder does not work: {problem}"
        )));
        stop.cancelled().await;
        return Ok(());
    }
    ready.send_replace(Readiness::Ready);
    set_health(&health, ServingStatus::Serving).await;
    let mut running = JoinSet::new();
    for _ in 0..workers {
        running.spawn(worker.clone().run(stop.clone()));
    }
    stop.cancelled().await;
    set_health(&health, ServingStatus::NotServing).await;
    while let Some(ended) = running.join_next().await {
        ended.context("decode worker")?;
    }
    Ok(())
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}

fn open_data_dir(folder: &Path) -> anyhow::Result<File> {
    let shown = folder.display();
    std::fs::create_dir_all(folder.join("objects"))
        .with_context(|| format!("data_dir {shown} cannot be created"))?;
    let lock = File::create(folder.join("lock"))
        .with_context(|| format!("data_dir {shown} cannot be written"))?;
    // The entries just made must outlive a power cut as surely as what is written below them.
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("data_dir {shown} cannot be synchronized"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("data_dir {shown} is in use by another process"),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("data_dir {shown} cannot be locked"))
        }
    }
}

async fn bind(what: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{what} address {address} cannot be bound"))
}
