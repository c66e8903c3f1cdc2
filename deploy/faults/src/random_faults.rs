//! The faults of a pair at random: those of its services, and beside them those of the link.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use testing::proxy::Weather;
use tokio::time::Instant;

use crate::{
    fault_counts::{FaultCounts, pause},
    pair_faults::{CLOUD_DECODERS, Fault, Versions, cause, possible},
    site::Site,
};

/// Causes faults until `end`, and then repairs everything.
pub(crate) async fn cause_at_random(
    site: &Arc<Site>,
    seed: u64,
    end: Instant,
    counts: &FaultCounts,
) -> Result<()> {
    let mut seeds = StdRng::seed_from_u64(seed);
    let (first, second) = (seeds.random(), seeds.random());
    let faults = async {
        let mut rng = StdRng::seed_from_u64(second);
        let mut versions = Versions::default();
        let mut next: Vec<Fault> = Vec::new();
        while Instant::now() < end {
            // Each kind comes before one comes again, so that a short run has most of them.
            let Some(fault) = next.pop() else {
                next = possible(site);
                next.shuffle(&mut rng);
                continue;
            };
            counts.count(&fault.name());
            cause(site, fault, &mut versions, &mut rng).await?;
            pause(&mut rng, 500..3000).await;
        }
        Ok::<_, anyhow::Error>(())
    };
    let weather = async {
        let mut rng = StdRng::seed_from_u64(first);
        while Instant::now() < end {
            let (weather, name) = any_weather(&mut rng);
            counts.count(name);
            site.proxy.set_weather(weather);
            pause(&mut rng, 500..5000).await;
            site.proxy.set_weather(Weather::Clear);
            pause(&mut rng, 500..4000).await;
        }
    };
    let (result, ()) = tokio::join!(faults, weather);
    result?;
    // The last version of everything.
    site.edge().service.start().await?;
    site.twin().service.start().await?;
    let decoders = site.decoders.to_str();
    site.cloud()
        .service
        .restart_with(CLOUD_DECODERS, decoders)
        .await
}

/// A fault of a link, and its name.
pub(crate) fn any_weather(rng: &mut StdRng) -> (Weather, &'static str) {
    match rng.random_range(0..6) {
        0 => (Weather::Cut, "link cut"),
        1 => (Weather::Stall, "link stalled"),
        2 => (Weather::Swallow, "link swallows"),
        3 => {
            let delay = Duration::from_millis(rng.random_range(50..1000));
            (Weather::Delay(delay), "link delayed")
        }
        4 => (
            Weather::Throttle(rng.random_range(500..20_000)),
            "link throttled",
        ),
        _ => (
            Weather::Corrupt(rng.random_range(50..20_000)),
            "link corrupted",
        ),
    }
}
