//! The stream to the cloud.
//!
//! One long-lived bidirectional gRPC stream: a hello, the cloud's welcome, then frames up and acks
//! down with a window of unacknowledged frames. Frames are read from the spool in order and leave
//! it on their ack alone; after a reconnect, what was not acknowledged is sent again, in order. The
//! cloud knows frames by their id, so a frame sent twice is kept once. A cloud that takes it is told
//! how the spool fares, in front of the frames that wait. A cloud that wants the node elsewhere asks it to drain the
//! stream: it sends no more frames, and opens another stream once all are acknowledged. A node whose programs change drains
//! it by itself, and tells them in the hello of the next. A frame that is larger than the cloud says it takes stays in the spool:
//! each stream begins with the oldest one again, so it goes as soon as a cloud takes it.

mod hello;
pub mod identity;
mod link;
mod reply;
mod session;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use daemon::{files::Live, one_line, secrets::hide};
use patchwire_proto::{
    limits,
    v1::{
        CloudMessage, EdgeMessage, EncodedFrame, Hello, NodeStatus, Original, Welcome,
        cloud_message, edge_message, uplink_client::UplinkClient,
    },
};
use prost::Message as _;
use tokio::{
    sync::{mpsc, watch},
    time,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Streaming,
    transport::{Channel, Endpoint},
};

use crate::{
    backoff::Backoff,
    config,
    metrics::Metrics,
    original,
    programs::Programs,
    spool::{Entry, FrameState, Spool},
};

use self::session::Session;
pub use self::{
    hello::announced,
    link::{Held, Link, LinkError, LinkStatus},
    reply::{Reply, Verdict},
};

/// Intervals without an answer to a ping after which the link is given up. More than one, because
/// on a thin link the answer waits behind frames.
pub const KEEPALIVE_MISSES: u32 = 3;
/// Bytes that an EdgeMessage adds around a frame, at most.
const ENVELOPE_BYTES: usize = 16;
/// How often the cloud is told how the spool fares, if that changed.
const STATUS_PERIOD: Duration = Duration::from_secs(2);
/// Frames that do not fit which are passed over at once.
const PASSED_AT_ONCE: u32 = 64;
/// Longest wait for the cloud to end a drained stream.
const FAREWELL: Duration = Duration::from_secs(1);

/// A stream that the cloud has welcomed.
pub struct Greeted {
    /// Up; room for one message, what waits for the network waits elsewhere.
    pub outbound: mpsc::Sender<EdgeMessage>,
    /// Down.
    pub inbound: Streaming<CloudMessage>,
    /// What the cloud said.
    pub welcome: Welcome,
}

/// Opens a stream with a hello and waits for the welcome, as long as it takes. Messages have at most `most` bytes.
///
/// # Errors
/// The cloud refuses or ends the stream, or says something else.
pub async fn greet(
    channel: Channel,
    authorization: Option<identity::Authorization>,
    hello: Hello,
    most: usize,
) -> Result<Greeted, LinkError> {
    let (outbound, messages) = mpsc::channel(1);
    let body = Some(edge_message::Body::Hello(hello));
    let sent = outbound.try_send(EdgeMessage { body });
    sent.map_err(|_| LinkError::Closed)?;
    let mut client = UplinkClient::new(channel)
        .max_decoding_message_size(most)
        .max_encoding_message_size(most);
    let mut request = Request::new(ReceiverStream::new(messages));
    if let Some(authorization) = authorization {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", authorization);
    }
    // With TLS 1.3, a certificate that is not accepted is only heard of now.
    let unwelcome = |status| match link::broke(&status) {
        true => LinkError::Unwelcome(status),
        false => status.into(),
    };
    let answered = client.stream(request).await.map_err(unwelcome)?;
    let mut inbound = answered.into_inner();
    let first = inbound.message().await.map_err(unwelcome)?;
    let first = first.ok_or(LinkError::Closed)?;
    let Some(cloud_message::Body::Welcome(welcome)) = first.body else {
        let what = "its first message is not a welcome";
        return Err(LinkError::Protocol(what.into()));
    };
    Ok(Greeted {
        outbound,
        inbound,
        welcome,
    })
}

