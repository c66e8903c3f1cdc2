//! The cloud side of Patchwire: takes encoded frames, keeps them, rebuilds full frames from their
//! latents, measures them and shows them.
//!
//! A frame's way: [`uplink`] checks it, [`store`] makes it durable (objects, then its row), the ack
//! goes out; a worker of [`decode`] later claims the row, rebuilds the picture and records its
//! quality; every change of a row reaches the watchers through [`changes`].
#![forbid(unsafe_code)]

mod adopt;
mod analysis;
mod bus;
pub mod catalogue;
mod changes;
pub mod check;
mod clock;
mod compare;
pub mod config;
mod decode;
mod decoders;
mod engines;
pub mod frame;
mod grpc;
mod housekeeping;
mod http;
mod identity;
mod metrics;
mod nodes;
pub mod objects;
mod picture;
pub mod queue;
mod repair;
mod retention;
mod share;
mod staged;
mod store;
pub mod stored;
mod turn;
mod uplink;

use std::{fs::File, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use daemon::{
    expiry::Watched,
    tls::{Acceptor, Protocol},
    tokens::{Authenticator, Kind},
};
use rayon::ThreadPoolBuilder;
use tokio::{
    net::TcpListener,
    sync::{RwLock, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use bus::Bus;
use catalogue::Catalogue;
use changes::Changes;
use config::Role;
use decoders::Decoders;
use engines::Engines;
use housekeeping::Housekeeping;
use metrics::Metrics;
use store::Store;

pub use config::Config;

/// How long a shutdown may take.
const DRAIN: Duration = Duration::from_secs(10);
/// Most event streams and gRPC watchers at once.
const MAX_WATCHERS: usize = 256;
/// Services whose health follows readiness, and the role that has them; the empty name is the server as a whole.
const SERVICES: [(&str, Option<Role>); 3] = [
    ("", None),
    ("patchwire.v1.Uplink", Some(Role::Ingest)),
    ("patchwire.v1.Catalogue", Some(Role::Web)),
];

/// The kinds of tokens that the service knows.
pub const TOKENS: [Kind; 2] = [Kind::Node, Kind::Viewer];

/// Whether the process can do what its role asks of it.
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
    catalogue: Arc<dyn Catalogue>,
    bus: Option<Bus>,
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
    // Held so that no second process opens the same folder.
    _lock: Option<File>,
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
            if let Some(bus) = &self.bus {
                bus.flush().await;
            }
            self.catalogue.close().await;
        };
        if timeout(DRAIN, drain).await.is_err() {
            tracing::warn!("not everything ended within 10 seconds");
            self.tasks.shutdown().await;
        }
    }
}

/// Gives every frame its row whose object is there, in a catalogue that is new, or older than the objects; tells each thousand on the log.
/// A service that keeps its catalogue in `data_dir` must not be running.
///
/// # Errors
/// Catalogue and objects are of different stores, or cannot be used.
pub async fn adopt(config: &Config) -> anyhow::Result<Adoptions> {
    let metrics = Arc::new(Metrics::new(config));
    let engines = Engines::open(config, &metrics, true).await?;
    let adoption = adopt::Adoption {
        catalogue: engines.catalogue.clone(),
        objects: engines.objects,
    };
    let mut done = Adoptions::default();
    let found = adoption
        .survey(
            std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(u32::MAX.into()),
            &CancellationToken::new(),
        )
        .await?;
    done.frames = found.frames;
    for (n, id) in (1u64..).zip(found.orphans) {
        match adoption.adopt(id, true).await? {
            adopt::Adopted::Row(_) => done.adopted += 1,
            adopt::Adopted::NotNeeded => {}
            adopt::Adopted::Left(reason) => {
                done.set_aside += 1;
                tracing::warn!(frame = %id, %reason, "an object without a row is set aside");
                adoption.set_aside(id).await?;
            }
        }
        if n.is_multiple_of(1000) {
            tracing::info!(frames = n, "looked at frames without a row");
        }
    }
    engines.catalogue.close().await;
    Ok(done)
}

