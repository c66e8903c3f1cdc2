//! Starts and stops the service: one step for each part that it has.

use std::{fs::File, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use daemon::{
    expiry::Watched,
    tls::{Acceptor, Protocol},
    tokens::Authenticator,
};
use futures::future::BoxFuture;
use rayon::ThreadPoolBuilder;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;

use crate::{
    analysis::{Comparisons, Watch},
    cluster::{Nats, NodeRegistry},
    config::{Config, Role, TOKENS},
    decode::{Decoders, Worker, warm_up},
    grpc, http,
    ingest::{self, Quotas, UplinkService},
    maintenance::{Maintenance, Remover, Repair},
    metrics::Metrics,
    readiness::{Health, Readiness, serve_until},
    store::{self, FrameStore},
};

/// Longest time for a shutdown.
const DRAIN: Duration = Duration::from_secs(10);
/// Most event streams and gRPC watchers at once.
const MAX_WATCHERS: usize = 256;
/// A started service.
pub struct Running {
    /// Where dashboard and HTTP API listen.
    pub http_addr: SocketAddr,
    /// Where the gRPC services listen.
    pub grpc_addr: SocketAddr,
    store: FrameStore,
    nats: Option<Nats>,
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
    // Held so that no second process opens the same folder.
    _lock: Option<File>,
}

impl Running {
    /// Waits until the service ends by itself, which only happens after a failure.
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

    /// Stops taking work, finishes the work under way, and closes the catalogue. Tasks that have not ended within 10
    /// seconds are cut off; nothing acked is lost by that.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let drain = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok(Err(error)) = ended {
                    tracing::warn!(%error, "while shutting down");
                }
            }
            if let Some(nats) = &self.nats {
                nats.flush().await;
            }
            self.store.close().await;
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
/// or is in use by another process, a server that it names cannot be used, or an address cannot be bound.
///
/// The future is boxed so that the whole service is compiled once, in this crate: the code of a plain `async fn` is
/// generated in each program that awaits it.
pub fn start(config: Config) -> BoxFuture<'static, anyhow::Result<Running>> {
    Box::pin(build(config))
}

async fn build(config: Config) -> anyhow::Result<Running> {
    config.check()?;
    let decoders = Decoders::load(
        config.decoder.as_deref(),
        config.decode.fast,
        config.decoders.as_deref(),
    )?;
    let gate = Authenticator::new(&config.auth, &TOKENS).context("auth.tokens")?;
    let doors = Acceptors::load(&config)?;
    let metrics = Arc::new(Metrics::new(http::routes()));
    metrics.decode_workers.set(config.decode.workers as i64);
    let opened = store::open(&config, &metrics, false).await?;
    let http_listener = bind("http", config.http.listen)?;
    let grpc_listener = bind("gRPC", config.grpc.listen)?;
    let (http_addr, grpc_addr) = (http_listener.local_addr()?, grpc_listener.local_addr()?);

    let mut service = Service {
        config: &config,
        decoders: Arc::new(decoders),
        gate,
        metrics,
        store: opened.store,
        nats: opened.nats,
        nodes: NodeRegistry::default(),
        watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
        tasks: JoinSet::new(),
        stop: CancellationToken::new(),
    };
    let (ready, readiness) = watch::channel(Readiness::WarmingUp);
    let certificate = service.watch_certificate();
    service.maintain();
    service.join_cluster();
    service.serve_http(http_listener, doors.http, certificate, readiness);
    let health = service.serve_grpc(grpc_listener, doors.grpc).await;
    service.decode(ready, health)?;
    if config.insecure {
        tracing::warn!("insecure is set: anyone who reaches the ports may read and send frames");
    }
    tracing::info!(%http_addr, %grpc_addr, role = ?config.role, "listening");
    Ok(Running {
        http_addr,
        grpc_addr,
        store: service.store,
        nats: service.nats,
        tasks: service.tasks,
        stop: service.stop,
        _lock: opened.lock,
    })
}

fn bind(what: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    daemon::connections::bind(address)
        .with_context(|| format!("{what} address {address} cannot be bound"))
}

/// TLS of both servers.
struct Acceptors {
    http: Acceptor,
    grpc: Acceptor,
}

impl Acceptors {
    fn load(config: &Config) -> anyhow::Result<Self> {
        let client_ca = config.grpc.client_ca.as_deref();
        Ok(Self {
            http: Acceptor::new(&config.tls, None, Protocol::Http1).context("tls")?,
            grpc: Acceptor::new(&config.tls, client_ca, Protocol::Http2).context("tls")?,
        })
    }
}

