//! The change feed: tells all watchers about every change of a frame's row, on whichever process they watch.
//!
//! With an embedded catalogue there is one process. With several, a change travels as the frame's id over NATS, and
//! each process that has watchers reads the row. NATS loses messages in transit when a connection breaks, so each
//! process numbers its changes and announces their number every few seconds. A process that sees a gap, or hears
//! nothing more from another process, tells its watchers to reload.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesOrdered};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, broadcast},
    time::{Instant, interval},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::catalogue::{Catalogue, CatalogueError};
use crate::{cluster::Nats, frame::Frame};

/// Changes that a slow watcher may lag behind before it is told to start over.
const BUFFER: usize = 1024;
/// Subject of the changes.
const SUBJECT: &str = "patchwire.changes";
/// Rows that are read at the same time.
const READS: usize = 8;
/// Time between two announcements of the number of changes.
const BEAT: Duration = Duration::from_secs(2);
/// A process that is silent for this long may have ended before it published its last changes.
const SILENT: Duration = Duration::from_secs(10);
/// Most processes that are tracked.
const MAX_PROCESSES: usize = 4096;

/// A changed row, or `None` when changes were missed.
pub(crate) type Change = Option<Arc<Frame>>;

/// The stream of changes.
#[derive(Clone)]
pub(crate) struct ChangeFeed {
    sender: broadcast::Sender<Change>,
    teller: Option<Arc<Teller>>,
}

/// This process as a publisher.
struct Teller {
    nats: Nats,
    process: Uuid,
    /// Changes published so far.
    told: Mutex<u64>,
}

/// A message of a process.
#[derive(Serialize, Deserialize)]
struct Told {
    process: Uuid,
    /// Changes that it published before.
    before: u64,
    /// The frame that changed; absent in an announcement of the number.
    frame: Option<Uuid>,
}

impl Teller {
    async fn tell(&self, frame: Option<Uuid>) {
        let mut told = self.told.lock().await;
        let message = Told {
            process: self.process,
            before: *told,
            frame,
        };
        // Counted first: if publishing is interrupted here, all processes see the gap.
        *told += u64::from(frame.is_some());
        let message = serde_json::to_vec(&message).expect("ids and a number");
        self.nats.publish(SUBJECT, message).await;
    }
}

impl ChangeFeed {
    /// The feed of this process alone, or of all that share a NATS server.
    pub(crate) fn new(nats: Option<Nats>) -> Self {
        let sender = broadcast::channel(BUFFER).0;
        let teller = nats.map(|nats| {
            Arc::new(Teller {
                nats,
                process: Uuid::now_v7(),
                told: Mutex::new(0),
            })
        });
        Self { sender, teller }
    }

    pub(crate) async fn publish(&self, frame: Frame) {
        match &self.teller {
            None => self.tell(Some(Arc::new(frame))),
            Some(teller) => teller.tell(Some(frame.new.id)).await,
        }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.sender.subscribe()
    }

    /// Announces every few seconds how many changes this process published, until `stop`.
    pub(crate) async fn count(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Some(teller) = &self.teller else {
            return Ok(());
        };
        let mut ticks = interval(BEAT);
        let count = async {
            loop {
                ticks.tick().await;
                teller.tell(None).await;
            }
        };
        stop.run_until_cancelled(count).await;
        Ok(())
    }

    /// Passes on to this process's watchers what all processes publish, until `stop`.
    pub(crate) async fn relay(
        self,
        catalogue: Catalogue,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let Some(teller) = &self.teller else {
            return Ok(());
        };
        let mut messages = teller.nats.subscribe(SUBJECT).await?;
        let mut heard = Heard::default();
        // Changes to pass on, in order.
        let mut news = FuturesOrdered::new();
        let mut ticks = interval(BEAT);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(change) = news.next() => match change {
                    Ok(Some(change)) => self.tell(change),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, "a change cannot be told");
                        self.tell(None);
                    }
                },
                message = messages.next(), if news.len() < READS => {
                    let Some(message) = message else {
                        anyhow::bail!("the connection to NATS is closed");
                    };
                    let (missed, frame) = heard.message(&message.payload, Instant::now());
                    if missed {
                        news.push_back(self.news(&catalogue, None));
                    }
                    if frame.is_some() {
                        news.push_back(self.news(&catalogue, frame));
                    }
                }
                now = ticks.tick() => if heard.forget_silent(now) {
                    news.push_back(self.news(&catalogue, None));
                },
            }
        }
    }

    /// The change that watchers get for a frame, if any; without a frame, that changes were missed.
    async fn news(
        &self,
        catalogue: &Catalogue,
        frame: Option<Uuid>,
    ) -> Result<Option<Change>, CatalogueError> {
        let row = match frame {
            None => return Ok(Some(None)),
            Some(id) if self.sender.receiver_count() > 0 => catalogue.get(id).await?,
            Some(_) => None,
        };
        Ok(row.map(|row| Some(Arc::new(row))))
    }

    fn tell(&self, change: Change) {
        // Having no watchers is not an error.
        self.sender.send(change).ok();
    }
}

/// The number of changes that came from each process, and the time of its last message.
#[derive(Default)]
struct Heard(HashMap<Uuid, (u64, Instant)>);

