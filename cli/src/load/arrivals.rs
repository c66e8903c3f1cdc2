//! When frames are due: a Poisson process, whatever the cloud does.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::tally::Tally;

/// Frames to come, at nodes by chance.
pub(super) struct Arrivals {
    rate: f64,
    chance: StdRng,
    /// Of each node: when its frames were due.
    spools: Vec<mpsc::Sender<Instant>>,
    tally: Arc<Tally>,
}

impl Arrivals {
    /// `rate` frames a second on average, of all nodes together.
    pub(super) fn new(
        rate: f64,
        seed: u64,
        spools: Vec<mpsc::Sender<Instant>>,
        tally: Arc<Tally>,
    ) -> Self {
        Self {
            rate,
            chance: StdRng::seed_from_u64(seed),
            spools,
            tally,
        }
    }

    /// Hands out frames as they are due for as long as `span`.
    pub(super) async fn run(mut self, span: Duration) {
        let begun = Instant::now();
        let mut due = Duration::ZERO;
        while let Some(next) = self.gap().map(|gap| due + gap).filter(|&next| next <= span) {
            due = next;
            sleep_until(begun + due).await;
            let node = self.chance.random_range(0..self.spools.len());
            self.tally.offered();
            if self.spools[node].try_send(begun + due).is_err() {
                self.tally.overflowed();
            }
        }
        sleep_until(begun + span).await;
    }

    /// The time to the next frame; none without a rate.
    fn gap(&mut self) -> Option<Duration> {
        let uniform: f64 = self.chance.random();
        // ln(0) would be never.
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
        let tally = Arc::<Tally>::default();
        let span = Duration::from_secs(10);
        Arrivals::new(0.0, 1, vec![spool.clone()], tally.clone())
            .run(span)
            .await;
        assert!(due.try_recv().is_err());
        Arrivals::new(10.0, 1, vec![spool], tally.clone())
            .run(span)
            .await;
        let counts = tally.counts();
        assert!(counts.offered > 50);
        assert_eq!(counts.overflowed, counts.offered - 1);
    }
}
