//! A day of many cameras in minutes, with the cloud away: the spool holds to its cap and its policy, then drains.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures::{TryStreamExt as _, stream};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    caller::Side,
    found::catalogue,
    ledger::Ledger,
    pictures::{CAMERAS, Picture},
    site::{Site, listed},
};

/// A camera's frames a day: one every two minutes.
const FRAMES: u64 = 24 * 30;
const DAY_S: u64 = 24 * 3600;
/// Cap of the spool: less than half of the day's frames.
const CAP_BYTES: u64 = 4 << 20;
/// Frames posted at once.
const AT_ONCE: usize = 6;

/// The policy of a full spool.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub(crate) enum OnFull {
    RejectNew,
    DropOldest,
}

/// A day with the cloud away, then an evening with it.
pub(crate) async fn day(seed: u64, on_full: OnFull) -> Result<Ledger> {
    let policy = match on_full {
        OnFull::RejectNew => "reject-new",
        OnFull::DropOldest => "drop-oldest",
    };
    let cap = CAP_BYTES.to_string();
    let settings = [
        ("EDGE_NODE_SPOOL__MAX_BYTES", cap.as_str()),
        ("EDGE_NODE_SPOOL__ON_FULL", policy),
    ];
    let site = Site::pair(seed, Picture::plain, &settings).await?;
    let mut ledger = Ledger::default();
    site.edge().service.start().await?;
    let begun = Instant::now();
    let (largest, posted) = (AtomicU64::default(), AtomicU64::default());
    stream::iter((0..CAMERAS * FRAMES).map(Ok))
        .try_for_each_concurrent(AT_ONCE, |frame| {
            let (site, largest, posted) = (&site, &largest, &posted);
            async move { one(site, frame, begun, largest, posted).await }
        })
        .await?;
    ledger.note("day: seconds that it took", begun.elapsed().as_secs());
    ledger.note("day: largest spool in bytes", largest.load(Relaxed));
    ledger.note("day: cap of the spool in bytes", CAP_BYTES);
    let largest = largest.into_inner();
    ensure!(
        largest <= CAP_BYTES,
        "the spool grew to {largest} bytes, and its cap is {CAP_BYTES}"
    );
    let spooled = site.edge().service.ask(&["spool", "ls"]).await?;
    let in_order = listed(&spooled)?;
    ledger.note("day: frames spooled in the end", in_order.len() as u64);
    ledger.note("day: fewest bits a patch", u64::from(fewest_bits(&site)));
    evening(&site, &in_order, on_full, &mut ledger).await?;
    Ok(ledger)
}

/// Posts a frame of the day, at its time, and notes how large the spool is then.
async fn one(
    site: &Site,
    frame: u64,
    begun: Instant,
    largest: &AtomicU64,
    posted: &AtomicU64,
) -> Result<()> {
    let second = frame * DAY_S / (CAMERAS * FRAMES);
    if let Some(clock) = &site.edge().clock
        && frame.is_multiple_of(CAMERAS)
    {
        clock.skew(second as i64 - begun.elapsed().as_secs() as i64)?;
    }
    let at = site
        .edge()
        .service
        .listening()
        .context("the edge is down")?;
    site.answers.post(&site.caller, 0, at.http).await?;
    let size = std::fs::metadata(&site.edge().spool)?.len();
    largest.fetch_max(size, Relaxed);
    let posted = posted.fetch_add(1, Relaxed) + 1;
    if posted.is_multiple_of(CAMERAS * FRAMES / 24) {
        let [accepted, refused, _] = site.answers.counts();
        println!(
            "hour {}: {accepted} accepted, {refused} refused",
            posted * 24 / (CAMERAS * FRAMES)
        );
    }
    Ok(())
}

/// The cloud comes back: the frames of the spool arrive in order, and the missing frames are those that the policy
/// dropped.
async fn evening(
    site: &Site,
    spooled: &[Uuid],
    on_full: OnFull,
    ledger: &mut Ledger,
) -> Result<()> {
    if let Some(clock) = &site.edge().clock {
        clock.skew(0)?;
    }
    let dropped = dropped(site, spooled)?;
    let counted = metric(site, "edge_node_spool_dropped_total{cause=\"full\"}").await?;
    ensure!(
        counted == dropped.len() as u64,
        "{} frames are gone, and {counted} counted",
        dropped.len()
    );
    ensure!(
        on_full == OnFull::DropOldest || dropped.is_empty(),
        "{} frames are gone, and the policy is to reject new ones",
        dropped.len()
    );
    ledger.note("day: dropped by the policy", counted);
    site.answers.forget(&dropped);

    site.cloud().service.start().await?;
    let begun = Instant::now();
    let drained = async {
        while site.under_way().await[0] > 0 {
            sleep(Duration::from_millis(50)).await;
        }
        let took = begun.elapsed().as_secs_f64();
        let queued = site.under_way().await[1];
        let since = Instant::now();
        site.settle(ledger).await;
        let decoded = queued as f64 / since.elapsed().as_secs_f64();
        ledger.note(
            "day: drained frames a second",
            (spooled.len() as f64 / took) as u64,
        );
        ledger.note("day: decoded frames a second", decoded as u64);
    };
    tokio::select! {
        () = drained => {}
        () = site.guide() => {}
    }
    let cloud = site
        .cloud()
        .service
        .listening()
        .context("the cloud is down")?;
    let mut arrived: Vec<_> = catalogue(&site.caller, cloud.http)
        .await?
        .iter()
        .map(|row| row.record.id)
        .collect();
    arrived.reverse();
    ledger.note("day: arrived in order", u64::from(arrived == spooled));
    if arrived != spooled {
        ledger.complain("the frames did not arrive in the order of the spool".into());
    }
    site.audit(ledger).await
}

/// Accepted frames that the spool does not have: the oldest, but for those that came at the same time.
fn dropped(site: &Site, spooled: &[Uuid]) -> Result<Vec<Uuid>> {
    let there: HashSet<_> = spooled.iter().collect();
    let accepted = site.answers.pages().accepted;
    let gone: Vec<_> = accepted
        .into_keys()
        .filter(|id| !there.contains(id))
        .collect();
    let oldest_kept = spooled.iter().min().context("the spool is empty")?;
    let younger = gone.iter().filter(|id| *id > oldest_kept).count();
    ensure!(
        younger <= AT_ONCE,
        "{younger} frames are gone that are not the oldest"
    );
    Ok(gone)
}

/// The value of a metric of the edge node.
async fn metric(site: &Site, series: &str) -> Result<u64> {
    let at = site
        .edge()
        .service
        .listening()
        .context("the edge is down")?;
    let text = site
        .caller
        .get(Side::Edge, at.http, "/metrics")
        .send()
        .await?
        .text()
        .await?;
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    Ok(line.map_or(Ok(0), |value| value.trim().parse())?)
}

fn fewest_bits(site: &Site) -> u32 {
    let accepted = site.answers.pages().accepted;
    let bits = accepted.values().map(|frame| frame.bits);
    bits.min().unwrap_or_default()
}
