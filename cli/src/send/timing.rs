//! When the next frame is sent, and when an accepted one has left the edge node.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::edge::{Delivery, Edge};

const POLL: Duration = Duration::from_millis(200);
/// Longest that `--wait` waits while no frame arrives.
const WAIT_WITHOUT_PROGRESS: Duration = Duration::from_secs(120);

/// Time between frames.
pub(super) struct Pace(Option<Interval>);

impl Pace {
    pub(super) fn new(rate: Option<f64>) -> Self {
        Self(rate.map(|rate| {
            let mut pace = interval(Duration::from_secs_f64(1.0 / rate));
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pace
        }))
    }

    /// Waits until the next frame may be sent.
    pub(super) async fn tick(&mut self) {
        if let Some(pace) = &mut self.0 {
            pace.tick().await;
        }
    }
}

/// Asks for a frame until it has left the edge node.
pub(super) async fn left_edge(edge: &Edge, id: Uuid) -> Result<Delivery> {
    let deadline = Instant::now() + WAIT_WITHOUT_PROGRESS;
    loop {
        match edge.delivery(id).await? {
            Delivery::Spooled => {}
            left => return Ok(left),
        }
        if Instant::now() > deadline {
            bail!(
                "no frame reached the cloud for {} s; the edge node keeps those that it took",
                WAIT_WITHOUT_PROGRESS.as_secs()
            );
        }
        sleep(POLL).await;
    }
}
