//! The id of the store that a catalogue belongs to.

use sqlx::{FromRow, Row as _, any::AnyRow};
use uuid::Uuid;

use super::{Catalogue, CatalogueError, FrameRows, row::id, statement::sql};

/// The store that a catalogue belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId {
    /// Its id.
    pub id: Uuid,
    /// Whether the objects carry the id, too.
    pub paired: bool,
}

impl FromRow<'_, AnyRow> for StoreId {
    fn from_row(row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: id(row, "id")?,
            paired: row.try_get::<i64, _>("paired")? != 0,
        })
    }
}

impl Catalogue {
    /// The store that this catalogue belongs to; `None` when it has no id yet.
    ///
    /// # Errors
    /// The database failed.
    pub async fn store(&self) -> Result<Option<StoreId>, CatalogueError> {
        self.0.row(sql("SELECT id, paired FROM store")).await
    }
}

impl FrameRows {
    /// Gives the catalogue the id of its store, unless it has one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn name_store(&self, id: Uuid) -> Result<(), CatalogueError> {
        let insert = sql("INSERT INTO store (one, id) VALUES (1, $1) ON CONFLICT (one) DO NOTHING");
        self.0.execute(insert.bind(&id.as_bytes()[..])).await
    }

    /// Notes that the objects carry the store's id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn pair_store(&self) -> Result<(), CatalogueError> {
        self.0.execute(sql("UPDATE store SET paired = 1")).await
    }
}
