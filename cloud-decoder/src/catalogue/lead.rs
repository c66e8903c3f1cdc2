//! The right to do what only one process may do at a time.

use sqlx::{Connection as _, PgConnection};

/// That right. It ends when this is dropped, or when the connection that stands for it breaks.
pub struct Lead {
    connection: Option<PgConnection>,
}

impl Lead {
    /// Of the only process that there is.
    pub(super) fn alone() -> Self {
        Self { connection: None }
    }

    /// As long as this connection holds a lock.
    pub(super) fn of(connection: PgConnection) -> Self {
        Self {
            connection: Some(connection),
        }
    }

    /// Whether it still stands.
    pub async fn stands(&mut self) -> bool {
        match &mut self.connection {
            None => true,
            Some(connection) => connection.ping().await.is_ok(),
        }
    }
}
