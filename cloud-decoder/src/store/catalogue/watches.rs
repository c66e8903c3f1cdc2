//! Progress of the watch over cameras: the model of each camera, and the frames that came since.

use super::{CatalogueError, Watchlist, from_row::from_row, statement::sql};

/// Most cameras in one answer.
pub(crate) const MAX_WATCHED: i64 = 100_000;

/// Progress of the watch over one camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The camera's id.
    pub camera_id: String,
    /// Number of its last frame.
    pub last_seq: i64,
    /// Arrival of that frame, milliseconds since the Unix epoch.
    pub last_received_ms: i64,
    /// Number of the last frame that was learned from.
    pub judged_seq: Option<i64>,
    /// Longest usual time between two frames in milliseconds.
    pub expected_ms: Option<i64>,
}

from_row! { Watched: camera_id, last_seq, last_received_ms, judged_seq, expected_ms }

/// The learned model of a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Number of the last frame that it was learned from.
    pub judged_seq: i64,
    /// Longest usual time between two frames in milliseconds, if there were enough.
    pub expected_ms: Option<i64>,
    /// Whether the usual scene is known.
    pub scene: bool,
    /// The whole model, in the watch's own encoding.
    pub model: Vec<u8>,
}

/// The parts of a frame that a camera's scene and rhythm need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The frame's number in the order of arrival.
    pub seq: i64,
    /// When it was captured, milliseconds since the Unix epoch.
    pub captured_ms: i64,
    /// The program that made the latents, if there are any.
    pub program_id: Option<Vec<u8>>,
    /// Pixels.
    pub width: i64,
    /// Pixels.
    pub height: i64,
    /// How often each bit of a patch is set, from 0 (never) to 255 (always).
    pub latent_shares: Option<Vec<u8>>,
    /// The same for the first bits, in a coarse grid over the frame; absent for frames from before grids were kept.
    pub scene_grid: Option<Vec<u8>>,
}

from_row! { Sighting: seq, captured_ms, program_id, width, height, latent_shares, scene_grid }

impl Watchlist {
    /// Cameras by name, at most 100,000.
    ///
    /// # Errors
    /// The database failed.
    pub async fn watched(&self) -> Result<Vec<Watched>, CatalogueError> {
        let query = sql(
            "SELECT c.camera_id, c.last_seq, c.last_received_ms, w.judged_seq, w.expected_ms
             FROM cameras c LEFT JOIN watches w ON w.camera_id = c.camera_id
             ORDER BY c.camera_id LIMIT $1",
        );
        self.0.rows(query.bind(MAX_WATCHED)).await
    }

    /// Frames of a camera after one, oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sightings(
        &self,
        camera: &str,
        after_seq: i64,
        limit: u32,
    ) -> Result<Vec<Sighting>, CatalogueError> {
        let query = sql("SELECT seq, captured_ms, program_id, width, height, latent_shares, scene_grid FROM frames
             WHERE camera_id = $1 AND seq > $2 ORDER BY seq LIMIT $3");
        let query = query.bind(camera).bind(after_seq).bind(i64::from(limit));
        self.0.rows(query).await
    }

    /// The model that was last learned of a camera.
    ///
    /// # Errors
    /// The database failed.
    pub async fn model(&self, camera: &str) -> Result<Option<Vec<u8>>, CatalogueError> {
        let query = sql("SELECT model FROM watches WHERE camera_id = $1").bind(camera);
        let row: Option<(Vec<u8>,)> = self.0.row(query).await?;
        Ok(row.map(|(model,)| model))
    }

    /// Stores the model of a camera as of a frame.
    ///
    /// # Errors
    /// The database failed.
    pub async fn learn(&self, camera: &str, learned: &Learned) -> Result<(), CatalogueError> {
        let insert = sql("INSERT INTO watches (camera_id, judged_seq, expected_ms, learned, model)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (camera_id) DO UPDATE SET judged_seq = excluded.judged_seq,
                 expected_ms = excluded.expected_ms, learned = excluded.learned, model = excluded.model");
        let insert = insert
            .bind(camera)
            .bind(learned.judged_seq)
            .bind(learned.expected_ms)
            .bind(i64::from(learned.scene))
            .bind(learned.model.clone());
        self.0.execute(insert).await
    }

    /// Deletes alarms that ended before a time, bytes of days before another time, and cameras without any other data.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget(
        &self,
        ended_before_ms: i64,
        before_day: i64,
    ) -> Result<(), CatalogueError> {
        let alarms = sql("DELETE FROM alarms WHERE end_ms < $1").bind(ended_before_ms);
        self.0.execute(alarms).await?;
        let traffic = sql("DELETE FROM traffic WHERE day < $1").bind(before_day);
        self.0.execute(traffic).await?;
        let watches = sql("DELETE FROM watches
             WHERE NOT EXISTS (SELECT 1 FROM cameras c WHERE c.camera_id = watches.camera_id)
                 AND NOT EXISTS (SELECT 1 FROM alarms a WHERE a.camera_id = watches.camera_id AND a.end_ms IS NULL)");
        self.0.execute(watches).await
    }
}
