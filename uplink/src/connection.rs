//! Opens streams to the cloud.

use std::time::Duration;

use patchwire_proto::{
    limits,
    v1::{
        CloudMessage, EdgeMessage, Hello, Welcome, cloud_message, edge_message,
        uplink_client::UplinkClient,
    },
};
use tokio::{
    sync::{mpsc, watch},
    time,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming, transport::Endpoint};

use crate::{config::Uplink, error::LinkError, identity, source::Source};

/// Ping intervals without an answer after which the link counts as down. More than one, because on a thin link the
/// answer waits behind frames.
const KEEPALIVE_MISSES: u32 = 3;

/// A stream that the cloud has welcomed.
pub struct Connection {
    /// Up. Holds one message; what waits for the network waits elsewhere.
    pub(crate) outbound: mpsc::Sender<EdgeMessage>,
    /// Down.
    pub(crate) inbound: Streaming<CloudMessage>,
    pub(crate) welcome: Welcome,
    /// Changes once another hello should be said.
    pub(crate) hello: watch::Receiver<Hello>,
}

/// The endpoint of a configuration, with its timeouts.
///
/// # Errors
/// The endpoint is not a URI.
pub(crate) fn endpoint(config: &Uplink) -> Result<Endpoint, tonic::transport::Error> {
    let keepalive = Duration::from_secs(config.keepalive_s);
    let endpoint = Endpoint::from_shared(config.endpoint.clone())?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(config.connect_timeout_s))
        .http2_keep_alive_interval(keepalive)
        .keep_alive_timeout(keepalive * KEEPALIVE_MISSES)
        .keep_alive_while_idle(true))
}

impl Connection {
    /// Connects, says hello and waits for the welcome.
    ///
    /// # Errors
    /// No connection or no welcome in time, a certificate or token that cannot be used, or a refusal of the cloud.
    pub(crate) async fn open(
        config: &Uplink,
        endpoint: Endpoint,
        hello: watch::Receiver<Hello>,
        source: &impl Source,
    ) -> Result<Self, LinkError> {
        let patience = Duration::from_secs(config.connect_timeout_s);
        let opened = time::timeout(patience, Self::open_now(config, endpoint, hello, source)).await;
        opened.map_err(|_| LinkError::NoWelcome(patience))?
    }

    async fn open_now(
        config: &Uplink,
        endpoint: Endpoint,
        mut hello: watch::Receiver<Hello>,
        source: &impl Source,
    ) -> Result<Self, LinkError> {
        let (endpoint, authorization) = identity::load(config, endpoint).await?;
        let channel = source.dial(endpoint).await?;
        let (outbound, messages) = mpsc::channel(1);
        let body = Some(edge_message::Body::Hello(hello.borrow_and_update().clone()));
        let sent = outbound.try_send(EdgeMessage { body });
        sent.map_err(|_| LinkError::Closed)?;
        let mut client = UplinkClient::new(channel)
            .max_decoding_message_size(config.max_message_bytes)
            .max_encoding_message_size(config.max_message_bytes);
        let mut request = Request::new(ReceiverStream::new(messages));
        if let Some(authorization) = authorization {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", authorization);
        }
        let answer = client.stream(request).await;
        let mut inbound = answer.map_err(LinkError::before_welcome)?.into_inner();
        let first = inbound.message().await.map_err(LinkError::before_welcome)?;
        let first = first.ok_or(LinkError::Closed)?;
        let Some(cloud_message::Body::Welcome(welcome)) = first.body else {
            let reason = "its first message is not a welcome";
            return Err(LinkError::Protocol(reason.into()));
        };
        limits::check_welcome(&welcome)
            .map_err(|error| LinkError::Protocol(format!("its welcome is wrong: {error}")))?;
        Ok(Self {
            outbound,
            inbound,
            welcome,
            hello,
        })
    }

    /// Most frames without an ack on this stream.
    pub(crate) fn window(&self, config: &Uplink) -> usize {
        config.window.min(self.welcome.window).max(1) as usize
    }
}
