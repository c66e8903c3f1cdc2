//! What is known of cameras as a whole: their usual scene and rhythm, their alarms, and their bytes.

use serde::{Deserialize, Serialize};
use tonic::async_trait;
use utoipa::ToSchema;

use super::{
    CatalogueError, PostgresCatalogue, SqliteCatalogue,
    from_row::from_row,
    sums::{Sent, saturate},
};

/// Most cameras whose names or watches one answer has.
pub(crate) const MAX_WATCHED: i64 = 100_000;

/// Kinds of alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlarmKind {
    /// The scene has changed.
    Drift,
    /// No frame has come for longer than usual.
    Silent,
}

impl AlarmKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Drift, Self::Silent];

    /// Its name in the catalogue.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Silent => "silent",
        }
    }
}

/// Something about a camera that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Alarm {
    /// Counts up.
    pub id: i64,
    /// Its kind.
    pub kind: AlarmKind,
    /// The camera.
    pub camera: String,
    /// Since when, milliseconds since the Unix epoch.
    pub begin_ms: i64,
    /// Until when; null while it stands.
    pub end_ms: Option<i64>,
    /// When somebody acknowledged it.
    pub acknowledged_ms: Option<i64>,
    /// Who did: the name of the token, or "anonymous" where none is needed.
    pub acknowledged_by: Option<String>,
    /// One sentence.
    pub sentence: String,
}

/// Which alarms to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct AlarmPage {
    /// Standing ones, ended ones, or both when `None`.
    pub standing: Option<bool>,
    /// All kinds when `None`.
    pub kind: Option<AlarmKind>,
    /// All cameras when `None`.
    pub camera: Option<String>,
    /// Alarms with smaller ids.
    pub before: Option<i64>,
    /// Most alarms to return.
    pub limit: u32,
}

impl AlarmPage {
    /// Those that stand.
    pub fn standing(limit: u32) -> Self {
        Self {
            standing: Some(true),
            limit,
            ..Self::default()
        }
    }
}

/// How far a camera has been watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The camera's id.
    pub camera_id: String,
    /// Number of its last frame.
    pub last_seq: i64,
    /// When that arrived, milliseconds since the Unix epoch.
    pub last_received_ms: i64,
    /// Number of the last frame that was learned from.
    pub judged_seq: Option<i64>,
    /// Longest usual time between two frames in milliseconds.
    pub expected_ms: Option<i64>,
}

from_row! { Watched: camera_id, last_seq, last_received_ms, judged_seq, expected_ms }

/// Bytes between cameras, edge nodes and this service. HTTP/2, TLS and TCP are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Bytes {
    /// Frames, each once.
    pub frames: i64,
    /// Of these, those whose edge node told the bytes that the camera sent.
    pub told_frames: i64,
    /// As the cameras sent them to their edge nodes.
    pub source_bytes: i64,
    /// Latent containers.
    pub latent_bytes: i64,
    /// Labels.
    pub label_bytes: i64,
    /// Originals.
    pub original_bytes: i64,
    /// The rest of the messages, and frames that came again.
    pub overhead_bytes: i64,
}

from_row! {
    Bytes:
        frames, told_frames, source_bytes, latent_bytes, label_bytes, original_bytes,
        overhead_bytes
}

impl Bytes {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            told_frames: self.told_frames + other.told_frames,
            source_bytes: self.source_bytes + other.source_bytes,
            latent_bytes: self.latent_bytes + other.latent_bytes,
            label_bytes: self.label_bytes + other.label_bytes,
            original_bytes: self.original_bytes + other.original_bytes,
            overhead_bytes: self.overhead_bytes + other.overhead_bytes,
        }
    }

    /// All that came from edge nodes.
    pub fn uplink(&self) -> i64 {
        self.latent_bytes + self.label_bytes + self.original_bytes + self.overhead_bytes
    }
}

/// What the bytes are told by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrafficBy {
    /// Days, named YYYY-MM-DD in UTC.
    #[default]
    Day,
    /// Edge nodes.
    Node,
    /// Cameras.
    Camera,
}

/// Bytes of a day, a node or a camera.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrafficLine {
    /// The day's number since 1970-01-01, or the id of the node or the camera.
    pub name: String,
    /// Its bytes.
    #[serde(flatten)]
    pub bytes: Bytes,
}

from_row! { TrafficLine: name; flatten bytes }

