//! Cloud decoders in roles over shared servers: one process at a time is killed and brought back, or all are restarted
//! one after the other as an upgrade does.

use std::sync::Arc;

use anyhow::Result;
use futures::future::try_join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::time::Instant;

use crate::{
    engines::Engines,
    ledger::Ledger,
    load::Load,
    place::{Kind, Place},
    site::Site,
    tally::{Tally, pause},
};

/// Processes of each kind.
const FLEET: [(Kind, usize); 4] = [
    (Kind::Edge, 2),
    (Kind::Ingest, 2),
    (Kind::Decode, 3),
    (Kind::Web, 1),
];
const FRAMES_PER_S: f64 = 8.0;
/// Milliseconds for which a process is away, and between two faults.
const AWAY: std::ops::Range<u64> = 0..6000;
const BETWEEN: std::ops::Range<u64> = 500..3000;

/// What is killed next.
#[derive(Clone, Copy)]
enum Victim {
    Service(Kind),
    Nats,
    Postgres,
    /// Keeps objects in memory, so that it is stopped in place of being killed.
    S3,
}

const VICTIMS: [Victim; 7] = [
    Victim::Service(Kind::Edge),
    Victim::Service(Kind::Ingest),
    Victim::Service(Kind::Decode),
    Victim::Service(Kind::Web),
    Victim::Nats,
    Victim::Postgres,
    Victim::S3,
];

/// Any one process at a time is killed and brought back.
pub(crate) async fn scaled(minutes: f64, seed: u64) -> Result<Ledger> {
    let (mut engines, site) = start(seed).await?;
    let tally = Tally::default();
    let mut rng = StdRng::seed_from_u64(seed);
    let raid = async |end| {
        while Instant::now() < end {
            let victim = *VICTIMS.choose(&mut rng).expect("there are some");
            strike(victim, &mut engines, &site, &mut rng, &tally).await?;
            pause(&mut rng, BETWEEN).await;
        }
        Ok(())
    };
    load(minutes, seed).run(&site, &tally, raid).await
}

/// Each cloud decoder is asked to end and started again, over and over; the edge nodes are to answer every frame
/// with 202.
pub(crate) async fn rolling(minutes: f64, seed: u64) -> Result<Ledger> {
    let (_engines, site) = start(seed).await?;
    let tally = Tally::default();
    let mut rng = StdRng::seed_from_u64(seed);
    let upgrade = async |end| {
        while Instant::now() < end {
            for place in site.places.iter().filter(|place| place.kind != Kind::Edge) {
                tally.count(&format!("{} restarted", place.kind.name()));
                place.service.stop().await?;
                place.service.start().await?;
                pause(&mut rng, BETWEEN).await;
            }
        }
        Ok(())
    };
    let mut ledger = load(minutes, seed).run(&site, &tally, upgrade).await?;
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
    let engines = Engines::start().await?;
    let site = Site::fleet(seed, &FLEET, &engines.settings).await?;
    // All at once, on an empty database and a cluster without a leader.
    try_join_all(site.places.iter().map(|place| place.service.start())).await?;
    Ok((engines, site))
}

async fn strike(
    victim: Victim,
    engines: &mut Engines,
    site: &Site,
    rng: &mut StdRng,
    tally: &Tally,
) -> Result<()> {
    match victim {
        Victim::Service(kind) => {
            tally.count(&format!("{} killed", kind.name()));
            let places: Vec<&Place> = site.all(kind).collect();
            let place = places.choose(rng).expect("there are some");
            place.service.kill().await?;
            pause(rng, AWAY).await;
            place.service.start().await?;
        }
        Victim::Nats => {
            tally.count("NATS server killed");
            let any = rng.random_range(0..engines.nats.len());
            engines.nats[any].kill();
            pause(rng, AWAY).await;
            engines.nats[any].restart().await;
        }
        Victim::Postgres => {
            tally.count("PostgreSQL killed");
            engines.postgres.kill();
            pause(rng, AWAY).await;
            engines.postgres.restart().await;
        }
        Victim::S3 => {
            tally.count("S3 server stalled");
            engines.s3.stall();
            pause(rng, AWAY).await;
            engines.s3.go_on();
        }
    }
    Ok(())
}
