//! All faults at random, for some minutes.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::{
    book::Answer,
    ledger::Ledger,
    site::Site,
    storm::{self, Tally},
};

/// Tasks that post frames, and frames that each posts a second.
const SENDERS: u64 = 4;
const FRAMES_PER_S: f64 = 3.75;
/// Time between two lines about how it goes.
const REPORT: Duration = Duration::from_secs(10);
/// Pause of a camera whose edge node is not there.
const AWAY: Duration = Duration::from_millis(50);

/// Runs for some minutes, waits until everything is through, and counts.
pub(crate) async fn mixed(minutes: f64, seed: u64) -> Result<Ledger> {
    let site = Site::make(seed, &[], &[]).await?;
    let tally = Tally::default();
    let mut ledger = Ledger::default();
    tokio::try_join!(site.edge.service.start(), site.cloud.service.start())?;
    let begun = Instant::now();
    let length = Duration::from_secs_f64(minutes * 60.0);
    let end = begun + length;
    let run = async {
        let senders = (0..SENDERS).map(|sender| {
            let site = Arc::clone(&site);
            tokio::spawn(async move { send(&site, seed ^ sender, end).await })
        });
        let senders: Vec<_> = senders.collect();
        let half_time = async {
            sleep_until(begun + length / 2).await;
            note_memory(&site, "first half", &mut ledger);
        };
        let (raged, ()) = tokio::join!(storm::rage(&site, seed, end, &tally), half_time);
        raged?;
        for sender in senders {
            sender.await??;
        }
        println!("the storm is over, waiting for what is under way");
        site.settle(&mut ledger).await;
        note_memory(&site, "second half", &mut ledger);
        site.audit(&mut ledger).await
    };
    tokio::select! {
        result = run => result?,
        result = site.watch() => result?,
        () = site.guide() => {}
        () = report(&site, &tally, begun) => {}
    }
    ledger.note("faults", tally.total());
    ledger.note("kinds of faults", tally.counts().len() as u64);
    for (kind, count) in tally.counts() {
        ledger.note(format!("fault: {kind}"), count);
    }
    Ok(ledger)
}

/// Posts frames at an even pace, to the twin too while it is there.
async fn send(site: &Site, seed: u64, end: Instant) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pace = interval(Duration::from_secs_f64(1.0 / FRAMES_PER_S));
    // A camera makes up for the time that its edge was away, though not all at once.
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while Instant::now() < end {
        pace.tick().await;
        let twin = site
            .twin
            .service
            .listening()
            .filter(|_| rng.random_ratio(1, 4));
        let Some(at) = twin.or_else(|| site.edge.service.listening()) else {
            sleep(AWAY).await;
            continue;
        };
        if site.book.post(at.http).await? != Answer::Unanswered {
            continue;
        }
        sleep(AWAY).await;
    }
    Ok(())
}

fn note_memory(site: &Site, when: &str, ledger: &mut Ledger) {
    for (name, place) in [("edge", &site.edge), ("cloud", &site.cloud)] {
        let peak = place.service.take_peak_mib();
        ledger.note(format!("{name} memory peak in MiB, {when}"), peak);
    }
}

async fn report(site: &Site, tally: &Tally, begun: Instant) {
    loop {
        sleep(REPORT).await;
        let [accepted, refused, unanswered] = site.book.counts();
        let [spooled, queued] = site.under_way().await;
        println!(
            "{:5} s: {accepted} accepted, {refused} refused, {unanswered} unanswered, {spooled} spooled, \
             {queued} queued, {} faults",
            begun.elapsed().as_secs(),
            tally.total()
        );
    }
}