/// The parts of a service that is being started.
struct Service<'a> {
    config: &'a Config,
    decoders: Arc<Decoders>,
    gate: Authenticator,
    metrics: Arc<Metrics>,
    store: FrameStore,
    nats: Option<Nats>,
    nodes: NodeRegistry,
    watchers: Arc<Semaphore>,
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Service<'_> {
    /// Starts a task that cannot fail.
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async {
            task.await;
            Ok(())
        });
    }

    fn watch_certificate(&mut self) -> Watched {
        let metric = self.metrics.certificate_expires.clone();
        let certificate = Watched::new("tls.cert", self.config.tls.cert.clone(), metric);
        let (watched, stop) = (certificate.clone(), self.stop.clone());
        self.spawn(async move { watched.warn(stop).await });
        certificate
    }

    fn maintain(&mut self) {
        let maintenance = Maintenance {
            store: self.store.clone(),
            remover: Remover {
                policy: self.config.retention,
                store: self.store.clone(),
                metrics: self.metrics.clone(),
            },
            repair: Repair {
                store: self.store.clone(),
                metrics: self.metrics.clone(),
                decoders: self.decoders.clone(),
            },
            watch: Watch {
                cameras: self.store.watchlist().clone(),
                catalogue: self.store.catalogue().clone(),
                metrics: self.metrics.clone(),
                settings: self.config.analysis.clone(),
            },
        };
        let stop = self.stop.clone();
        self.spawn(async move { maintenance.run(stop).await });
    }

    /// Exchanges nodes and changes with the other processes, if there are any.
    fn join_cluster(&mut self) {
        let changes = self.store.changes().clone();
        if let Some(nats) = self.nats.clone() {
            let exchange = self.nodes.clone().exchange(nats, self.stop.clone());
            self.tasks.spawn(exchange);
            self.tasks.spawn(changes.clone().count(self.stop.clone()));
        }
        if self.config.role.does(Role::Web) {
            let catalogue = self.store.catalogue().clone();
            self.tasks
                .spawn(changes.relay(catalogue, self.stop.clone()));
        }
    }

    fn serve_http(
        &mut self,
        listener: TcpListener,
        acceptor: Acceptor,
        certificate: Watched,
        readiness: watch::Receiver<Readiness>,
    ) {
        let (gate, metrics) = (self.gate.clone(), self.metrics.clone());
        let app = http::App {
            role: self.config.role,
            store: self.store.clone(),
            nodes: self.nodes.clone(),
            comparisons: Comparisons::default(),
            decoder: http::DecoderInfo::from(&*self.decoders.main),
            decoders: self.decoders.iter().map(|d| (&**d).into()).collect(),
            readiness,
            retention: self.config.retention,
            watchers: self.watchers.clone(),
            authentication: http::Authentication::new(gate, metrics.clone(), self.config),
            metrics,
            certificate,
            shutdown: self.stop.clone(),
        };
        self.spawn(http::serve(listener, acceptor, app));
    }

    /// Serves gRPC, with its health not ready yet.
    async fn serve_grpc(&mut self, listener: TcpListener, acceptor: Acceptor) -> Health {
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let role = self.config.role;
        let health = Health { reporter, role };
        health.set(ServingStatus::NotServing).await;
        let limits = &self.config.grpc;
        let uplink = role.does(Role::Ingest).then(|| self.uplink());
        let catalogue = role.does(Role::Web).then(|| grpc::CatalogueService {
            store: self.store.clone(),
            metrics: self.metrics.clone(),
            watchers: self.watchers.clone(),
            gate: self.gate.clone(),
            shutdown: self.stop.clone(),
        });
        let endpoint = grpc::Endpoint {
            listener,
            acceptor,
            gate: self.gate.clone(),
            limits: grpc::Limits {
                max_message_bytes: limits.max_message_bytes,
                connection_age: Duration::from_secs(limits.max_connection_age_s),
                grace: Duration::from_secs(limits.connection_grace_s),
                idle: Duration::from_secs(limits.idle_timeout_s),
                max_streams: limits.max_streams,
            },
        };
        self.tasks.spawn(grpc::serve(
            endpoint,
            self.metrics.clone(),
            uplink,
            catalogue,
            health_service,
            self.stop.clone(),
        ));
        health
    }

    fn uplink(&self) -> UplinkService {
        let grpc = &self.config.grpc;
        UplinkService::new(
            self.store.clone(),
            self.metrics.clone(),
            self.nodes.clone(),
            self.decoders.clone(),
            ingest::Limits {
                max_pixels: self.config.decode.max_pixels,
                max_message_bytes: grpc.max_message_bytes,
                reference_bytes: grpc.reference_bytes,
                all_reference_bytes: grpc.all_reference_bytes,
                window: grpc.window,
                max_streams: grpc.max_streams,
                quotas: Quotas::new(grpc.node_rate, grpc.node_burst),
                age: Duration::from_secs(grpc.max_connection_age_s),
                grace: Duration::from_secs(grpc.connection_grace_s),
            },
            self.gate.clone(),
            self.stop.clone(),
        )
    }

    /// Starts the decode workers if the role has any, and reports the service as ready.
    fn decode(&mut self, ready: watch::Sender<Readiness>, health: Health) -> anyhow::Result<()> {
        let stop = self.stop.clone();
        if !self.config.role.does(Role::Decode) {
            self.spawn(serve_until(ready, health, stop));
            return Ok(());
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(self.config.decode.threads)
            .thread_name(|n| format!("decode-{n}"))
            .build()
            .context("decode threads cannot be started")?;
        let worker = Worker::new(
            self.store.clone(),
            self.metrics.clone(),
            self.decoders.clone(),
            pool,
            self.config.decode.max_attempts,
        );
        let workers = self.config.decode.workers;
        self.tasks
            .spawn(warm_up_then_decode(worker, workers, ready, health, stop));
        Ok(())
    }
}

async fn warm_up_then_decode(
    worker: Worker,
    workers: usize,
    ready: watch::Sender<Readiness>,
    health: Health,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (decoders, pool) = (worker.decoders.clone(), worker.pool.clone());
    let warmed = tokio::task::spawn_blocking(move || warm_up(&decoders, &pool)).await;
    let problem = match warmed {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("it panicked".to_owned()),
    };
    if let Some(problem) = problem {
        // The API continues: decoded frames can be viewed, and new frames are queued.
        tracing::error!(problem, "the warm-up frame could not be decoded");
        let broken = format!("the decoder does not work: {problem}");
        ready.send_replace(Readiness::Broken(broken));
        stop.cancelled().await;
        return Ok(());
    }
    let serving = serve_until(ready, health, stop.clone());
    let mut running = JoinSet::new();
    for _ in 0..workers {
        running.spawn(worker.clone().run(stop.clone()));
    }
    serving.await;
    while let Some(ended) = running.join_next().await {
        ended.context("decode worker")?;
    }
    Ok(())
}
