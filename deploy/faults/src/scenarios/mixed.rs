//! All faults at random, for some minutes.

use anyhow::Result;

use crate::{fault_counts::FaultCounts, ledger::Ledger, load::Load, random_faults, site::Site};

const FRAMES_PER_S: f64 = 15.0;

/// Runs for some minutes, waits until everything is through, and counts.
pub(crate) async fn mixed(minutes: f64, seed: u64) -> Result<Ledger> {
    let site = Site::guarded_pair(seed).await?;
    let counts = FaultCounts::default();
    tokio::try_join!(site.edge().service.start(), site.cloud().service.start())?;
    let load = Load {
        seed,
        minutes,
        frames_per_s: FRAMES_PER_S,
    };
    let cause_at_random =
        async |end| random_faults::cause_at_random(&site, seed, end, &counts).await;
    let mut ledger = load.run(&site, &counts, cause_at_random).await?;
    for what in [
        "labels compared",
        "originals compared",
        "latents that travelled: intra",
        "latents that travelled: reference",
    ] {
        ledger.require(what, ledger.others[what]);
    }
    Ok(ledger)
}
