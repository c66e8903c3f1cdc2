//! Cloud decoders in roles over shared servers: one fault at a time among the processes, the servers and the network
//! between them, or all restarted one after the other as an upgrade does.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use futures::future::try_join_all;
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use tokio::time::Instant;

use super::fleet_faults::{FleetFault, cause};
use crate::{
    engines::Engines,
    fault_counts::{FaultCounts, pause},
    ledger::Ledger,
    load::Load,
    place::Kind,
    site::Site,
};

/// Processes of each kind.
const FLEET: [(Kind, usize); 4] = [
    (Kind::Edge, 2),
    (Kind::Ingest, 2),
    (Kind::Decode, 3),
    (Kind::Web, 1),
];
const FRAMES_PER_S: f64 = 8.0;
/// Milliseconds between two faults.
const BETWEEN: std::ops::Range<u64> = 500..3000;

/// How long before the end of a run the queue is lost as a whole, which nothing else makes up for then.
const LAST: Duration = Duration::from_secs(15);

/// One fault after another, each mended before the next.
pub(crate) async fn scaled(minutes: f64, seed: u64) -> Result<Ledger> {
    let (mut engines, site) = start(seed).await?;
    let counts = FaultCounts::default();
    let mut rng = StdRng::seed_from_u64(seed);
    let faults = async |end| {
        let mut next: Vec<FleetFault> = Vec::new();
        while Instant::now() + LAST < end {
            // Each kind comes before one comes again.
            let Some(kind) = next.pop() else {
                next = FleetFault::ALL.into();
                next.shuffle(&mut rng);
                continue;
            };
            counts.count(&kind.name());
            cause(kind, &mut engines, &site, &mut rng).await?;
            pause(&mut rng, BETWEEN).await;
        }
        let last = FleetFault::WipeAllNats;
        counts.count(&last.name());
        cause(last, &mut engines, &site, &mut rng).await
    };
    let mut ledger = load(minutes, seed).run(&site, &counts, faults).await?;
    ledger.note("objects that S3 corrupted", engines.door.corrupted());
    Ok(ledger)
}

/// Each cloud decoder is asked to end and started again, over and over; the edge nodes are to answer every frame
/// with 202.
pub(crate) async fn rolling(minutes: f64, seed: u64) -> Result<Ledger> {
    let (_engines, site) = start(seed).await?;
    let counts = FaultCounts::default();
    let mut rng = StdRng::seed_from_u64(seed);
    let upgrade = async |end| {
        while Instant::now() < end {
            for place in site.places.iter().filter(|place| place.kind != Kind::Edge) {
                counts.count(&format!("{} restarted", place.kind.name()));
                place.service.stop().await?;
                place.service.start().await?;
                pause(&mut rng, BETWEEN).await;
            }
        }
        Ok(())
    };
    let mut ledger = load(minutes, seed).run(&site, &counts, upgrade).await?;
    let failed = ledger.refused + ledger.unanswered;
    if failed > 0 {
        ledger.complain(format!("{failed} frames were not answered with 202"));
    }
    Ok(ledger)
}

fn load(minutes: f64, seed: u64) -> Load {
    Load {
        seed,
        minutes,
        frames_per_s: FRAMES_PER_S,
    }
}

async fn start(seed: u64) -> Result<(Engines, Arc<Site>)> {
    let engines = Engines::start(seed).await?;
    let site = Site::fleet(seed, &FLEET, &engines).await?;
    // All at once, on an empty database and a cluster without a leader.
    try_join_all(site.places.iter().map(|place| place.service.start())).await?;
    Ok((engines, site))
}
