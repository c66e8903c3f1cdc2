//! The watch over all cameras, kept by one process: learns their scenes and rhythms, raises alarms and ends them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::{
    drift::{BLOCK, Judgement, LIMIT, Scenes, Sight},
    rhythm::{Rhythm, silent_after_ms},
};
use crate::{
    alarm::{Alarm, AlarmKind},
    clock::DAY_MS,
    config::Analysis,
    metrics::Metrics,
    store::catalogue::{AlarmPage, Catalogue, CatalogueError, Learned, Watched, Watchlist},
};

/// Time between two passes.
const PERIOD: Duration = Duration::from_secs(2);
/// After this many passes, old alarms and bytes are deleted.
const FORGET_EVERY: u32 = 1800;
/// Days for which bytes and ended alarms are kept.
const KEPT_DAYS: i64 = 92;
/// Frames of a camera that are read at once.
const FRAMES: u32 = 16 * BLOCK as u32;
/// Most ongoing alarms that are read.
const MAX_STANDING: u32 = 100_000;
/// Version of the model; a model of another version is learned anew.
const VERSION: u8 = 1;

/// The model of a camera.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Model {
    version: u8,
    pub(crate) scenes: Scenes,
    rhythm: Rhythm,
}

impl Model {
    /// Reads a stored model; an empty one if it is of another version.
    pub(crate) fn read(kept: Option<&[u8]>) -> Self {
        let read = kept.and_then(|bytes| postcard::from_bytes::<Self>(bytes).ok());
        read.filter(|model| model.version == VERSION)
            .unwrap_or(Self {
                version: VERSION,
                ..Self::default()
            })
    }
}

/// The watch.
pub(crate) struct Watch {
    pub(crate) cameras: Watchlist,
    /// Has the clock of all processes.
    pub(crate) catalogue: Catalogue,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: Analysis,
}

