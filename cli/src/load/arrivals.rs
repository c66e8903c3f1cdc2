//! The times at which frames are due: a Poisson process, independent of the cloud.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::stats::Stats;

/// Frames to come, each at a random node.
pub(super) struct Arrivals {
    rate: f64,
    chance: StdRng,
    /// For each node, the times at which its frames are due.
    nodes: Vec<mpsc::Sender<Instant>>,
    stats: Arc<Stats>,
}

impl Arrivals {
    /// `rate` frames per second on average, over all nodes.
    pub(super) fn new(
        rate: f64,
        seed: u64,
        nodes: Vec<mpsc::Sender<Instant>>,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            rate,
            chance: StdRng::seed_from_u64(seed),
            nodes,
            stats,
        }
    }

    /// Hands out frames when they are due, for the time `span`.
    pub(super) async fn run(mut self, span: Duration) {
        let begun = Instant::now();
        let mut due = Duration::ZERO;
        while let Some(next) = self.gap().map(|gap| due + gap).filter(|&next| next <= span) {
            due = next;
            sleep_until(begun + due).await;
            let node = self.chance.random_range(0..self.nodes.len());
            self.stats.offered();
            if self.nodes[node].try_send(begun + due).is_err() {
                self.stats.overflowed();
            }
        }
        sleep_until(begun + span).await;
    }

    /// The time to the next frame; `None` without a rate.
    fn gap(&mut self) -> Option<Duration> {
        let uniform: f64 = self.chance.random();
        // Not ln(0), which is infinite.
        Duration::try_from_secs_f64(-(1.0 - uniform).ln() / self.rate).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn frames_come_at_the_rate_at_random_times_to_all_nodes() {
        const NODES: usize = 20;
        const RATE: f64 = 100.0;
        const SPAN: Duration = Duration::from_secs(100);
        let (spools, mut dues): (Vec<_>, Vec<_>) = (0..NODES).map(|_| mpsc::channel(2000)).unzip();
        let begun = Instant::now();
        Arrivals::new(RATE, 7, spools, Arc::default())
            .run(SPAN)
            .await;
        assert_eq!(begun.elapsed(), SPAN);
        let mut all = Vec::new();
        for due in &mut dues {
            let before = all.len();
            while let Some(at) = due.recv().await {
                all.push(at);
            }
            // 500 each, give or take five standard deviations.
            assert!(
                (388..=612).contains(&(all.len() - before)),
                "{}",
                all.len() - before
            );
        }
        all.sort();
        assert!((9500..=10_500).contains(&all.len()), "{}", all.len());
        // Of a Poisson process, the gaps' deviation is their mean.
        let gaps = all.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64());
        let squares: f64 = gaps.map(|gap| (gap * RATE - 1.0).powi(2)).sum();
        let deviation = (squares / all.len() as f64).sqrt();
        assert!((0.9..=1.1).contains(&deviation), "{deviation}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_no_frame_comes_and_what_a_node_cannot_keep_is_counted() {
        let (spool, mut due) = mpsc::channel(1);
        let stats = Arc::<Stats>::default();
        let span = Duration::from_secs(10);
        Arrivals::new(0.0, 1, vec![spool.clone()], stats.clone())
            .run(span)
            .await;
        assert!(due.try_recv().is_err());
        Arrivals::new(10.0, 1, vec![spool], stats.clone())
            .run(span)
            .await;
        let counts = stats.counts();
        assert!(counts.offered > 50);
        assert_eq!(counts.overflowed, counts.offered - 1);
    }
}
