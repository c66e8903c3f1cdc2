//! Makes sites.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use testing::proxy::Proxy;

use super::{ORIGINALS, Site};
use crate::{
    answer_log::AnswerLog,
    caller::Caller,
    engines::Engines,
    feeds::Feeds,
    models::Models,
    object_reader::ObjectReader,
    pictures::Picture,
    place::{Kind, NODE_ID, Place, TTL, owned},
    secrets::Secrets,
    service::{Settings, binaries},
    watcher::Watcher,
};

/// Name of both edge nodes of a pair.
const PAIRED: &str = "edge-1";
/// Bytes that the cloud of a guarded pair keeps.
const RETENTION: u64 = 12 << 20;
/// Seconds that the spool of its second edge node keeps a frame.
const TWIN_TTL: u64 = 20;
impl Site {
    /// Two edge nodes of one name, of which the second is not to run at first, and one cloud, all with disks and clocks
    /// of their own, and open doors; nothing runs yet. `edge` are settings of the edge nodes beside those that a site
    /// needs.
    pub(crate) async fn pair(
        seed: u64,
        shots: fn(u64, u64) -> Picture,
        edge: &[(&str, &str)],
    ) -> Result<Arc<Self>> {
        let mut site = Self::empty(seed, shots).await?;
        let edge = owned(edge);
        site.add_pair([edge.clone(), edge, Settings::new()])?;
        Ok(Arc::new(site))
    }

    /// The same with TLS and tokens, pictures of all kinds, sources of the first edge node, retention in the cloud and
    /// a time to live in the spool of the second edge node.
    pub(crate) async fn guarded_pair(seed: u64) -> Result<Arc<Self>> {
        let mut site = Self::empty(seed, Picture::varied).await?;
        let (secrets, tokens) =
            Secrets::make(&site.binaries, &site.folder.path().join("secrets"), PAIRED)?;
        site.caller = Caller::secure(&secrets.ca()?, tokens)?;
        let feeds = Feeds::start(seed, site.folder.path()).await?;
        let endpoint = format!("https://{}", site.proxy.address);
        let mut edge = secrets.of_edge();
        edge.extend(owned(&[
            ("EDGE_NODE_UPLINK__ENDPOINT", &endpoint),
            ("EDGE_NODE_ORIGINALS_SHARE", ORIGINALS),
        ]));
        let mut twin = edge.clone();
        twin.extend(owned(&[(TTL, &TWIN_TTL.to_string())]));
        let config = feeds.config.to_str().context("UTF-8")?;
        edge.extend(owned(&[("EDGE_NODE_CONFIG", config)]));
        let mut cloud = secrets.of_cloud();
        let most = RETENTION.to_string();
        cloud.extend(owned(&[("CLOUD_DECODER_RETENTION__MAX_BYTES", &most)]));
        site.secrets = Some(secrets);
        site.feeds = Some(feeds);
        site.watcher = Some(Watcher::default());
        site.retention = Some(RETENTION);
        site.add_pair([edge, twin, cloud])?;
        Ok(Arc::new(site))
    }

    fn add_pair(&mut self, settings: [Settings; 3]) -> Result<()> {
        let kinds = [
            (Kind::Edge, "edge"),
            (Kind::Edge, "twin"),
            (Kind::Cloud, "cloud"),
        ];
        for ((kind, name), own) in kinds.into_iter().zip(settings) {
            let mut all = self.settings(kind, PAIRED);
            all.extend(own);
            let folder = self.folder.path().join(name);
            let place = Place::make_breakable(kind, &folder, &self.binaries, all)?;
            self.places.push(place);
        }
        Ok(())
    }

    /// So many processes of each kind over shared servers, those of the cloud with clocks of their own; nothing runs
    /// yet.
    pub(crate) async fn fleet(
        seed: u64,
        kinds: &[(Kind, usize)],
        engines: &Engines,
    ) -> Result<Arc<Self>> {
        let mut site = Self::empty(seed, Picture::varied).await?;
        site.objects = engines.objects()?;
        let all = kinds.iter();
        for (kind, number) in all.flat_map(|&(kind, count)| (0..count).map(move |n| (kind, n))) {
            let name = format!("{}-{number}", kind.name());
            let folder = site.folder.path().join(&name);
            let mut settings = site.settings(kind, &name);
            let place = match kind {
                Kind::Edge => {
                    settings.extend(owned(&[("EDGE_NODE_ORIGINALS_SHARE", ORIGINALS)]));
                    Place::make(kind, &folder, &site.binaries, settings)?
                }
                _ => {
                    let (told, wires) = engines.connect(seed).await?;
                    settings.extend(told);
                    let index = site.places.len();
                    let wires = wires.into_iter().map(|(to, wire)| (index, to, wire));
                    site.wires.extend(wires);
                    Place::make_with_clock(kind, &folder, &site.binaries, settings)?
                }
            };
            site.places.push(place);
        }
        Ok(Arc::new(site))
    }

    async fn empty(seed: u64, shots: fn(u64, u64) -> Picture) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("faults-").tempdir()?;
        let decoders = folder.path().join("decoders");
        std::fs::create_dir(&decoders)?;
        Ok(Self {
            places: Vec::new(),
            proxy: Proxy::start(seed).await?,
            wires: Vec::new(),
            answers: AnswerLog::new(seed, shots),
            models: Models::make(&decoders)?,
            caller: Caller::plain()?,
            objects: ObjectReader::Folder(folder.path().join("cloud/objects")),
            secrets: None,
            feeds: None,
            watcher: None,
            retention: None,
            decoders,
            binaries: binaries()?,
            printed: Mutex::default(),
            folder,
        })
    }

    /// Settings that every service of a kind needs.
    fn settings(&self, kind: Kind, name: &str) -> Settings {
        let endpoint = format!("http://{}", self.proxy.address);
        let programs = self.decoders.to_string_lossy();
        match kind {
            Kind::Edge => owned(&[
                (NODE_ID, name),
                ("EDGE_NODE_PROGRAMS__FOLDER", &programs),
                ("EDGE_NODE_UPLINK__ENDPOINT", &endpoint),
                ("EDGE_NODE_UPLINK__BACKOFF_MAX_MS", "1000"),
            ]),
            _ => Settings::new(),
        }
    }
}
