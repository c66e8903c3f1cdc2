//! What is done to the services of a pair themselves, beside the weather of the link.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::time::sleep;

use crate::{audit::fate, place::Place, site::Site, tally::pause};

pub(crate) const CLOUD_DECODERS: &str = "CLOUD_DECODER_DECODERS";
const EDGE_PROGRAM: &str = "EDGE_NODE_PROGRAMS__COMPRESS";
/// A service reads a file that changed within two seconds, and is told of it by the next call.
const READ_WITHIN: Duration = Duration::from_secs(4);

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Blow {
    KillEdge,
    KillCloud,
    KillBoth,
    /// SIGTERM.
    StopEdge,
    StopCloud,
    /// SIGTERM, and again.
    StopEdgeAtOnce,
    StopCloudAtOnce,
    /// SIGHUP.
    HangUpEdge,
    HangUpCloud,
    /// SIGSTOP and SIGCONT.
    FreezeEdge,
    FreezeCloud,
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
    /// All get new tokens, and the old ones are revoked.
    NewTokens,
    /// All get new certificates.
    NewCertificates,
    /// The camera that the edge fetches from breaks off in a frame.
    BreakCamera,
}

impl Blow {
    /// What the ledger calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillEdge => "edge killed",
            Self::KillCloud => "cloud killed",
            Self::KillBoth => "both killed",
            Self::StopEdge => "edge stopped",
            Self::StopCloud => "cloud stopped",
            Self::StopEdgeAtOnce => "edge stopped at once",
            Self::StopCloudAtOnce => "cloud stopped at once",
            Self::HangUpEdge => "edge hung up",
            Self::HangUpCloud => "cloud hung up",
            Self::FreezeEdge => "edge frozen",
            Self::FreezeCloud => "cloud frozen",
            Self::FillEdge => "edge disk full",
            Self::FillCloud => "cloud disk full",
            Self::SkewEdge => "edge clock wrong",
            Self::SkewCloud => "cloud clock wrong",
            Self::NewProgram => "new program",
            Self::NewDecoder => "new decoder",
            Self::Twin => "two edges of one name",
            Self::NewTokens => "new tokens",
            Self::NewCertificates => "new certificates",
            Self::BreakCamera => "camera broken off",
        }
    }
}

/// Which versions of the models are installed.
#[derive(Default)]
pub(crate) struct Versions {
    later_program: bool,
    later_decoder: bool,
}

/// What can be done here; kills more often than the rest.
pub(crate) fn possible(site: &Site) -> Vec<Blow> {
    use Blow::*;
    let mut blows = vec![KillEdge, KillEdge, KillCloud, KillCloud, KillBoth];
    blows.extend([StopEdge, StopCloud, StopEdgeAtOnce, StopCloudAtOnce]);
    blows.extend([HangUpEdge, HangUpCloud, FreezeEdge, FreezeCloud]);
    blows.extend([NewProgram, NewDecoder, Twin]);
    if site.edge().disk.is_some() && site.cloud().disk.is_some() {
        blows.extend([FillEdge, FillCloud]);
    }
    if site.edge().clock.is_some() && site.cloud().clock.is_some() {
        blows.extend([SkewEdge, SkewCloud]);
    }
    if site.secrets.is_some() {
        blows.extend([NewTokens, NewCertificates]);
    }
    if site.feeds.is_some() {
        blows.push(BreakCamera);
    }
    blows
}

/// Causes a fault and mends it.
pub(crate) async fn strike(
    site: &Site,
    blow: Blow,
    versions: &mut Versions,
    rng: &mut StdRng,
) -> Result<()> {
    let (edge, cloud) = (&site.edge().service, &site.cloud().service);
    match blow {
        Blow::KillEdge => {
            edge.kill().await?;
            pause(rng, 0..1500).await;
            edge.start().await
        }
        Blow::KillCloud => {
            cloud.kill().await?;
            pause(rng, 0..3000).await;
            cloud.start().await
        }
        Blow::KillBoth => {
            tokio::try_join!(edge.kill(), cloud.kill())?;
            pause(rng, 0..1500).await;
            tokio::try_join!(edge.start(), cloud.start())?;
            Ok(())
        }
        Blow::StopEdge | Blow::StopCloud => {
            let service = if blow == Blow::StopEdge { edge } else { cloud };
            service.stop().await?;
            pause(rng, 0..1500).await;
            service.start().await
        }
        Blow::StopEdgeAtOnce | Blow::StopCloudAtOnce => {
            let of_edge = blow == Blow::StopEdgeAtOnce;
            let service = if of_edge { edge } else { cloud };
            let between = Duration::from_millis(rng.random_range(0..500));
            service.stop_at_once(between).await?;
            pause(rng, 0..1500).await;
            service.start().await
        }
        Blow::HangUpEdge | Blow::HangUpCloud => {
            let service = if blow == Blow::HangUpEdge {
                edge
            } else {
                cloud
            };
            service.hang_up().await?;
            service.start().await
        }
        Blow::FreezeEdge | Blow::FreezeCloud => {
            let service = if blow == Blow::FreezeEdge {
                edge
            } else {
                cloud
            };
            service
                .freeze(Duration::from_millis(rng.random_range(500..5000)))
                .await
        }
        Blow::FillEdge => full(site.edge(), rng).await,
        Blow::FillCloud => full(site.cloud(), rng).await,
        Blow::SkewEdge => skewed(site.edge(), rng).await,
        Blow::SkewCloud => skewed(site.cloud(), rng).await,
        Blow::NewProgram => {
            versions.later_program = !versions.later_program;
            let later = versions.later_program.then(|| site.models.program.to_str());
            edge.restart_with(EDGE_PROGRAM, later.flatten()).await
        }
        Blow::NewDecoder => {
            versions.later_decoder = !versions.later_decoder;
            let later = versions.later_decoder.then(|| site.decoders.to_str());
            cloud.restart_with(CLOUD_DECODERS, later.flatten()).await
        }
        Blow::Twin => twin(site, rng).await,
        Blow::NewTokens => new_tokens(site).await,
        Blow::NewCertificates => {
            let secrets = site.secrets.as_ref().context("there are some")?;
            secrets.exchange_certificates()
        }
        Blow::BreakCamera => {
            if let Some(feeds) = &site.feeds {
                feeds.break_off();
            }
            Ok(())
        }
    }
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
        for id in site.book.accepted_lately(index, (ttl as i64 - 1) * 1000) {
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
