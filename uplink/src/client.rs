//! The client: opens a stream again whenever one ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use daemon::{backoff::Backoff, error::one_line, secrets::hide};
use patchwire_proto::v1::Hello;
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use crate::{
    coding::Coding,
    config::Uplink,
    connection::{Connection, endpoint},
    error::LinkError,
    link::{End, Link},
    session::Session,
    source::Source,
};

/// Refusals in a row after which latents travel plain: a frame that the cloud cannot decode would come first on every
/// stream, while a damaged link seldom damages the first frame twice.
const MAX_REFUSALS: u32 = 2;

/// Sends the frames of a source to the cloud.
pub struct Client<S> {
    config: Uplink,
    endpoint: Endpoint,
    hello: watch::Receiver<Hello>,
    source: Arc<S>,
    link: watch::Sender<Link>,
}

impl<S: Source> Client<S> {
    /// Prepares a client; nothing is connected yet. When `hello` changes, the open stream is drained and the next one
    /// begins with the new hello.
    ///
    /// # Errors
    /// The endpoint is not a URI.
    pub fn new(
        config: Uplink,
        hello: watch::Receiver<Hello>,
        source: Arc<S>,
    ) -> Result<Self, tonic::transport::Error> {
        Ok(Self {
            endpoint: endpoint(&config)?,
            config,
            hello,
            source,
            link: watch::Sender::default(),
        })
    }

    /// State of the link, kept up to date.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    /// Opens a stream, which [`run`](Self::run) then uses.
    ///
    /// # Errors
    /// No connection or no welcome in time, a certificate or token that cannot be used, or a refusal of the cloud.
    pub async fn connect(&self) -> Result<Connection, LinkError> {
        self.source.connecting();
        let (endpoint, hello) = (self.endpoint.clone(), self.hello.clone());
        let opened = Connection::open(&self.config, endpoint, hello, &*self.source).await?;
        let window = opened.window(&self.config);
        self.source.connected(window);
        self.link.send_modify(|link| {
            link.up_since = Some(Instant::now());
            link.last_error = None;
        });
        tracing::info!(
            endpoint = hide(&self.config.endpoint),
            window,
            "uplink is up"
        );
        Ok(opened)
    }

    /// Sends frames until `stop`, or until the source is finished. Begins with the connection that is given, if any.
    ///
    /// After a failure the next stream is opened after a random wait, between zero and a bound that doubles with each
    /// failure ("full jitter"); after a drained stream it is opened at once. After two streams that ended because a
    /// frame could not be coded or was refused, without any ack meanwhile, all frames of the next one travel as containers.
    pub async fn run(self, mut connection: Option<Connection>, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.config.backoff_min_ms, self.config.backoff_max_ms);
        let mut refusals = 0;
        loop {
            let codec = self.config.codec && refusals < MAX_REFUSALS;
            let end = tokio::select! {
                () = stop.cancelled() => break,
                end = self.stream(connection.take(), codec) => end,
            };
            let refused = end.as_ref().is_err_and(LinkError::is_refusal);
            refusals = match self.has_acked() {
                true => 0,
                false => refusals + u32::from(refused),
            };
            let proved = self.proved_itself();
            if proved {
                backoff.reset();
            }
            self.ended(&end);
            if matches!(end, Ok(End::Finished)) || self.source.is_finished() {
                return;
            }
            if proved && end.is_ok() {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = time::sleep(backoff.wait()) => {}
            }
        }
        self.link.send_modify(|link| link.up_since = None);
    }

    async fn stream(&self, connection: Option<Connection>, codec: bool) -> Result<End, LinkError> {
        let connection = match connection {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let window = connection.window(&self.config);
        let max_bytes = self.config.max_message_bytes;
        let priors = match codec {
            true => self.source.priors(),
            false => Vec::new(),
        };
        let coding = Coding::new(&connection.welcome, priors);
        let (source, link) = (&*self.source, &self.link);
        let (session, outbound) = Session::new(connection, window, max_bytes, coding, source, link);
        session.run(outbound).await
    }

    /// Whether the stream that just ended brought an ack or lasted long. Only then is it no burden to call again soon
    /// on a cloud that welcomes and hangs up.
    fn proved_itself(&self) -> bool {
        let long = Duration::from_millis(self.config.backoff_max_ms);
        let up_since = self.link.borrow().up_since;
        up_since.is_some_and(|up| up.elapsed() > long) || self.has_acked()
    }

    /// Whether the stream that just ended brought an ack.
    fn has_acked(&self) -> bool {
        let link = self.link.borrow();
        let acked = link.up_since.zip(link.last_ack);
        acked.is_some_and(|(up, at)| at > up)
    }

    /// Reports the end of a stream. An error is logged once.
    fn ended(&self, end: &Result<End, LinkError>) {
        self.source.disconnected(end);
        let endpoint = hide(&self.config.endpoint);
        let error = end.as_ref().err().map(|error| one_line(&error));
        match &error {
            None => tracing::info!(endpoint, "uplink is drained"),
            Some(error) if self.link.borrow().last_error.as_ref() != Some(error) => {
                tracing::warn!(endpoint, error, "uplink is down");
            }
            Some(_) => {}
        }
        self.link.send_modify(|link| {
            link.up_since = None;
            link.last_error = error;
        });
    }
}
