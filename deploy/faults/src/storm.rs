//! The faults of a pair: two hands that cause one after another, at random.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use testing::proxy::Weather;
use tokio::time::Instant;

use crate::{
    blows::{Blow, CLOUD_DECODERS, Versions, possible, strike},
    site::Site,
    tally::{Tally, pause},
};

/// Causes faults until `end`, and mends what is broken then.
pub(crate) async fn rage(site: &Arc<Site>, seed: u64, end: Instant, tally: &Tally) -> Result<()> {
    let mut seeds = StdRng::seed_from_u64(seed);
    let (first, second) = (seeds.random(), seeds.random());
    let blows = async {
        let mut rng = StdRng::seed_from_u64(second);
        let mut versions = Versions::default();
        let mut next: Vec<Blow> = Vec::new();
        while Instant::now() < end {
            // Each kind comes before one comes again, so that a short run has most of them.
            let Some(blow) = next.pop() else {
                next = possible(site);
                next.shuffle(&mut rng);
                continue;
            };
            tally.count(blow.name());
            strike(site, blow, &mut versions, &mut rng).await?;
            pause(&mut rng, 500..3000).await;
        }
        Ok::<_, anyhow::Error>(())
    };
    let weather = async {
        let mut rng = StdRng::seed_from_u64(first);
        while Instant::now() < end {
            let (weather, name) = any_weather(&mut rng);
            tally.count(name);
            site.proxy.set_weather(weather);
            pause(&mut rng, 500..5000).await;
            site.proxy.set_weather(Weather::Clear);
            pause(&mut rng, 500..4000).await;
        }
    };
    let (result, ()) = tokio::join!(blows, weather);
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