/// Sends what is in the spool until told to stop.
pub struct Uplink {
    config: config::Uplink,
    endpoint: Endpoint,
    node_id: String,
    programs: Live<Programs>,
    spool: Arc<Spool>,
    metrics: Metrics,
    link: watch::Sender<Link>,
}

impl Uplink {
    /// Prepares the uplink; nothing is connected yet.
    ///
    /// # Errors
    /// When the endpoint is not a URI.
    pub(crate) fn new(
        config: config::Uplink,
        node_id: String,
        programs: Live<Programs>,
        spool: Arc<Spool>,
        metrics: Metrics,
    ) -> Result<Self, tonic::transport::Error> {
        let keepalive = Duration::from_secs(config.keepalive_s);
        let endpoint = Endpoint::from_shared(config.endpoint.clone())?
            .connect_timeout(Duration::from_secs(config.connect_timeout_s))
            .http2_keep_alive_interval(keepalive)
            .keep_alive_timeout(keepalive * KEEPALIVE_MISSES)
            .keep_alive_while_idle(true);
        Ok(Self {
            config,
            endpoint,
            node_id,
            programs,
            spool,
            metrics,
            link: watch::Sender::default(),
        })
    }

    /// Follows the link.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    /// Runs until `stop`. A stream that fails is opened again after a random wait, from nothing to
    /// a bound that doubles with each failure ("full jitter"), a drained one at once.
    pub async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new(self.config.backoff_min_ms, self.config.backoff_max_ms);
        loop {
            let result = tokio::select! {
                () = stop.cancelled() => break,
                result = self.stream() => result,
            };
            let proved = self.proved_itself();
            if proved {
                backoff.reset();
            }
            self.link_gauges_off();
            let error = result.err().map(|error| one_line(&error));
            if let Some(error) = &error
                && self.link.borrow().last_error.as_ref() != Some(error)
            {
                let endpoint = hide(&self.config.endpoint);
                tracing::warn!(endpoint, error, "uplink is down");
            }
            let drained = error.is_none();
            self.link.send_modify(|link| {
                link.up_since = None;
                link.last_error = error;
            });
            if !drained {
                self.metrics.failures.inc();
            } else {
                self.metrics.drained.inc();
                tracing::info!(endpoint = hide(&self.config.endpoint), "uplink is drained");
                if proved {
                    continue;
                }
            }
            let wait = backoff.wait();
            tokio::select! {
                () = stop.cancelled() => break,
                () = time::sleep(wait) => {}
            }
        }
        self.link_gauges_off();
        self.link.send_modify(|link| link.up_since = None);
    }

    fn link_gauges_off(&self) {
        for gauge in [
            &self.metrics.connected,
            &self.metrics.unacked,
            &self.metrics.window,
        ] {
            gauge.set(0);
        }
    }

    /// Whether the stream that just ended brought an ack or stood for long, so that calling again
    /// soon is no burden on a cloud that welcomes and hangs up.
    fn proved_itself(&self) -> bool {
        let link = self.link.borrow();
        let long = Duration::from_millis(self.config.backoff_max_ms);
        link.up_since
            .is_some_and(|up| up.elapsed() > long || link.last_ack.is_some_and(|at| at > up))
    }

    /// Sends and settles frames until the stream fails or is drained.
    async fn stream(&self) -> Result<(), LinkError> {
        let programs = self.programs.get();
        let (outbound, mut session) = self.open(&programs).await?;
        self.metrics.connected.set(1);
        self.metrics.window.set(session.window as i64);
        self.link.send_modify(|link| {
            link.up_since = Some(Instant::now());
            link.last_error = None;
        });
        tracing::info!(
            endpoint = hide(&self.config.endpoint),
            window = session.window,
            "uplink is up"
        );
        let mut cursor = 0;
        self.hold(Held::default());
        let mut next: Option<EncodedFrame> = None;
        let mut ticks = time::interval(STATUS_PERIOD);
        let (mut told, mut status) = (None, None);
        loop {
            if session.draining && session.in_flight.is_empty() {
                // Ends the stream from here; the cloud does the same.
                drop(outbound);
                time::timeout(FAREWELL, session.inbound.message())
                    .await
                    .ok();
                return Ok(());
            }
            if next.is_none() && session.takes_more() {
                next = self.fetch(&mut cursor, &mut session).await?;
            }
            let fits = next.as_ref().is_some_and(|frame| session.fits(frame));
            let (deadline, patience) = session.deadline();
            tokio::select! {
                message = session.inbound.message() => {
                    self.receive(&mut session, message?.ok_or(LinkError::Closed)?).await?;
                }
                _ = ticks.tick(), if session.takes_status => {
                    let now = self.status();
                    status = (told != Some(now)).then_some(now);
                }
                permit = outbound.reserve(), if fits || status.is_some() => {
                    let permit = permit.map_err(|_| LinkError::Closed)?;
                    if let Some(status) = status.take() {
                        told = Some(status);
                        permit.send(EdgeMessage { body: Some(edge_message::Body::Status(status)) });
                    } else if let Some(mut frame) = next.take() {
                        let bytes = session.departs(&mut frame)?;
                        permit.send(EdgeMessage { body: Some(edge_message::Body::Frame(frame)) });
                        self.metrics.sent.inc();
                        self.metrics.sent_bytes.inc_by(bytes as u64);
                        self.metrics.unacked.set(session.in_flight.len() as i64);
                    }
                }
                () = self.programs.changed_from(&programs), if !session.draining => session.draining = true,
                () = self.spool.arrival(), if next.is_none() && session.takes_more() => {}
                () = std::future::ready(()), if session.passing && next.is_none() && session.takes_more() => {}
                () = time::sleep_until(deadline), if !session.in_flight.is_empty() => {
                    return Err(LinkError::Stalled(patience));
                }
            }
        }
    }

    fn status(&self) -> NodeStatus {
        let backlog = self.spool.backlog();
        NodeStatus {
            spool_frames: backlog.frames,
            spool_bytes: backlog.bytes,
            spool_max_bytes: self.spool.max_bytes(),
            bits_per_patch: self.programs.get().all().compress.bits(self.spool.fill()),
            dropped_frames: self.metrics.lost(),
            held_frames: self.link.borrow().held.frames.min(backlog.frames),
        }
    }

    /// Connects, says hello and waits for the welcome.
    async fn open(
        &self,
        programs: &Programs,
    ) -> Result<(mpsc::Sender<EdgeMessage>, Session), LinkError> {
        self.metrics.connects.inc();
        let patience = Duration::from_secs(self.config.connect_timeout_s);
        let most = self.config.max_message_bytes;
        let welcome = async {
            let loaded = identity::load(&self.config, self.endpoint.clone()).await?;
            let (endpoint, authorization) = loaded;
            let hello = hello::hello(&self.node_id, programs);
            greet(endpoint.connect().await?, authorization, hello, most).await
        };
        let greeted = time::timeout(patience, welcome).await;
        let Greeted {
            outbound,
            inbound,
            welcome,
        } = greeted.map_err(|_| LinkError::NoWelcome(patience))??;
        Ok((outbound, self.session(inbound, &welcome)))
    }

    fn session(&self, inbound: Streaming<CloudMessage>, welcome: &Welcome) -> Session {
        let most = usize::try_from(welcome.max_message_bytes).unwrap_or(usize::MAX);
        Session {
            inbound,
            window: self.config.window.min(welcome.window).max(1) as usize,
            max_message_bytes: self.config.max_message_bytes.min(most),
            max_pixels: match welcome.max_pixels {
                0 => u64::MAX,
                pixels => pixels,
            },
            takes_status: welcome.takes_status,
            takes_camera_originals: welcome.takes_camera_originals,
            in_flight: Default::default(),
            in_flight_bytes: 0,
            last_progress: time::Instant::now(),
            draining: false,
            passing: false,
        }
    }

    /// The next frame after `cursor` that the cloud can take. An original too large for it stays
    /// behind, and one in an encoding that it does not take becomes lossless; a frame that is too large without one waits.
    async fn fetch(
        &self,
        cursor: &mut i64,
        session: &mut Session,
    ) -> Result<Option<EncodedFrame>, LinkError> {
        // Acks are read in between, however many frames are passed over.
        for _ in 0..PASSED_AT_ONCE {
            session.passing = true;
            let Some(Entry { seq, mut frame }) = self.spool.next_after(*cursor).await? else {
                session.passing = false;
                break;
            };
            *cursor = seq;
            let mut reason = session.too_wide(&frame);
            if reason.is_none() {
                let bytes;
                (frame, bytes) = self.fitted(frame, session).await?;
                reason = session.too_long(bytes);
            }
            let Some(reason) = reason else {
                return Ok(Some(frame));
            };
            let id = limits::frame_id(&frame.frame_id).unwrap_or_default();
            let frames = self.link.borrow().held.frames + 1;
            if frames == 1 {
                tracing::warn!(frame = %id, reason, "a frame does not fit this cloud, it waits in the spool");
            } else {
                tracing::debug!(frame = %id, reason, "a frame does not fit this cloud");
            }
            self.hold(Held {
                frames,
                reason: Some(reason),
            });
        }
        Ok(None)
    }

    /// A frame as the cloud takes it, as far as it can be, and the bytes of its message.
    async fn fitted(
        &self,
        mut frame: EncodedFrame,
        session: &Session,
    ) -> Result<(EncodedFrame, usize), LinkError> {
        let own = |original: &Original| original.rgb_crc32c.is_some();
        if !session.takes_camera_originals && frame.original.as_ref().is_some_and(own) {
            let made = tokio::task::spawn_blocking(move || original::made_lossless(frame));
            frame = made.await.map_err(|_| LinkError::Original)?;
        }
        let bytes = |frame: &EncodedFrame| frame.encoded_len() + ENVELOPE_BYTES;
        if session.too_long(bytes(&frame)).is_some() && frame.original.take().is_some() {
            self.metrics.originals_skipped.inc();
            frame.crc32c = frame.compute_crc32c();
        }
        let bytes = bytes(&frame);
        Ok((frame, bytes))
    }

    fn hold(&self, held: Held) {
        self.metrics.spool_held.set(held.frames as i64);
        self.link.send_modify(|link| link.held = held);
    }

    /// Settles what the message acknowledges, together with all acks that have come meanwhile.
    async fn receive(&self, session: &mut Session, message: CloudMessage) -> Result<(), LinkError> {
        let (acks, end) = session.acks(message);
        self.metrics.unacked.set(session.in_flight.len() as i64);
        let mut settled = Vec::with_capacity(acks.len());
        let mut told = Vec::with_capacity(acks.len());
        for (verdict, sent) in acks {
            let Verdict {
                id,
                status,
                state,
                notice,
            } = verdict;
            self.metrics
                .ack_seconds
                .observe(sent.elapsed().as_secs_f64());
            if let FrameState::Rejected { reason } = &state {
                tracing::warn!(frame = %id, reason, "the cloud rejected a frame, quarantined it");
            }
            tracing::debug!(frame = %id, ?state, "ack");
            settled.push((id, state));
            told.push((id, status, notice));
        }
        if settled.is_empty() {
            return end;
        }
        self.spool.settle(&settled).await?;
        self.link
            .send_modify(|link| link.last_ack = Some(Instant::now()));
        for (id, status, notice) in told {
            self.metrics.acks.get_or_create(&status).inc();
            self.link.send_if_modified(|link| {
                let changed = link.notice != notice;
                if let Some(notice) = notice.as_ref().filter(|_| changed) {
                    tracing::warn!(frame = %id, notice, "the cloud has a frame that it cannot decode");
                }
                link.notice = notice;
                changed
            });
        }
        end
    }
}
