//! The faults of a scaled site: processes, servers, and the network between them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use testing::proxy::Weather;

use crate::{
    engines::{Engines, Server},
    fault_counts::pause,
    place::{Kind, Place},
    random_faults::any_weather,
    s3_proxy::Mood,
    site::Site,
};

/// Milliseconds for which something is away.
const AWAY: std::ops::Range<u64> = 0..6000;
/// Milliseconds for which something is cut off, or S3 misbehaves.
const CUT_OFF: std::ops::Range<u64> = 3000..12_000;
const DAY_S: i64 = 86_400;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FleetFault {
    /// SIGKILL.
    Kill(Kind),
    /// SIGTERM.
    Stop(Kind),
    /// Between edge nodes and ingest.
    Link,
    /// A process of the cloud and all servers.
    CutOffProcess,
    /// A NATS server and all others.
    CutOffNats,
    CutOffPostgres,
    KillNats,
    /// A NATS server loses its disk.
    WipeNats,
    /// All of them do.
    WipeAllNats,
    KillPostgres,
    /// Keeps objects in memory, so that it is stopped in place of being killed.
    StallS3,
    FailS3,
    SlowS3,
    CorruptS3,
    /// A process's clock is days ahead or behind.
    Skew,
    /// The whole cloud starts anew with S3 slow, a process first whose clock is ahead: it keeps house.
    SkewedHousekeeping,
}

impl FleetFault {
    pub(crate) const ALL: [Self; 21] = [
        Self::Kill(Kind::Edge),
        Self::Kill(Kind::Ingest),
        Self::Kill(Kind::Decode),
        Self::Kill(Kind::Web),
        Self::Stop(Kind::Ingest),
        Self::Stop(Kind::Decode),
        Self::Stop(Kind::Edge),
        Self::Link,
        Self::CutOffProcess,
        Self::CutOffNats,
        Self::CutOffPostgres,
        Self::KillNats,
        Self::WipeNats,
        Self::WipeAllNats,
        Self::KillPostgres,
        Self::StallS3,
        Self::FailS3,
        Self::SlowS3,
        Self::CorruptS3,
        Self::Skew,
        Self::SkewedHousekeeping,
    ];

    /// Its name in the ledger.
    pub(crate) fn name(self) -> String {
        let name = match self {
            Self::Kill(kind) => return format!("{} killed", kind.name()),
            Self::Stop(kind) => return format!("{} stopped", kind.name()),
            Self::Link => "link of the edge nodes bad",
            Self::CutOffProcess => "process cut off",
            Self::CutOffNats => "NATS server cut off",
            Self::CutOffPostgres => "PostgreSQL cut off",
            Self::KillNats => "NATS server killed",
            Self::WipeNats => "NATS server wiped",
            Self::WipeAllNats => "all NATS servers wiped",
            Self::KillPostgres => "PostgreSQL killed",
            Self::StallS3 => "S3 server stalled",
            Self::FailS3 => "S3 server fails",
            Self::SlowS3 => "S3 server slow",
            Self::CorruptS3 => "S3 server corrupts",
            Self::Skew => "clock wrong",
            Self::SkewedHousekeeping => "housekeeping with a clock ahead",
        };
        name.into()
    }
}

