//! The faults: what they are, and two hands that cause one after another, at random.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use testing::proxy::Weather;
use tokio::time::Instant;

use crate::{
    place::Place,
    site::Site,
    tally::{Tally, pause},
};

const CLOUD_DECODERS: &str = "CLOUD_DECODER_DECODERS";
const EDGE_PROGRAM: &str = "EDGE_NODE_PROGRAMS__COMPRESS";

/// What is done to the services themselves, beside the weather of the link.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Blow {
    KillEdge,
    KillCloud,
    KillBoth,
    FillEdge,
    FillCloud,
    SkewEdge,
    SkewCloud,
    /// The edge gets another compression program.
    NewProgram,
    /// The cloud gets the decoder of the later program, or loses it.
    NewDecoder,
    /// A second edge of the same name works for a while.
    Twin,
}

/// Causes faults until `end`, and mends what is broken then.
pub(crate) async fn rage(site: &Arc<Site>, seed: u64, end: Instant, tally: &Tally) -> Result<()> {
    let mut seeds = StdRng::seed_from_u64(seed);
    let (first, second) = (seeds.random(), seeds.random());
    let blows = async {
        let mut rng = StdRng::seed_from_u64(second);
        let possible = possible(site);
        let (mut later_program, mut later_decoder) = (false, false);
        while Instant::now() < end {
            let blow = *possible.choose(&mut rng).expect("some are always possible");
            match blow {
                Blow::NewProgram => later_program = !later_program,
                Blow::NewDecoder => later_decoder = !later_decoder,
                _ => {}
            }
            let versions = (later_program, later_decoder);
            strike(site, blow, versions, &mut rng, tally).await?;
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

fn possible(site: &Site) -> Vec<Blow> {
    use Blow::*;
    let mut blows = vec![KillEdge, KillEdge, KillCloud, KillCloud, KillBoth];
    blows.extend([NewProgram, NewDecoder, Twin]);
    if site.edge().disk.is_some() && site.cloud().disk.is_some() {
        blows.extend([FillEdge, FillCloud]);
    }
    if site.edge().clock.is_some() && site.cloud().clock.is_some() {
        blows.extend([SkewEdge, SkewCloud]);
    }
    blows
}

async fn strike(
    site: &Site,
    blow: Blow,
    (later_program, later_decoder): (bool, bool),
    rng: &mut StdRng,
    tally: &Tally,
) -> Result<()> {
    let (edge, cloud) = (site.edge(), site.cloud());
    match blow {
        Blow::KillEdge => {
            tally.count("edge killed");
            edge.service.kill().await?;
            pause(rng, 0..1500).await;
            edge.service.start().await
        }
        Blow::KillCloud => {
            tally.count("cloud killed");
            cloud.service.kill().await?;
            pause(rng, 0..3000).await;
            cloud.service.start().await
        }
        Blow::KillBoth => {
            tally.count("both killed");
            tokio::try_join!(edge.service.kill(), cloud.service.kill())?;
            pause(rng, 0..1500).await;
            tokio::try_join!(edge.service.start(), cloud.service.start())?;
            Ok(())
        }
        Blow::FillEdge => {
            tally.count("edge disk full");
            full(edge, rng).await
        }
        Blow::FillCloud => {
            tally.count("cloud disk full");
            full(cloud, rng).await
        }
        Blow::SkewEdge => {
            tally.count("edge clock wrong");
            skewed(edge, rng).await
        }
        Blow::SkewCloud => {
            tally.count("cloud clock wrong");
            skewed(cloud, rng).await
        }
        Blow::NewProgram => {
            tally.count("new program");
            let program = later_program
                .then(|| site.models.program.to_str())
                .flatten();
            edge.service.restart_with(EDGE_PROGRAM, program).await
        }
        Blow::NewDecoder => {
            tally.count("new decoder");
            let decoders = later_decoder.then(|| site.decoders.to_str()).flatten();
            cloud.service.restart_with(CLOUD_DECODERS, decoders).await
        }
        Blow::Twin => {
            tally.count("two edges of one name");
            site.twin().service.start().await?;
            pause(rng, 2000..6000).await;
            site.twin().service.kill().await
        }
    }
}

/// A disk without room for a while, in which the service may be killed too.
async fn full(place: &Place, rng: &mut StdRng) -> Result<()> {
    let Some(disk) = &place.disk else {
        return Ok(());
    };
    disk.fill()?;
    pause(rng, 1000..5000).await;
    if rng.random_ratio(1, 3) {
        place.service.kill().await?;
        disk.free()?;
        return place.service.start().await;
    }
    disk.free()
}

/// A clock that is wrong for a while, by seconds or days; the service may be killed under it.
async fn skewed(place: &Place, rng: &mut StdRng) -> Result<()> {
    let Some(clock) = &place.clock else {
        return Ok(());
    };
    let most = *[10, 3600, 3 * 86_400].choose(rng).expect("not empty");
    clock.skew(rng.random_range(-most..=most))?;
    pause(rng, 1000..5000).await;
    if rng.random_ratio(1, 3) {
        place.service.kill().await?;
        clock.skew(0)?;
        return place.service.start().await;
    }
    clock.skew(0)
}

fn any_weather(rng: &mut StdRng) -> (Weather, &'static str) {
    match rng.random_range(0..5) {
        0 => (Weather::Cut, "link cut"),
        1 => (Weather::Stall, "link stalled"),
        2 => {
            let delay = Duration::from_millis(rng.random_range(50..1000));
            (Weather::Delay(delay), "link delayed")
        }
        3 => (
            Weather::Throttle(rng.random_range(500..20_000)),
            "link throttled",
        ),
        _ => (
            Weather::Corrupt(rng.random_range(50..20_000)),
            "link corrupted",
        ),
    }
}