/// What [`adopt`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adoptions {
    /// Frames that the objects hold.
    pub frames: u64,
    /// Of these, those that have a row since.
    pub adopted: u64,
    /// Of these, those that cannot have one, and are set aside.
    pub set_aside: u64,
}

/// Starts the service and returns once both addresses are bound.
///
/// # Errors
/// The configuration is out of range, the decoder cannot be loaded, the data folder cannot be used
/// or is in use by another process, a server that it names cannot be used, or an address cannot be bound.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    config.check()?;
    let decoders = Arc::new(Decoders::load(
        config.decoder.as_deref(),
        config.decode.fast,
        config.decoders.as_deref(),
    )?);
    let pool = ThreadPoolBuilder::new()
        .num_threads(config.decode.threads)
        .thread_name(|n| format!("decode-{n}"))
        .build()
        .context("decode threads cannot be started")?;
    let pool = Arc::new(pool);

    let gate = Authenticator::new(&config.auth, &TOKENS).context("auth.tokens")?;
    let http_acceptor = Acceptor::new(&config.tls, None, Protocol::Http1).context("tls")?;
    let client_ca = config.grpc.client_ca.as_deref();
    let grpc_acceptor = Acceptor::new(&config.tls, client_ca, Protocol::Http2).context("tls")?;

    let role = config.role;
    let metrics = Arc::new(Metrics::new(&config));
    let Engines {
        catalogue,
        cameras,
        objects,
        queue,
        bus,
        lock,
    } = Engines::open(&config, &metrics, false).await?;
    let http_listener = bind("http", config.http.listen)?;
    let grpc_listener = bind("gRPC", config.grpc.listen)?;
    let (http_addr, grpc_addr) = (http_listener.local_addr()?, grpc_listener.local_addr()?);

    let stop = CancellationToken::new();
    let changes = Changes::new(bus.clone());
    let nodes = nodes::Nodes::default();
    let watchers = Arc::new(Semaphore::new(MAX_WATCHERS));
    let together = Arc::new(RwLock::new(()));
    let store = Store::start(
        catalogue.clone(),
        cameras.clone(),
        objects.clone(),
        changes.clone(),
        queue.clone(),
        together.clone(),
    );
    let ingests = role.does(Role::Ingest);
    let uplink = ingests.then(|| {
        uplink::UplinkService::new(
            store,
            metrics.clone(),
            nodes.clone(),
            uplink::Limits {
                decoders: decoders.clone(),
                max_pixels: config.decode.max_pixels,
                max_message_bytes: config.grpc.max_message_bytes,
                window: config.grpc.window,
                max_streams: config.grpc.max_streams,
                shares: share::Shares::new(config.grpc.node_rate, config.grpc.node_burst),
                age: Duration::from_secs(config.grpc.max_connection_age_s),
                grace: Duration::from_secs(config.grpc.connection_grace_s),
            },
            gate.clone(),
            stop.clone(),
        )
    });
    let catalogue_api = role.does(Role::Web).then(|| grpc::CatalogueService {
        catalogue: catalogue.clone(),
        changes: changes.clone(),
        metrics: metrics.clone(),
        watchers: watchers.clone(),
        gate: gate.clone(),
        shutdown: stop.clone(),
    });
    let repair = Arc::new(repair::Repair {
        catalogue: catalogue.clone(),
        objects: objects.clone(),
        changes: changes.clone(),
        metrics: metrics.clone(),
        queue: queue.clone(),
        decoders: decoders.clone(),
        together: together.clone(),
    });
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health = Health { reporter, role };
    let (ready, readiness) = watch::channel(Readiness::WarmingUp);
    health.set(ServingStatus::NotServing).await;
    let certificate = Watched::new(
        "tls.cert",
        config.tls.cert.clone(),
        metrics.certificate_expires.clone(),
    );
    let app = http::App {
        certificate: certificate.clone(),
        role,
        catalogue: catalogue.clone(),
        cameras: cameras.clone(),
        queue: queue.clone(),
        objects: objects.clone(),
        changes: changes.clone(),
        metrics: metrics.clone(),
        nodes: nodes.clone(),
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
        changes: changes.clone(),
        metrics: metrics.clone(),
        decoders,
        pool,
        max_attempts: config.decode.max_attempts,
        queue: queue.clone(),
        company: decode::Company::default(),
    };

    let housekeeping = Housekeeping {
        catalogue: catalogue.clone(),
        queue,
        keeper: retention::Keeper {
            policy: config.retention,
            catalogue: catalogue.clone(),
            objects,
            metrics: metrics.clone(),
            together,
        },
        repair,
        watch: analysis::Watch {
            cameras,
            catalogue: catalogue.clone(),
            metrics: metrics.clone(),
            settings: config.analysis.clone(),
        },
    };

    let mut tasks = JoinSet::new();
    let until = stop.clone();
    tasks.spawn(async move {
        certificate.warn(until).await;
        Ok(())
    });
    let until = stop.clone();
    tasks.spawn(async move {
        housekeeping.run(until).await;
        Ok(())
    });
    if let Some(bus) = bus.clone() {
        tasks.spawn(nodes.exchange(bus, stop.clone()));
        tasks.spawn(changes.clone().count(stop.clone()));
    }
    if role.does(Role::Web) {
        tasks.spawn(changes.relay(catalogue.clone(), stop.clone()));
    }
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
            grace: Duration::from_secs(config.grpc.connection_grace_s),
            idle: Duration::from_secs(config.grpc.idle_timeout_s),
            max_streams: config.grpc.max_streams,
        },
    };
    tasks.spawn(grpc::serve(
        door,
        metrics,
        uplink,
        catalogue_api,
        health_service,
        stop.clone(),
    ));
    let workers = config.decode.workers;
    let until = stop.clone();
    match role.does(Role::Decode) {
        true => {
            tasks.spawn(warm_up_then_decode(worker, workers, ready, health, until));
        }
        false => {
            tasks.spawn(serve_until(ready, health, until));
        }
    }
    if config.insecure {
        tracing::warn!("insecure is set: who reaches the ports may read and send frames");
    }
    tracing::info!(%http_addr, %grpc_addr, ?role, "listening");
    Ok(Running {
        http_addr,
        grpc_addr,
        catalogue,
        bus,
        tasks,
        stop,
        _lock: lock,
    })
}