/// Causes a fault and mends it.
pub(crate) async fn cause(
    kind: FleetFault,
    engines: &mut Engines,
    site: &Site,
    rng: &mut StdRng,
) -> Result<()> {
    match kind {
        FleetFault::Kill(of) | FleetFault::Stop(of) => {
            let service = &one(site.all(of), rng)?.service;
            match kind {
                FleetFault::Kill(_) => service.kill().await?,
                _ => service.stop().await?,
            }
            pause(rng, AWAY).await;
            service.start().await?;
        }
        FleetFault::Link => {
            site.proxy.set_weather(any_weather(rng).0);
            pause(rng, CUT_OFF).await;
            site.proxy.set_weather(Weather::Clear);
        }
        FleetFault::CutOffProcess | FleetFault::CutOffNats | FleetFault::CutOffPostgres => {
            cut_off(kind, engines, site, rng).await;
        }
        FleetFault::KillNats | FleetFault::WipeNats => {
            let any = rng.random_range(0..engines.nats.len());
            let server = &mut engines.nats[any];
            server.kill();
            pause(rng, AWAY).await;
            if kind == FleetFault::WipeNats {
                server.wipe();
            }
            server.restart().await;
        }
        FleetFault::WipeAllNats => {
            for server in &mut engines.nats {
                server.kill();
                server.wipe();
            }
            pause(rng, AWAY).await;
            futures::future::join_all(engines.nats.iter_mut().map(|server| server.restart())).await;
        }
        FleetFault::KillPostgres => {
            engines.postgres.kill();
            pause(rng, AWAY).await;
            engines.postgres.restart().await;
        }
        FleetFault::StallS3 => {
            engines.s3.stall();
            pause(rng, AWAY).await;
            engines.s3.go_on();
        }
        FleetFault::FailS3 => moody(engines, Mood::Fails, rng).await,
        FleetFault::CorruptS3 => moody(engines, Mood::Corrupts, rng).await,
        FleetFault::SlowS3 => {
            let delay = Duration::from_millis(rng.random_range(500..5000));
            moody(engines, Mood::Slow(delay), rng).await;
        }
        FleetFault::Skew => {
            let place = one(
                site.places.iter().filter(|place| place.clock.is_some()),
                rng,
            );
            let Some(clock) = place.ok().and_then(|place| place.clock.as_ref()) else {
                return Ok(());
            };
            let days = rng.random_range(1..=30) * DAY_S;
            clock.skew(if rng.random() { days } else { -days })?;
            pause(rng, CUT_OFF).await;
            clock.skew(0)?;
        }
        FleetFault::SkewedHousekeeping => skewed_housekeeping(engines, site, rng).await?,
    }
    Ok(())
}

/// No byte passes either way, without an error; in the end connections continue or break.
async fn cut_off(kind: FleetFault, engines: &Engines, site: &Site, rng: &mut StdRng) {
    let weather = match rng.random() {
        true => Weather::Stall,
        false => Weather::Swallow,
    };
    let server = match kind {
        FleetFault::CutOffNats => Some(Server::Nats(rng.random_range(0..engines.nats.len()))),
        FleetFault::CutOffPostgres => Some(Server::Postgres),
        _ => None,
    };
    let process = site.wires[rng.random_range(0..site.wires.len())].0;
    let cut = |from: usize, to: Server| match server {
        Some(server) => to == server,
        None => from == process,
    };
    let set = |weather| {
        site.set_wires(cut, weather);
        if let Some(Server::Nats(number)) = server {
            engines.set_routes(number, weather);
        }
    };
    set(weather);
    pause(rng, CUT_OFF).await;
    set(Weather::Clear);
}

async fn moody(engines: &Engines, mood: Mood, rng: &mut StdRng) {
    engines.door.set_mood(mood);
    pause(rng, CUT_OFF).await;
    engines.door.set_mood(Mood::Well);
}

/// A process that is days ahead looks for what does not belong together while objects are being put.
async fn skewed_housekeeping(engines: &Engines, site: &Site, rng: &mut StdRng) -> Result<()> {
    let cloud = || site.places.iter().filter(|place| place.kind != Kind::Edge);
    let first = one(cloud(), rng)?;
    let Some(clock) = &first.clock else {
        return Ok(());
    };
    try_join_all(cloud().map(|place| place.service.kill())).await?;
    clock.skew(rng.random_range(1..=10) * DAY_S + DAY_S / 24)?;
    let delay = Duration::from_millis(rng.random_range(1000..3000));
    first.service.start().await?;
    engines.door.set_mood(Mood::Slow(delay));
    try_join_all(cloud().map(|place| place.service.start())).await?;
    pause(rng, CUT_OFF).await;
    engines.door.set_mood(Mood::Well);
    clock.skew(0)
}

fn one<'a>(places: impl Iterator<Item = &'a Place>, rng: &mut StdRng) -> Result<&'a Place> {
    let places: Vec<_> = places.collect();
    places.choose(rng).copied().context("there is none")
}
