//! The lease of the one process that removes frames and repairs.

use sqlx::{AnyConnection, Connection as _};

use super::{CatalogueError, statement::sql};

/// Key of the advisory lock in PostgreSQL.
const LOCK_KEY: i64 = 0x7061_7463_6877_6972;

/// The lease. It ends when this is dropped, or when the connection that holds the lock breaks.
pub struct Lease {
    connection: Option<AnyConnection>,
}

impl Lease {
    /// The lease of a process that is the only one.
    pub(super) fn unshared() -> Self {
        Self { connection: None }
    }

    /// Takes PostgreSQL's lock with a connection of its own; `None` while another connection has it.
    pub(super) async fn take(
        mut connection: AnyConnection,
    ) -> Result<Option<Self>, CatalogueError> {
        let lock = sql("SELECT pg_try_advisory_lock($1)").bind(LOCK_KEY);
        let locked: Option<(bool,)> = lock.row(&mut connection).await?;
        if locked == Some((true,)) {
            let connection = Some(connection);
            return Ok(Some(Self { connection }));
        }
        connection.close().await?;
        Ok(None)
    }

    /// Whether the process still has the lease.
    pub async fn stands(&mut self) -> bool {
        match &mut self.connection {
            None => true,
            Some(connection) => connection.ping().await.is_ok(),
        }
    }
}
