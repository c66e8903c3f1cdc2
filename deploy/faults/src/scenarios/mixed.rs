//! All faults at random, for some minutes.

use anyhow::Result;

use crate::{ledger::Ledger, load::Load, site::Site, storm, tally::Tally};

const FRAMES_PER_S: f64 = 15.0;

/// Runs for some minutes, waits until everything is through, and counts.
pub(crate) async fn mixed(minutes: f64, seed: u64) -> Result<Ledger> {
    let site = Site::guarded_pair(seed).await?;
    let tally = Tally::default();
    tokio::try_join!(site.edge().service.start(), site.cloud().service.start())?;
    let load = Load {
        seed,
        minutes,
        frames_per_s: FRAMES_PER_S,
    };
    let rage = async |end| storm::rage(&site, seed, end, &tally).await;
    let mut ledger = load.run(&site, &tally, rage).await?;
    for what in ["labels compared", "originals compared"] {
        ledger.require(what, ledger.others[what]);
    }
    Ok(ledger)
}