async fn warm_up_then_decode(
    worker: decode::Worker,
    workers: usize,
    ready: watch::Sender<Readiness>,
    health: Health,
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
    let serving = serve_until(ready, health, stop.clone());
    let mut running = JoinSet::new();
    for _ in 0..workers {
        running.spawn(worker.clone().run(stop.clone()));
    }
    serving.await?;
    while let Some(ended) = running.join_next().await {
        ended.context("decode worker")?;
    }
    Ok(())
}

/// Says that the service is ready until it is to stop.
async fn serve_until(
    ready: watch::Sender<Readiness>,
    health: Health,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    ready.send_replace(Readiness::Ready);
    health.set(ServingStatus::Serving).await;
    stop.cancelled().await;
    health.set(ServingStatus::NotServing).await;
    Ok(())
}

/// The health of those gRPC services that a role has.
struct Health {
    reporter: HealthReporter,
    role: Role,
}

impl Health {
    async fn set(&self, status: ServingStatus) {
        for (service, role) in SERVICES {
            if role.is_none_or(|role| self.role.does(role)) {
                self.reporter.set_service_status(service, status).await;
            }
        }
    }
}

fn bind(what: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    daemon::connections::bind(address)
        .with_context(|| format!("{what} address {address} cannot be bound"))
}
