//! The connection to NATS.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber};

/// Longest time for connecting, and for a request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often the server is pinged. After two pings without an answer the connection goes to another server.
const PING: Duration = Duration::from_secs(3);

/// Messages between processes. Clones share one connection, which is opened again whenever it breaks.
#[derive(Clone)]
pub(crate) struct Nats {
    client: Client,
}

impl Nats {
    /// Connects to one of the servers, whose addresses have commas between them.
    ///
    /// # Errors An address is invalid, no server can be reached, or it refuses the connection.
    pub(crate) async fn connect(urls: &str) -> anyhow::Result<Self> {
        let addresses: Result<Vec<ServerAddr>, _> =
            urls.split(',').map(|url| url.trim().parse()).collect();
        let addresses = addresses?;
        let options = ConnectOptions::new()
            .name("cloud-decoder")
            .connection_timeout(TIMEOUT)
            .request_timeout(Some(TIMEOUT))
            .ping_interval(PING)
            .event_callback(|event| async move {
                match &event {
                    Event::Connected => tracing::info!("connected to NATS"),
                    event => tracing::warn!(%event, "NATS"),
                }
            });
        let client = options.connect(addresses).await?;
        Ok(Self { client })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Publishes a message to current subscribers. A message that cannot be sent is lost.
    pub(crate) async fn publish(&self, subject: &'static str, payload: Vec<u8>) {
        if let Err(error) = self.client.publish(subject, payload.into()).await {
            tracing::warn!(%error, subject, "a message cannot be sent");
        }
    }

    /// Returns once all published messages are sent.
    pub(crate) async fn flush(&self) {
        if let Err(error) = self.client.flush().await {
            tracing::warn!(%error, "the last messages cannot be sent");
        }
    }

    pub(crate) async fn subscribe(&self, subject: &'static str) -> anyhow::Result<Subscriber> {
        let subscribed = self.client.subscribe(subject).await;
        subscribed.with_context(|| format!("{subject} cannot be subscribed to"))
    }
}
