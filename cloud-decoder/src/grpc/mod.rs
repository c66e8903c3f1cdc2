//! The gRPC server: uplink, catalogue, health and reflection on one address.

mod catalogue;
mod first;
mod guard;
mod idle;
mod incoming;
mod record;

use std::{sync::Arc, time::Duration};

use daemon::{
    slots::Slots,
    tls::Acceptor,
    tokens::{Authenticator, Kind},
};
use patchwire_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{catalogue_server::CatalogueServer, uplink_server::UplinkServer},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{service::interceptor::InterceptedService, transport::Server};
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::layer::layer_fn;

use self::idle::{Counted, Ends};
use crate::{ingest::UplinkService, metrics::Metrics};

pub(crate) use self::catalogue::CatalogueService;

/// Largest request of the catalogue in bytes: a camera id and a page token.
const MAX_REQUEST_BYTES: usize = 4096;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_STREAMS_PER_CONNECTION: u32 = 64;
/// Streams that a client may reset before the server reads them; more of them end the connection.
const MAX_PENDING_RESETS: usize = 32;
/// Bytes of a call's headers.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// Bytes of an HTTP/2 frame, the least that the protocol allows: messages are cut into them.
const MAX_FRAME_BYTES: u32 = 16 << 10;
/// Connections besides those of uplink streams: for viewers, and for nodes that reconnect.
const OTHER_CONNECTIONS: usize = 1024;
/// Connections of strangers: probes, clients before their first call, and clients without a token.
const STRANGERS: usize = 1024;
/// Longest time that a connection is open, relative to its age: a tenth more, as for streams, plus the grace.
const AGE_SPREAD: f64 = 1.1;
/// Further time for a stream that begins to drain at the last moment.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Longest time until a call's answer begins, which also bounds the arrival of its message.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Where and to whom the server listens.
pub(crate) struct Endpoint {
    pub(crate) listener: TcpListener,
    pub(crate) acceptor: Acceptor,
    pub(crate) gate: Authenticator,
    pub(crate) limits: Limits,
}

/// Limits on each client of the server.
pub(crate) struct Limits {
    pub(crate) max_message_bytes: usize,
    /// Age from which a connection takes no more calls.
    pub(crate) connection_age: Duration,
    /// Time after that age until a connection is closed, even if calls are open on it.
    pub(crate) grace: Duration,
    /// Time without a call after which a connection is closed.
    pub(crate) idle: Duration,
    /// Most uplink streams at once.
    pub(crate) max_streams: usize,
}

/// Serves until `shutdown`, then until the last stream has ended. Health is open to everyone; other calls need tokens
/// where some are configured.
pub(crate) async fn serve(
    endpoint: Endpoint,
    metrics: Arc<Metrics>,
    uplink: Option<UplinkService>,
    catalogue: Option<CatalogueService>,
    health: HealthServer<impl Health>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Endpoint {
        listener,
        acceptor,
        gate,
        limits,
    } = endpoint;
    let guard = |kind| guard::Guard {
        gate: gate.clone(),
        kind,
        metrics: metrics.clone(),
    };
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let (nodes, viewers) = (guard(Kind::Node), guard(Kind::Viewer));
    let uplink = uplink.map(|uplink| {
        let uplink = UplinkServer::new(uplink)
            .max_decoding_message_size(limits.max_message_bytes)
            .max_encoding_message_size(limits.max_message_bytes);
        InterceptedService::new(uplink, nodes)
    });
    let catalogue = catalogue.map(|catalogue| {
        let catalogue = CatalogueServer::new(catalogue)
            .max_decoding_message_size(MAX_REQUEST_BYTES)
            .max_encoding_message_size(limits.max_message_bytes);
        InterceptedService::new(catalogue, viewers.clone())
    });
    let incoming = incoming::incoming(
        listener,
        acceptor,
        Slots::new(STRANGERS, limits.max_streams + OTHER_CONNECTIONS),
        Ends {
            idle: limits.idle,
            age: limits.connection_age.mul_f64(AGE_SPREAD) + limits.grace + LAST_WORDS,
        },
        shutdown.clone(),
    );
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_connection_age(limits.connection_age)
        .timeout(CALL_TIMEOUT)
        .layer(layer_fn(Counted))
        .add_optional_service(uplink)
        .add_optional_service(catalogue)
        .add_service(health)
        .add_service(InterceptedService::new(reflection, viewers))
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await?;
    Ok(())
}