/// Which bytes.
#[derive(Clone, Debug, Default)]
pub struct TrafficSpan {
    /// First day, since 1970-01-01 in UTC.
    pub from_day: i64,
    /// All cameras when `None`.
    pub camera: Option<String>,
    /// All nodes when `None`.
    pub node: Option<String>,
    /// One line each.
    pub by: TrafficBy,
}

/// Something learned of a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Number of the last frame that it was learned from.
    pub judged_seq: i64,
    /// Longest usual time between two frames in milliseconds, if there were enough.
    pub expected_ms: Option<i64>,
    /// Whether the usual scene is known.
    pub scene: bool,
    /// All of it, as the watch writes it.
    pub model: Vec<u8>,
}

/// A frame as far as a camera's scene and rhythm go.
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
    /// The same of the first bits in a coarse grid over the frame; absent of frames from before there was one.
    pub scene_grid: Option<Vec<u8>>,
}

from_row! { Sighting: seq, captured_ms, program_id, width, height, latent_shares, scene_grid }

/// The part of the catalogue that is about cameras as a whole. The calls that change something may be made twice.
#[async_trait]
pub trait Watchlist: Send + Sync {
    /// Cameras by name, at most 100,000.
    async fn watched(&self) -> Result<Vec<Watched>, CatalogueError>;

    /// Frames of a camera after one, oldest first.
    async fn sightings(
        &self,
        camera: &str,
        after_seq: i64,
        limit: u32,
    ) -> Result<Vec<Sighting>, CatalogueError>;

    /// What was last learned of a camera.
    async fn model(&self, camera: &str) -> Result<Option<Vec<u8>>, CatalogueError>;

    /// Keeps what was learned of a camera up to a frame.
    async fn learn(&self, camera: &str, learned: &Learned) -> Result<(), CatalogueError>;

    /// Raises an alarm. `None` when one of that kind stands already.
    async fn raise(
        &self,
        kind: AlarmKind,
        camera: &str,
        begin_ms: i64,
        sentence: &str,
    ) -> Result<Option<Alarm>, CatalogueError>;

    /// Ends the standing alarm of a kind, if there is one.
    async fn end(
        &self,
        kind: AlarmKind,
        camera: &str,
        end_ms: i64,
    ) -> Result<Option<Alarm>, CatalogueError>;

    /// Notes who has seen an alarm. `None` when it does not stand.
    async fn acknowledge(
        &self,
        id: i64,
        by: &str,
        at_ms: i64,
    ) -> Result<Option<Alarm>, CatalogueError>;

    /// Alarms, newest first.
    async fn alarms(&self, page: &AlarmPage) -> Result<Vec<Alarm>, CatalogueError>;

    /// Counts bytes of a frame that came again.
    async fn came_again(
        &self,
        day: i64,
        node: &str,
        camera: &str,
        bytes: u64,
    ) -> Result<(), CatalogueError>;

    /// Bytes, in the order of the lines' names.
    async fn traffic(&self, span: &TrafficSpan) -> Result<Vec<TrafficLine>, CatalogueError>;

    /// Forgets alarms that ended before a time and bytes of days before one, and cameras of which nothing else is kept.
    async fn forget(&self, ended_before_ms: i64, before_day: i64) -> Result<(), CatalogueError>;
}

struct AlarmRow {
    alarm_id: i64,
    kind: String,
    camera_id: String,
    begin_ms: i64,
    end_ms: Option<i64>,
    acknowledged_ms: Option<i64>,
    acknowledged_by: Option<String>,
    sentence: String,
}

from_row! {
    AlarmRow:
        alarm_id, kind, camera_id, begin_ms, end_ms, acknowledged_ms, acknowledged_by, sentence
}

impl TryFrom<AlarmRow> for Alarm {
    type Error = CatalogueError;

    fn try_from(row: AlarmRow) -> Result<Self, CatalogueError> {
        let kind = AlarmKind::ALL
            .into_iter()
            .find(|kind| kind.name() == row.kind);
        Ok(Self {
            id: row.alarm_id,
            kind: kind.ok_or_else(|| CatalogueError::Row {
                id: format!("alarm {}", row.alarm_id),
                what: "its kind is unknown",
            })?,
            camera: row.camera_id,
            begin_ms: row.begin_ms,
            end_ms: row.end_ms,
            acknowledged_ms: row.acknowledged_ms,
            acknowledged_by: row.acknowledged_by,
            sentence: row.sentence,
        })
    }
}

const WATCHED: &str = "
    SELECT c.camera_id, c.last_seq, c.last_received_ms, w.judged_seq, w.expected_ms
    FROM cameras c LEFT JOIN watches w ON w.camera_id = c.camera_id
    ORDER BY c.camera_id LIMIT $1";

