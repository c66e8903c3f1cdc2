//! Frames without a break while faults are caused, and the count in the end.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use rand::{SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::{
    answer_log::Answer, fault_counts::FaultCounts, ledger::Ledger, place::Kind, site::Site,
};

/// Tasks that post frames.
const SENDERS: u64 = 4;
/// Time between two lines about how it goes.
const REPORT: Duration = Duration::from_secs(10);
/// Pause of a camera whose edge node is not there.
const AWAY: Duration = Duration::from_millis(50);

/// How many frames come, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) seed: u64,
    pub(crate) minutes: f64,
    pub(crate) frames_per_s: f64,
}

impl Load {
    /// Posts frames to a site that runs while `faults` are caused until the end, which it is told; then waits until
    /// everything is through, and counts.
    pub(crate) async fn run(
        self,
        site: &Arc<Site>,
        counts: &FaultCounts,
        faults: impl AsyncFnOnce(Instant) -> Result<()>,
    ) -> Result<Ledger> {
        let mut ledger = Ledger::default();
        let begun = Instant::now();
        let length = Duration::from_secs_f64(self.minutes * 60.0);
        let end = begun + length;
        let run = async {
            let senders = (0..SENDERS).map(|sender| {
                let site = Arc::clone(site);
                tokio::spawn(async move { self.send(&site, sender, end).await })
            });
            let senders: Vec<_> = senders.collect();
            let half_time = async {
                sleep_until(begun + length / 2).await;
                site.note_memory("first half", &mut ledger);
            };
            let caused = async {
                faults(end).await?;
                anyhow::Ok(site.ready().await)
            };
            let (ready, ()) = tokio::join!(caused, half_time);
            ledger.note_ready(ready?);
            for sender in senders {
                sender.await??;
            }
            println!("the faults are over, waiting for what is under way");
            site.settle(&mut ledger).await;
            site.note_memory("second half", &mut ledger);
            site.audit(&mut ledger).await
        };
        tokio::select! {
            result = run => result?,
            result = site.watch() => result?,
            result = site.accompany(end) => result?,
            () = site.guide() => {}
            () = report(site, counts, begun) => {}
        }
        ledger.note("faults", counts.total());
        ledger.note("kinds of faults", counts.counts().len() as u64);
        for (kind, count) in counts.counts() {
            ledger.note(format!("fault: {kind}"), count);
        }
        if !ledger.faults().is_empty() {
            site.keep_logs()?;
        }
        Ok(ledger)
    }

    /// Posts frames at an even pace, to any edge node that is there.
    async fn send(self, site: &Site, sender: u64, end: Instant) -> Result<()> {
        let mut rng = StdRng::seed_from_u64(self.seed ^ sender);
        let mut pace = interval(Duration::from_secs_f64(SENDERS as f64 / self.frames_per_s));
        // A camera makes up for the time that its edge was away, though not all at once.
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while Instant::now() < end {
            pace.tick().await;
            let edges = site.places.iter().enumerate();
            let edges = edges.filter(|(_, place)| place.kind == Kind::Edge);
            let there = edges.filter_map(|(edge, place)| Some((edge, place.service.listening()?)));
            let Some((edge, at)) = there.choose(&mut rng) else {
                sleep(AWAY).await;
                continue;
            };
            if site.answers.post(&site.caller, edge, at.http).await? == Answer::Unanswered {
                sleep(AWAY).await;
            }
        }
        Ok(())
    }
}

async fn report(site: &Site, counts: &FaultCounts, begun: Instant) {
    loop {
        sleep(REPORT).await;
        let [accepted, refused, unanswered] = site.answers.counts();
        let [spooled, queued] = site.under_way().await;
        println!(
            "{:5} s: {accepted} accepted, {refused} refused, {unanswered} unanswered, {spooled} spooled, \
             {queued} queued, {} faults",
            begun.elapsed().as_secs(),
            counts.total()
        );
    }
}