impl Heard {
    /// Whether changes before this message were missed, and the frame that changed.
    fn message(&mut self, message: &[u8], now: Instant) -> (bool, Option<Uuid>) {
        let Ok(told) = serde_json::from_slice::<Told>(message) else {
            // A message of a process of another version.
            return (true, None);
        };
        let after = told.before.saturating_add(u64::from(told.frame.is_some()));
        let missed = match self.0.get_mut(&told.process) {
            Some((count, last)) => {
                let missed = told.before > *count;
                // A message that took the way over another server may be late.
                *count = after.max(*count);
                *last = now;
                missed
            }
            None => {
                if self.0.len() < MAX_PROCESSES {
                    self.0.insert(told.process, (after, now));
                }
                told.before > 0
            }
        };
        (missed, told.frame)
    }

    /// Forgets silent processes; returns whether there were any.
    fn forget_silent(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        self.0
            .retain(|_, (_, last)| now.saturating_duration_since(*last) < SILENT);
        self.0.len() < before
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use testing::{
        engines::{self, installed},
        eventually,
        proxy::{Proxy, Weather},
    };
    use tokio::time::timeout;

    use super::*;
    use crate::{
        frame::{FrameState, NewFrame},
        store::catalogue::{Database, FrameRows},
    };

    /// Longer than anything here takes.
    const LIMIT: Duration = Duration::from_secs(60);

    fn message(process: Uuid, before: u64, frame: Option<Uuid>) -> Vec<u8> {
        let told = Told {
            process,
            before,
            frame,
        };
        serde_json::to_vec(&told).expect("JSON")
    }

    #[test]
    fn a_hole_in_the_numbers_is_told() {
        let (mut heard, now) = (Heard::default(), Instant::now());
        let (a, b) = (Uuid::now_v7(), Uuid::now_v7());
        let frame = Some(Uuid::now_v7());
        for (process, before, frame, missed) in [
            (a, 0, None, false),
            (a, 0, frame, false),
            (a, 1, frame, false),
            (a, 2, None, false),
            // The third was lost, and later ones are not.
            (a, 3, None, true),
            (a, 3, frame, false),
            // A late message is no gap, nor is the one after it.
            (a, 2, frame, false),
            (a, 4, frame, false),
            // A process that was not heard of before.
            (b, 7, frame, true),
            (b, 8, frame, false),
        ] {
            let heard = heard.message(&message(process, before, frame), now);
            assert_eq!(heard, (missed, frame), "{before} of {process}");
        }
        assert_eq!(heard.message(b"rubbish", now), (true, None));

        // A process that sent a message stays; a silent one may have had more changes.
        let later = now + SILENT;
        heard.message(&message(b, 9, None), later);
        assert!(heard.forget_silent(later));
        assert!(!heard.forget_silent(later));
        assert_eq!(heard.message(&message(b, 9, frame), later), (false, frame));
    }

    async fn feed(server: &str) -> ChangeFeed {
        ChangeFeed::new(Some(Nats::connect(server).await.expect("NATS")))
    }

    #[tokio::test]
    async fn watchers_hear_that_another_process_was_cut_off() {
        if !installed() {
            return;
        }
        let nats = engines::Nats::start().await;
        let link = Proxy::start(1).await.expect("a proxy");
        let server: SocketAddr = nats.url()["nats://".len()..].parse().expect("an address");
        link.set_targets(vec![server]);
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("catalogue.sqlite");
        let database = Database::sqlite(&file).await.expect("catalogue");
        let (catalogue, rows) = (Catalogue(database.clone()), FrameRows(database));
        let frame = async || {
            let rows = rows
                .insert(vec![NewFrame::example()])
                .await
                .expect("inserted");
            rows.into_iter().flatten().next().expect("a new frame")
        };

        let here = feed(&nats.url()).await;
        let there = feed(&format!("nats://{}", link.address)).await;
        let mut watch = here.subscribe();
        let stop = CancellationToken::new();
        let relay = tokio::spawn(here.relay(catalogue.clone(), stop.clone()));
        let mut next = async || timeout(LIMIT, watch.recv()).await.expect("in time");

        // The relay may not have subscribed yet.
        let first = frame().await;
        let told = eventually("a change is told", LIMIT, async || {
            there.publish(first.clone()).await;
            let told = timeout(Duration::from_millis(200), next()).await;
            told.ok()?.expect("a change")
        })
        .await;
        assert_eq!(told.new.id, first.new.id);
        assert_eq!(told.state, FrameState::Queued);

        // Messages in transit when the connection breaks are lost; the next number shows the gap.
        link.set_weather(Weather::Swallow);
        there.publish(frame().await).await;
        eventually("a change is lost", LIMIT, async || {
            (link.swallowed() > 0).then_some(())
        })
        .await;
        link.set_weather(Weather::Clear);
        let counting = tokio::spawn(there.clone().count(stop.clone()));
        eventually("the watcher loads anew", LIMIT, async || {
            next().await.expect("a change").is_none().then_some(())
        })
        .await;
        let last = frame().await;
        there.publish(last.clone()).await;
        let told = next().await.expect("a change").expect("nothing missed");
        assert_eq!(told.new.id, last.new.id);

        // A process that is gone may have had more changes.
        counting.abort();
        assert!(next().await.expect("a change").is_none());
        stop.cancel();
        relay.await.expect("no panic").expect("it relays");
    }
}