const SIGHTINGS: &str = "
    SELECT seq, captured_ms, program_id, width, height, latent_shares, scene_grid FROM frames
    WHERE camera_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";

const LEARN: &str = "
    INSERT INTO watches (camera_id, judged_seq, expected_ms, learned, model) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (camera_id) DO UPDATE SET
        judged_seq = excluded.judged_seq, expected_ms = excluded.expected_ms, learned = excluded.learned,
        model = excluded.model";

const RAISE: &str = "
    INSERT INTO alarms (kind, camera_id, begin_ms, sentence) VALUES ($1, $2, $3, $4)
    ON CONFLICT (kind, camera_id) WHERE end_ms IS NULL DO NOTHING RETURNING *";

const END: &str = "
    UPDATE alarms SET end_ms = $3 WHERE kind = $1 AND camera_id = $2 AND end_ms IS NULL RETURNING *";

/// The first who acknowledges counts.
const ACKNOWLEDGE: &str = "
    UPDATE alarms SET acknowledged_by = coalesce(acknowledged_by, $2), acknowledged_ms = coalesce(acknowledged_ms, $3)
    WHERE alarm_id = $1 AND end_ms IS NULL RETURNING *";

/// Bytes of a node and a camera on one day, in the order of the columns.
pub(super) const ADD_TRAFFIC: &str = "
    INSERT INTO traffic (day, node_id, camera_id, frames, told_frames, source_bytes, latent_bytes, label_bytes,
        original_bytes, overhead_bytes)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (day, node_id, camera_id) DO UPDATE SET
        frames = traffic.frames + excluded.frames,
        told_frames = traffic.told_frames + excluded.told_frames,
        source_bytes = traffic.source_bytes + excluded.source_bytes,
        latent_bytes = traffic.latent_bytes + excluded.latent_bytes,
        label_bytes = traffic.label_bytes + excluded.label_bytes,
        original_bytes = traffic.original_bytes + excluded.original_bytes,
        overhead_bytes = traffic.overhead_bytes + excluded.overhead_bytes";

const FORGET: [&str; 2] = [
    "DELETE FROM alarms WHERE end_ms < $1",
    "DELETE FROM traffic WHERE day < $1",
];
const FORGET_WATCHES: &str = "
    DELETE FROM watches WHERE NOT EXISTS (SELECT 1 FROM cameras c WHERE c.camera_id = watches.camera_id)
        AND NOT EXISTS (SELECT 1 FROM alarms a WHERE a.camera_id = watches.camera_id AND a.end_ms IS NULL)";

fn traffic_sql(by: TrafficBy) -> String {
    let name = match by {
        TrafficBy::Day => "CAST(day AS TEXT)",
        TrafficBy::Node => "node_id",
        TrafficBy::Camera => "camera_id",
    };
    let sum = |column: &str| format!("CAST(sum({column}) AS BIGINT) AS {column}");
    let sums = [
        "frames",
        "told_frames",
        "source_bytes",
        "latent_bytes",
        "label_bytes",
        "original_bytes",
        "overhead_bytes",
    ]
    .map(sum);
    format!(
        "SELECT {name} AS name, {} FROM traffic
         WHERE day >= $1 AND ($2 IS NULL OR camera_id = $2) AND ($3 IS NULL OR node_id = $3)
         GROUP BY 1 ORDER BY 1 LIMIT $4",
        sums.join(", ")
    )
}

