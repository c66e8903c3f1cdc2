//! One simulated edge node: a queue of frames that a client of the uplink sends.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use latent::prior::Prior;
use patchwire_proto::v1::{EncodedFrame, NodeStatus};
use tokio::{
    net::TcpStream,
    sync::{Mutex as AsyncMutex, mpsc},
    time::Instant,
};
use tonic::transport::{self, Channel, Endpoint, Uri};
use tower::service_fn;
use uplink::{Ack, End, Entry, LinkError, Source, SourceError};
use uuid::Uuid;

use super::heartbeat::watched;
use super::pictures::Picture;
use super::stats::Stats;

/// A node, whose id is also that of its camera.
pub(super) struct Node {
    id: String,
    pictures: Arc<[Picture]>,
    bits_per_patch: u32,
    /// Longest silence on a connection before its peer pings.
    heartbeat: Duration,
    /// That of the pictures' program.
    prior: Arc<Prior>,
    stats: Arc<Stats>,
    /// When frames were due.
    due: AsyncMutex<mpsc::Receiver<Instant>>,
    /// Frames without an ack, oldest first.
    queue: Mutex<VecDeque<Queued>>,
    last_seq: AtomicI64,
}

#[derive(Clone, Copy)]
struct Queued {
    seq: i64,
    id: Uuid,
    due: Instant,
}

impl Node {
    /// A node that makes a frame of one of the pictures at each time that `due` receives.
    pub(super) fn new(
        id: String,
        pictures: Arc<[Picture]>,
        bits_per_patch: u32,
        heartbeat: Duration,
        prior: Arc<Prior>,
        due: mpsc::Receiver<Instant>,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            id,
            pictures,
            bits_per_patch,
            heartbeat,
            prior,
            stats,
            due: AsyncMutex::new(due),
            queue: Mutex::default(),
            last_seq: AtomicI64::new(0),
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Queued>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, due: Instant) {
        let queued = Queued {
            seq: self.last_seq.fetch_add(1, Ordering::Relaxed) + 1,
            id: Uuid::now_v7(),
            due,
        };
        self.queue().push_back(queued);
    }

    fn find(&self, after: i64) -> Option<Queued> {
        let queue = self.queue();
        queue.iter().find(|queued| queued.seq > after).copied()
    }

    fn frame(&self, Queued { id, due, .. }: Queued) -> EncodedFrame {
        let captured = SystemTime::now() - due.elapsed();
        let captured = captured.duration_since(UNIX_EPOCH).unwrap_or_default();
        let picture = id.as_u128() as usize % self.pictures.len();
        EncodedFrame {
            frame_id: Bytes::copy_from_slice(id.as_bytes()),
            camera_id: self.id.clone(),
            captured_unix_ms: captured.as_millis() as i64,
            ..self.pictures[picture].clone()
        }
    }
}

impl Source for Node {
    async fn next_after(&self, seq: i64) -> Result<Option<Entry>, SourceError> {
        if self.find(seq).is_none()
            && let Ok(due) = self.due.lock().await.try_recv()
        {
            self.push(due);
        }
        Ok(self.find(seq).map(|queued| Entry {
            seq: queued.seq,
            frame: self.frame(queued),
        }))
    }

    async fn arrival(&self) {
        match self.due.lock().await.recv().await {
            Some(due) => self.push(due),
            // The last ack ends the stream.
            None if !self.queue().is_empty() => std::future::pending().await,
            None => {}
        }
    }

    async fn acknowledge(&self, acks: &[(Ack, Duration)]) -> Result<(), SourceError> {
        let mut queue = self.queue();
        for (Ack { id, outcome }, _) in acks {
            let at = queue.iter().position(|queued| queued.id == *id);
            if let Some(queued) = at.and_then(|at| queue.remove(at)) {
                self.stats.acknowledged(outcome, queued.due.elapsed());
            }
        }
        Ok(())
    }

    fn status(&self) -> NodeStatus {
        let waiting = self.due.try_lock().map_or(0, |due| due.len());
        let frames = (waiting + self.queue().len()) as u64;
        NodeStatus {
            spool_frames: frames,
            spool_bytes: frames * self.pictures[0].latents.len() as u64,
            spool_max_bytes: 1 << 30,
            bits_per_patch: self.bits_per_patch,
            dropped_frames: 0,
            held_frames: 0,
        }
    }

    fn is_finished(&self) -> bool {
        let due = self.due.try_lock();
        let none_comes = due.is_ok_and(|due| due.is_closed() && due.is_empty());
        none_comes && self.queue().is_empty()
    }

    fn priors(&self) -> Vec<Arc<Prior>> {
        vec![self.prior.clone()]
    }

    async fn dial(&self, endpoint: Endpoint) -> Result<Channel, transport::Error> {
        let (heartbeat, stats) = (self.heartbeat, self.stats.clone());
        let connector = service_fn(move |uri: Uri| {
            let stats = stats.clone();
            async move {
                let https = uri.scheme_str() == Some("https");
                let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
                let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
                let stream = TcpStream::connect((host, port)).await?;
                stream.set_nodelay(true)?;
                Ok::<_, std::io::Error>(TokioIo::new(watched(stream, heartbeat, stats)))
            }
        });
        endpoint.connect_with_connector(connector).await
    }

    fn connected(&self, _window: usize) {
        self.stats.connected();
    }

    fn disconnected(&self, end: &Result<End, LinkError>) {
        match end {
            Ok(End::Drained) => self.stats.drained(),
            Ok(End::Finished) => {}
            Err(error) => self.stats.lost(&format!("{}: {error}", self.id)),
        }
    }
}
