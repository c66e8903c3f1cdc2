//! Files of watched folders that were taken.

use std::collections::HashMap;

use sqlx::{Connection as _, Row as _, SqliteConnection};

use super::{connections::close_failed, error::SpoolError, queue::Spool};

/// Size and time of a file, which tell whether it has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Time of its last change, in nanoseconds since the Unix epoch.
    pub modified_ns: i64,
    /// Size in bytes.
    pub bytes: i64,
}

/// A file that was taken as a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Camera of the folder.
    pub camera: String,
    /// Name in the folder.
    pub name: Vec<u8>,
    /// Size and time when it was taken.
    pub stamp: Stamp,
}

impl Spool {
    /// The files of a camera that were taken, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn taken(&self, camera: &str) -> Result<HashMap<Vec<u8>, Stamp>, SpoolError> {
        let sql = "SELECT name, modified_ns, bytes FROM taken WHERE camera = ?";
        let rows = sqlx::query(sql)
            .bind(camera)
            .fetch_all(&self.readers)
            .await?;
        let stamp = |row: &sqlx::sqlite::SqliteRow| Stamp {
            modified_ns: row.get(1),
            bytes: row.get(2),
        };
        Ok(rows.iter().map(|row| (row.get(0), stamp(row))).collect())
    }

    /// Notes a file that is not a frame, so that it is not tried again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_taken(&self, taken: &Taken) -> Result<(), SpoolError> {
        let mut connection = self.writer.acquire().await?;
        let result = note(&mut connection, taken).await;
        close_failed(connection, result).await
    }

    /// Forgets files that have left the folder.
    ///
    /// # Errors
    /// When the database fails; nothing is forgotten.
    pub async fn forget_taken(&self, camera: &str, names: &[Vec<u8>]) -> Result<(), SpoolError> {
        let mut connection = self.writer.acquire().await?;
        let result = forget(&mut connection, camera, names).await;
        close_failed(connection, result).await
    }
}

pub(super) async fn note(
    connection: &mut SqliteConnection,
    taken: &Taken,
) -> Result<(), SpoolError> {
    let sql = "INSERT OR REPLACE INTO taken (camera, name, modified_ns, bytes) VALUES (?, ?, ?, ?)";
    sqlx::query(sql)
        .bind(&taken.camera)
        .bind(&taken.name)
        .bind(taken.stamp.modified_ns)
        .bind(taken.stamp.bytes)
        .execute(connection)
        .await?;
    Ok(())
}

async fn forget(
    connection: &mut SqliteConnection,
    camera: &str,
    names: &[Vec<u8>],
) -> Result<(), SpoolError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for name in names {
        sqlx::query("DELETE FROM taken WHERE camera = ? AND name = ?")
            .bind(camera)
            .bind(name)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}