/// `impl Watchlist` over a catalogue's pools: `$read` for what is read, `$write` for what is changed.
macro_rules! watchlist {
    ($catalogue:ty, $database:ty, $read:ident, $write:ident) => {
        #[async_trait]
        impl Watchlist for $catalogue {
            async fn watched(&self) -> Result<Vec<Watched>, CatalogueError> {
                let rows = sqlx::query_as(WATCHED).bind(MAX_WATCHED);
                Ok(rows.fetch_all(&self.$read).await?)
            }

            async fn sightings(
                &self,
                camera: &str,
                after_seq: i64,
                limit: u32,
            ) -> Result<Vec<Sighting>, CatalogueError> {
                let rows = sqlx::query_as(SIGHTINGS)
                    .bind(camera)
                    .bind(after_seq)
                    .bind(i64::from(limit));
                Ok(rows.fetch_all(&self.$read).await?)
            }

            async fn model(&self, camera: &str) -> Result<Option<Vec<u8>>, CatalogueError> {
                let row =
                    sqlx::query_as("SELECT model FROM watches WHERE camera_id = $1").bind(camera);
                let row: Option<(Vec<u8>,)> = row.fetch_optional(&self.$read).await?;
                Ok(row.map(|(model,)| model))
            }

            async fn learn(&self, camera: &str, learned: &Learned) -> Result<(), CatalogueError> {
                let learn = sqlx::query(LEARN)
                    .bind(camera)
                    .bind(learned.judged_seq)
                    .bind(learned.expected_ms)
                    .bind(i64::from(learned.scene))
                    .bind(&learned.model);
                learn.execute(&self.$write).await?;
                Ok(())
            }

            async fn raise(
                &self,
                kind: AlarmKind,
                camera: &str,
                begin_ms: i64,
                sentence: &str,
            ) -> Result<Option<Alarm>, CatalogueError> {
                let row = sqlx::query_as(RAISE)
                    .bind(kind.name())
                    .bind(camera)
                    .bind(begin_ms)
                    .bind(sentence);
                let row: Option<AlarmRow> = row.fetch_optional(&self.$write).await?;
                row.map(Alarm::try_from).transpose()
            }

            async fn end(
                &self,
                kind: AlarmKind,
                camera: &str,
                end_ms: i64,
            ) -> Result<Option<Alarm>, CatalogueError> {
                let row = sqlx::query_as(END)
                    .bind(kind.name())
                    .bind(camera)
                    .bind(end_ms);
                let row: Option<AlarmRow> = row.fetch_optional(&self.$write).await?;
                row.map(Alarm::try_from).transpose()
            }

            async fn acknowledge(
                &self,
                id: i64,
                by: &str,
                at_ms: i64,
            ) -> Result<Option<Alarm>, CatalogueError> {
                let row = sqlx::query_as(ACKNOWLEDGE).bind(id).bind(by).bind(at_ms);
                let row: Option<AlarmRow> = row.fetch_optional(&self.$write).await?;
                row.map(Alarm::try_from).transpose()
            }

            async fn alarms(&self, page: &AlarmPage) -> Result<Vec<Alarm>, CatalogueError> {
                let mut query =
                    sqlx::QueryBuilder::<$database>::new("SELECT * FROM alarms WHERE alarm_id < ");
                query.push_bind(page.before.unwrap_or(i64::MAX));
                match page.standing {
                    Some(true) => {
                        query.push(" AND end_ms IS NULL");
                    }
                    Some(false) => {
                        query.push(" AND end_ms IS NOT NULL");
                    }
                    None => {}
                }
                if let Some(kind) = page.kind {
                    query.push(" AND kind = ").push_bind(kind.name());
                }
                if let Some(camera) = page.camera.clone() {
                    query.push(" AND camera_id = ").push_bind(camera);
                }
                query
                    .push(" ORDER BY alarm_id DESC LIMIT ")
                    .push_bind(i64::from(page.limit));
                let rows: Vec<AlarmRow> = query.build_query_as().fetch_all(&self.$read).await?;
                rows.into_iter().map(Alarm::try_from).collect()
            }

            async fn came_again(
                &self,
                day: i64,
                node: &str,
                camera: &str,
                bytes: u64,
            ) -> Result<(), CatalogueError> {
                let mut add = sqlx::query(ADD_TRAFFIC).bind(day).bind(node).bind(camera);
                let sent = Sent {
                    overhead: saturate(bytes),
                    ..Sent::default()
                };
                for sum in sent.columns() {
                    add = add.bind(sum);
                }
                add.execute(&self.$write).await?;
                Ok(())
            }

            async fn traffic(
                &self,
                span: &TrafficSpan,
            ) -> Result<Vec<TrafficLine>, CatalogueError> {
                let sql = sqlx::AssertSqlSafe(traffic_sql(span.by));
                let rows = sqlx::query_as(sql)
                    .bind(span.from_day)
                    .bind(&span.camera)
                    .bind(&span.node);
                Ok(rows.bind(MAX_WATCHED).fetch_all(&self.$read).await?)
            }

            async fn forget(
                &self,
                ended_before_ms: i64,
                before_day: i64,
            ) -> Result<(), CatalogueError> {
                for (sql, bound) in FORGET.into_iter().zip([ended_before_ms, before_day]) {
                    sqlx::query(sql).bind(bound).execute(&self.$write).await?;
                }
                sqlx::query(FORGET_WATCHES).execute(&self.$write).await?;
                Ok(())
            }
        }
    };
}

watchlist!(SqliteCatalogue, sqlx::Sqlite, readers, writer);
watchlist!(PostgresCatalogue, sqlx::Postgres, pool, pool);