impl Watch {
    /// Watches until `stop`.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        // When this process stops watching, another one exports the alarms.
        let _told = Told(&self.metrics);
        let mut began_ms = None;
        let mut looked = HashMap::new();
        let mut ticks = interval(PERIOD);
        for look in 0u32.. {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.look(&mut looked, &mut began_ms, stop).await {
                tracing::error!(%error, "watching cameras");
            }
            if look.is_multiple_of(FORGET_EVERY)
                && let Err(error) = self.forget().await
            {
                tracing::error!(%error, "forgetting old alarms and bytes");
            }
        }
    }

    async fn forget(&self) -> Result<(), CatalogueError> {
        let now = self.catalogue.now_ms().await?;
        self.cameras
            .forget(now - KEPT_DAYS * DAY_MS, now / DAY_MS - KEPT_DAYS)
            .await
    }

    /// One pass over all cameras. `looked` has the last frame up to which each camera was read.
    async fn look(
        &self,
        looked: &mut HashMap<String, i64>,
        began_ms: &mut Option<i64>,
        stop: &CancellationToken,
    ) -> Result<(), CatalogueError> {
        let now_ms = self.catalogue.now_ms().await?;
        let began_ms = *began_ms.get_or_insert(now_ms);
        let cameras = self.cameras.watched().await?;
        let cameras: HashMap<_, _> = (cameras.iter().map(|c| (c.camera_id.as_str(), c))).collect();
        let standing = AlarmPage::standing(MAX_STANDING);
        let alarms = self.cameras.alarms(&standing).await?;
        for alarm in &alarms {
            match cameras.get(alarm.camera.as_str()) {
                // A camera without frames is removed, with its alarms.
                None => self.end(alarm.kind, &alarm.camera, now_ms).await?,
                Some(camera) => self.settle(alarm, camera).await?,
            }
        }
        let silent = alarms.iter().filter(|a| a.kind == AlarmKind::Silent);
        let silent: HashSet<_> = silent.map(|alarm| alarm.camera.as_str()).collect();
        for (&name, camera) in &cameras {
            if stop.is_cancelled() {
                return Ok(());
            }
            if looked.get(name) != Some(&camera.last_seq) {
                self.see(camera).await?;
                looked.insert(name.to_owned(), camera.last_seq);
            }
            if !silent.contains(name) {
                self.listen(camera, began_ms, now_ms).await?;
            }
        }
        looked.retain(|name, _| cameras.contains_key(name.as_str()));
        self.metrics
            .alarms_standing(&self.cameras.alarms(&standing).await?);
        Ok(())
    }

    /// Ends an alarm whose cause is gone.
    async fn settle(&self, alarm: &Alarm, camera: &Watched) -> Result<(), CatalogueError> {
        match alarm.kind {
            AlarmKind::Drift if alarm.acknowledged_ms.is_some() => self.accept_scene(camera).await,
            AlarmKind::Silent if camera.last_received_ms > alarm.begin_ms => {
                let end_ms = camera.last_received_ms;
                self.end(alarm.kind, &alarm.camera, end_ms).await
            }
            _ => Ok(()),
        }
    }

    /// Raises an alarm when a camera has been silent for too long. After a start, cameras get time to send again.
    async fn listen(
        &self,
        camera: &Watched,
        began_ms: i64,
        now_ms: i64,
    ) -> Result<(), CatalogueError> {
        let Some(expected_ms) = self.expected_ms(camera) else {
            return Ok(());
        };
        let (name, since) = (&camera.camera_id, camera.last_received_ms);
        let least_ms = (self.settings.silence_s * 1000.0) as i64;
        if now_ms - since.max(began_ms) > silent_after_ms(expected_ms, least_ms) {
            let sentence = silence(name, expected_ms);
            self.raise(AlarmKind::Silent, name, since, &sentence)
                .await?;
        }
        Ok(())
    }

    /// The longest usual time between two frames of a camera: as configured, or as learned.
    fn expected_ms(&self, camera: &Watched) -> Option<i64> {
        let configured = self.settings.intervals_s.get(&camera.camera_id);
        let configured = configured.or(self.settings.interval_s.as_ref());
        configured
            .map(|seconds| (seconds * 1000.0) as i64)
            .or(camera.expected_ms)
    }

    /// Learns from a camera's new frames and judges them, a block at a time.
    async fn see(&self, camera: &Watched) -> Result<(), CatalogueError> {
        let name = camera.camera_id.as_str();
        let mut judged_seq = camera.judged_seq.unwrap_or(0);
        let mut frames = self.cameras.sightings(name, judged_seq, FRAMES).await?;
        if frames.len() < BLOCK {
            return Ok(());
        }
        let kept = self.cameras.model(name).await?;
        let mut model = Model::read(kept.as_deref());
        while frames.len() >= BLOCK {
            for block in frames.chunks_exact(BLOCK) {
                for frame in block {
                    model.rhythm.beat(frame.captured_ms);
                }
                let sights: Vec<_> = block.iter().filter_map(Sight::of).collect();
                self.judge(name, &mut model, &sights).await?;
                judged_seq = block[BLOCK - 1].seq;
            }
            self.keep(name, judged_seq, &model).await?;
            frames = self.cameras.sightings(name, judged_seq, FRAMES).await?;
        }
        Ok(())
    }

    /// Judges frames, which are of one view from the last change of the view on.
    async fn judge(
        &self,
        camera: &str,
        model: &mut Model,
        sights: &[Sight],
    ) -> Result<(), CatalogueError> {
        let Some(last) = sights.last() else {
            return Ok(());
        };
        let same = sights
            .iter()
            .rev()
            .take_while(|sight| sight.view == last.view)
            .count();
        let memory_ms =
            i64::try_from(self.settings.memory_s.saturating_mul(1000)).unwrap_or(i64::MAX);
        match model.scenes.see(&sights[sights.len() - same..], memory_ms) {
            Judgement::Changed(distance) => {
                let sentence = changed(camera, distance);
                self.raise(AlarmKind::Drift, camera, last.captured_ms, &sentence)
                    .await
            }
            Judgement::Steady(_) | Judgement::Learning => {
                self.end(AlarmKind::Drift, camera, last.captured_ms).await
            }
        }
    }

    /// Accepts the new scene of a camera.
    async fn accept_scene(&self, camera: &Watched) -> Result<(), CatalogueError> {
        let name = &camera.camera_id;
        if let Some(judged_seq) = camera.judged_seq {
            let kept = self.cameras.model(name).await?;
            let mut model = Model::read(kept.as_deref());
            model.scenes.acknowledge();
            self.keep(name, judged_seq, &model).await?;
        }
        let now_ms = self.catalogue.now_ms().await?;
        self.end(AlarmKind::Drift, name, now_ms).await
    }

    async fn keep(
        &self,
        camera: &str,
        judged_seq: i64,
        model: &Model,
    ) -> Result<(), CatalogueError> {
        let learned = Learned {
            judged_seq,
            expected_ms: model.rhythm.expected_ms(),
            scene: model.scenes.learned().1,
            model: postcard::to_stdvec(model).expect("numbers and strings"),
        };
        self.cameras.learn(camera, &learned).await
    }

    async fn raise(
        &self,
        kind: AlarmKind,
        camera: &str,
        begin_ms: i64,
        sentence: &str,
    ) -> Result<(), CatalogueError> {
        if let Some(alarm) = self.cameras.raise(kind, camera, begin_ms, sentence).await? {
            self.metrics.alarm_raised(kind);
            tracing::warn!(camera, alarm = alarm.id, kind = kind.name(), "{sentence}");
        }
        Ok(())
    }

    async fn end(&self, kind: AlarmKind, camera: &str, end_ms: i64) -> Result<(), CatalogueError> {
        if let Some(alarm) = self.cameras.end(kind, camera, end_ms).await? {
            tracing::info!(camera, alarm = alarm.id, kind = kind.name(), "alarm ended");
        }
        Ok(())
    }
}

/// Takes the alarms out of the metrics when it is dropped.
struct Told<'a>(&'a Metrics);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.alarms_standing(&[]);
    }
}

fn changed(camera: &str, distance: f64) -> String {
    format!(
        "The scene of {camera} has changed: its newest {BLOCK} frames are {distance:.1} usual spreads away from its usual \
         scene, and {LIMIT} are allowed. Look for a moved, covered or dirty camera, lost focus or new light; if the new \
         scene is right, acknowledge the alarm."
    )
}

fn silence(camera: &str, expected_ms: i64) -> String {
    let usual = Duration::from_millis(expected_ms.unsigned_abs()).as_secs_f64();
    format!("{camera} is silent: it usually sends a frame at least every {usual:.1} s.")
}
