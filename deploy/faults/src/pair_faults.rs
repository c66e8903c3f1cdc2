//! The faults of the services of a pair; those of the link are in `random_faults`.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::time::sleep;

use crate::{
    audit::fate,
    fault_counts::pause,
    models::LATER,
    pictures::CAMERAS,
    place::{Kind, Place},
    site::Site,
};

pub(crate) const CLOUD_DECODERS: &str = "CLOUD_DECODER_DECODERS";
const CLOUD_TABLE: &str = "CLOUD_DECODER_GRPC__REFERENCE_BYTES";
/// For about four cameras.
const SMALL_TABLE: &str = "2048";
const EDGE_PROGRAM: &str = "EDGE_NODE_PROGRAMS__COMPRESS";
/// A service reads a changed file within two seconds.
const READ_WITHIN: Duration = Duration::from_secs(4);

/// One fault; [`Kind`] is the edge node or the cloud.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Kill(Kind),
    KillBoth,
    /// SIGTERM.
    Stop(Kind),
    /// SIGTERM, and again.
    StopAtOnce(Kind),
    /// SIGHUP.
    HangUp(Kind),
    /// SIGSTOP and SIGCONT.
    Freeze(Kind),
    FillDisk(Kind),
    SkewClock(Kind),
    /// The edge gets another compression program.
    NewProgram,
    /// Half of the cameras get the other compression program while the edge runs, or all get the first one again.
    SwitchedProgram,
    /// The cloud's table of references has room for less than half of the cameras, or for all again.
    SmallTable,
    /// The cloud gets the decoder of the later program, or loses it.
    NewDecoder,
    /// A second edge of the same name works for a while.
    Twin,
    /// All get new tokens, and the old ones are revoked.
    NewTokens,
    /// All get new certificates.
    NewCertificates,
    /// The camera that the edge fetches from breaks off in a frame.
    BreakCamera,
}

impl Fault {
    /// Its name in the ledger.
    pub(crate) fn name(self) -> String {
        let of = |kind: Kind, what| format!("{} {what}", kind.name());
        match self {
            Self::Kill(kind) => of(kind, "killed"),
            Self::KillBoth => "both killed".into(),
            Self::Stop(kind) => of(kind, "stopped"),
            Self::StopAtOnce(kind) => of(kind, "stopped at once"),
            Self::HangUp(kind) => of(kind, "hung up"),
            Self::Freeze(kind) => of(kind, "frozen"),
            Self::FillDisk(kind) => of(kind, "disk full"),
            Self::SkewClock(kind) => of(kind, "clock wrong"),
            Self::NewProgram => "new program".into(),
            Self::SwitchedProgram => "program switched".into(),
            Self::SmallTable => "small table of references".into(),
            Self::NewDecoder => "new decoder".into(),
            Self::Twin => "two edges of one name".into(),
            Self::NewTokens => "new tokens".into(),
            Self::NewCertificates => "new certificates".into(),
            Self::BreakCamera => "camera broken off".into(),
        }
    }
}

/// Which versions of the models are installed.
#[derive(Default)]
pub(crate) struct Versions {
    later_program: bool,
    later_decoder: bool,
    switched_program: bool,
    small_table: bool,
}

/// The faults that this site can have; kills come twice.
pub(crate) fn possible(site: &Site) -> Vec<Fault> {
    use Fault::*;
    let mut faults = vec![KillBoth, NewProgram, NewDecoder, Twin];
    faults.extend([SwitchedProgram, SmallTable]);
    for kind in [Kind::Edge, Kind::Cloud] {
        faults.extend([Kill(kind), Kill(kind), Stop(kind), StopAtOnce(kind)]);
        faults.extend([HangUp(kind), Freeze(kind)]);
        if site.edge().disk.is_some() && site.cloud().disk.is_some() {
            faults.push(FillDisk(kind));
        }
        if site.edge().clock.is_some() && site.cloud().clock.is_some() {
            faults.push(SkewClock(kind));
        }
    }
    if site.secrets.is_some() {
        faults.extend([NewTokens, NewCertificates]);
    }
    if site.feeds.is_some() {
        faults.push(BreakCamera);
    }
    faults
}

