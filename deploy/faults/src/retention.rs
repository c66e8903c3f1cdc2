//! Whether the cloud's retention took what its bound makes it take, and no more.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    caller::Side, found::Found, judge::Clocks as _, known::Known, ledger::Ledger, site::Site,
};

/// More than the bytes of any one frame: so much less than allowed may be left.
const ONE_FRAME: u64 = 8 << 20;
/// Retention looks every ten seconds.
const WITHIN: Duration = Duration::from_secs(40);

/// Checks the bound, if there is one, and that what went is older than all that is left.
pub(crate) async fn check(
    site: &Site,
    cloud: SocketAddr,
    known: &Known,
    ledger: &mut Ledger,
) -> Result<()> {
    let (Some(most), Some(watcher)) = (site.retention, &site.watcher) else {
        return Ok(());
    };
    let kept = settle(site, cloud).await?.unwrap_or_default();
    ledger.note("retention: bytes kept", kept);
    ledger.note("retention: bytes allowed", most);
    if kept > most {
        ledger.complain(format!(
            "retention leaves {kept} bytes, and {most} are allowed"
        ));
    }
    let order = watcher.order();
    let is_gone = |id: &&Uuid| !known.there.contains_key(*id);
    ledger.note(
        "retention: frames that went, with those of sources",
        order.iter().filter(is_gone).count() as u64,
    );
    let Some(youngest_gone) = order.iter().rposition(|id| is_gone(&id)) else {
        return Ok(());
    };
    if kept + ONE_FRAME < most {
        ledger.complain(format!(
            "retention left {kept} bytes of {most} that are allowed"
        ));
    }
    // Older ones that are left waited for the decoder then.
    let went_after = known.seen[&order[youngest_gone]].seen_ms;
    let left = order[..youngest_gone]
        .iter()
        .filter_map(|id| known.there.get(id));
    let wrong = left
        .filter(|found| !finished_after(site, found, went_after))
        .count();
    if wrong > 0 {
        ledger.complain(format!(
            "{wrong} frames are left that are older than one that is gone"
        ));
    }
    Ok(())
}

fn finished_after(site: &Site, found: &Found, at_ms: i64) -> bool {
    let Some(finished) = found.row.finished_ms else {
        return true;
    };
    let wrong = site.wrong(None, 0, i64::MAX).into_iter().chain([0]);
    wrong
        .into_iter()
        .any(|seconds| finished - seconds * 1000 >= at_ms)
}

/// Bytes of all frames, once they are as many as allowed at most, or do not become so.
pub(crate) async fn settle(site: &Site, cloud: SocketAddr) -> Result<Option<u64>> {
    match site.retention {
        Some(most) => kept(site, cloud, most).await.map(Some),
        None => Ok(None),
    }
}

async fn kept(site: &Site, cloud: SocketAddr, most: u64) -> Result<u64> {
    let begun = Instant::now();
    loop {
        let told: Value = site
            .caller
            .json(Side::Cloud, cloud, "/api/v1/retention")
            .await?;
        let kept = told["kept"]["bytes"].as_u64();
        let kept = kept.with_context(|| format!("no bytes in {told}"))?;
        if kept <= most || begun.elapsed() > WITHIN {
            return Ok(kept);
        }
        sleep(Duration::from_millis(500)).await;
    }
}
