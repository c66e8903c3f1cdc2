//! The alarms of all cameras.

use sqlx::{FromRow, Row as _, any::AnyRow};

use super::{
    CatalogueError, Watchlist,
    error::BadRow,
    statement::{Statement, sql},
};
use crate::alarm::{Alarm, AlarmKind};

/// Which alarms to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct AlarmPage {
    /// Ongoing ones, ended ones, or both when `None`.
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
    /// Ongoing alarms.
    pub fn standing(limit: u32) -> Self {
        Self {
            standing: Some(true),
            limit,
            ..Self::default()
        }
    }
}

impl FromRow<'_, AnyRow> for Alarm {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        let id = row.try_get("alarm_id")?;
        let name: &str = row.try_get("kind")?;
        let kind = AlarmKind::ALL.into_iter().find(|kind| kind.name() == name);
        Ok(Self {
            id,
            kind: kind.ok_or_else(|| BadRow {
                row: format!("alarm {id}"),
                what: "its kind is unknown",
            })?,
            camera: row.try_get("camera_id")?,
            begin_ms: row.try_get("begin_ms")?,
            end_ms: row.try_get("end_ms")?,
            acknowledged_ms: row.try_get("acknowledged_ms")?,
            acknowledged_by: row.try_get("acknowledged_by")?,
            sentence: row.try_get("sentence")?,
        })
    }
}

impl Watchlist {
    /// Raises an alarm. `None` when one of that kind is ongoing.
    ///
    /// # Errors
    /// The database failed.
    pub async fn raise(
        &self,
        kind: AlarmKind,
        camera: &str,
        begin_ms: i64,
        sentence: &str,
    ) -> Result<Option<Alarm>, CatalogueError> {
        let insert = sql(
            "INSERT INTO alarms (kind, camera_id, begin_ms, sentence) VALUES ($1, $2, $3, $4)
             ON CONFLICT (kind, camera_id) WHERE end_ms IS NULL DO NOTHING RETURNING *",
        );
        let insert = insert.bind(kind.name()).bind(camera).bind(begin_ms);
        self.0.changed_row(insert.bind(sentence)).await
    }

    /// Ends the ongoing alarm of a kind, if there is one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end(
        &self,
        kind: AlarmKind,
        camera: &str,
        end_ms: i64,
    ) -> Result<Option<Alarm>, CatalogueError> {
        let update = sql("UPDATE alarms SET end_ms = $3
             WHERE kind = $1 AND camera_id = $2 AND end_ms IS NULL RETURNING *");
        let update = update.bind(kind.name()).bind(camera).bind(end_ms);
        self.0.changed_row(update).await
    }

    /// Notes who has seen an alarm; only the first one counts. `None` when the alarm is not ongoing.
    ///
    /// # Errors
    /// The database failed.
    pub async fn acknowledge(
        &self,
        id: i64,
        by: &str,
        at_ms: i64,
    ) -> Result<Option<Alarm>, CatalogueError> {
        let update = sql(
            "UPDATE alarms SET acknowledged_by = coalesce(acknowledged_by, $2),
                 acknowledged_ms = coalesce(acknowledged_ms, $3)
             WHERE alarm_id = $1 AND end_ms IS NULL RETURNING *",
        );
        self.0
            .changed_row(update.bind(id).bind(by).bind(at_ms))
            .await
    }

    /// Alarms, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn alarms(&self, page: &AlarmPage) -> Result<Vec<Alarm>, CatalogueError> {
        self.0.rows(select(page)).await
    }
}

fn select(page: &AlarmPage) -> Statement {
    let mut query = sql("SELECT * FROM alarms WHERE alarm_id < ");
    query = query.value(page.before.unwrap_or(i64::MAX));
    query = match page.standing {
        Some(true) => query.push(" AND end_ms IS NULL"),
        Some(false) => query.push(" AND end_ms IS NOT NULL"),
        None => query,
    };
    if let Some(kind) = page.kind {
        query = query.push(" AND kind = ").value(kind.name());
    }
    if let Some(camera) = &page.camera {
        query = query.push(" AND camera_id = ").value(camera.as_str());
    }
    let query = query.push(" ORDER BY alarm_id DESC LIMIT ");
    query.value(i64::from(page.limit))
}