/// Causes a fault and mends it.
pub(crate) async fn cause(
    site: &Site,
    fault: Fault,
    versions: &mut Versions,
    rng: &mut StdRng,
) -> Result<()> {
    let (edge, cloud) = (&site.edge().service, &site.cloud().service);
    let place = |kind| match kind {
        Kind::Edge => site.edge(),
        _ => site.cloud(),
    };
    match fault {
        Fault::Kill(kind) => {
            let service = &place(kind).service;
            service.kill().await?;
            let longest = if kind == Kind::Edge { 1500 } else { 3000 };
            pause(rng, 0..longest).await;
            service.start().await
        }
        Fault::KillBoth => {
            tokio::try_join!(edge.kill(), cloud.kill())?;
            pause(rng, 0..1500).await;
            tokio::try_join!(edge.start(), cloud.start())?;
            Ok(())
        }
        Fault::Stop(kind) => {
            place(kind).service.stop().await?;
            pause(rng, 0..1500).await;
            place(kind).service.start().await
        }
        Fault::StopAtOnce(kind) => {
            let between = Duration::from_millis(rng.random_range(0..500));
            place(kind).service.stop_at_once(between).await?;
            pause(rng, 0..1500).await;
            place(kind).service.start().await
        }
        Fault::HangUp(kind) => {
            place(kind).service.hang_up().await?;
            place(kind).service.start().await
        }
        Fault::Freeze(kind) => {
            let length = Duration::from_millis(rng.random_range(500..5000));
            place(kind).service.freeze(length).await
        }
        Fault::FillDisk(kind) => full(place(kind), rng).await,
        Fault::SkewClock(kind) => skewed(place(kind), rng).await,
        Fault::NewProgram => {
            versions.later_program = !versions.later_program;
            let later = versions.later_program.then(|| site.models.program.to_str());
            edge.restart_with(EDGE_PROGRAM, later.flatten()).await
        }
        Fault::SwitchedProgram => {
            versions.switched_program = !versions.switched_program;
            switch_program(site, versions.switched_program)
        }
        Fault::SmallTable => {
            versions.small_table = !versions.small_table;
            let bytes = versions.small_table.then_some(SMALL_TABLE);
            cloud.restart_with(CLOUD_TABLE, bytes).await
        }
        Fault::NewDecoder => {
            versions.later_decoder = !versions.later_decoder;
            let later = versions.later_decoder.then(|| site.decoders.to_str());
            cloud.restart_with(CLOUD_DECODERS, later.flatten()).await
        }
        Fault::Twin => twin(site, rng).await,
        Fault::NewTokens => new_tokens(site).await,
        Fault::NewCertificates => {
            let secrets = site.secrets.as_ref().context("there are some")?;
            secrets.exchange_certificates()
        }
        Fault::BreakCamera => {
            if let Some(feeds) = &site.feeds {
                feeds.break_off();
            }
            Ok(())
        }
    }
}

/// Writes which cameras have the later program.
fn switch_program(site: &Site, switched: bool) -> Result<()> {
    let cameras = (0..CAMERAS).step_by(2).filter(|_| switched);
    let lines = cameras.map(|number| format!("camera-{number} compress {LATER}\n"));
    let file = site.decoders.join("cameras");
    let fresh = file.with_extension("fresh");
    std::fs::write(&fresh, lines.collect::<String>())?;
    Ok(std::fs::rename(fresh, file)?)
}

/// The second edge node works for a while. Nothing in its spool expires before its time.
async fn twin(site: &Site, rng: &mut StdRng) -> Result<()> {
    let twin = site.twin();
    twin.service.start().await?;
    pause(rng, 2000..6000).await;
    if let Some(ttl) = twin.ttl {
        let index = site
            .places
            .iter()
            .position(|place| std::ptr::eq(place, twin));
        let index = index.context("it is a place")?;
        // A second less: the answer takes time.
        for id in site.answers.accepted_lately(index, (ttl as i64 - 1) * 1000) {
            let fate = fate(site, index, id).await.unwrap_or_default();
            ensure!(!fate.has_expired(), "{id} expired too soon: {fate:?}");
        }
    }
    twin.service.kill().await
}

/// New tokens beside the old ones, and then without them.
async fn new_tokens(site: &Site) -> Result<()> {
    let secrets = site.secrets.as_ref().context("there are some")?;
    let tokens = secrets.tokens()?;
    sleep(READ_WITHIN).await;
    site.caller.exchange(tokens);
    secrets.revoke_old_tokens()
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
