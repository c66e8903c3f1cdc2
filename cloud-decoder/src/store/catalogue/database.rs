//! The database of the catalogue: SQLite for one process, PostgreSQL for many, behind one set of calls.
//!
//! SQLite runs in WAL mode with `synchronous = FULL`, one writing connection and a few reading ones: it takes one
//! writer at a time, and waiting for the connection here never meets `SQLITE_BUSY`.

use std::{
    path::Path,
    sync::{Arc, Once},
    time::Duration,
};

use futures::future::BoxFuture;
use sqlx::{
    AnyConnection, AnyPool, Connection as _, FromRow,
    any::{AnyPoolOptions, AnyRow, install_default_drivers},
};
use tokio::time::timeout;
use url::Url;

use super::{
    CatalogueError,
    dialect::{Dialect, POSTGRES, SQLITE},
    lease::Lease,
    migrations::{self, migrator},
    statement::{Statement, sql},
};
use crate::metrics::{DatabaseCall, Metrics};

/// Reading connections to SQLite.
const SQLITE_READERS: u32 = 4;
/// Connections of one process to PostgreSQL.
const POSTGRES_CONNECTIONS: u32 = 16;
/// Longest wait for a connection, the first one included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Times that a transaction is tried if PostgreSQL ends it in favour of another one.
const MAX_TRIES: u32 = 5;
/// Settings of each SQLite connection.
const SQLITE_PRAGMAS: [&str; 2] = ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"];

/// An open database with the catalogue's schema. Clones share its connections.
#[derive(Clone)]
pub struct Database {
    pub(super) dialect: &'static Dialect,
    pub(super) writer: AnyPool,
    readers: AnyPool,
    /// Options of further connections; absent for SQLite, whose file belongs to one process.
    shared_url: Option<Arc<str>>,
    metrics: Option<Arc<Metrics>>,
}

impl Database {
    /// Opens or creates an SQLite file, brings its schema up to date, and frees the claims of the process that had it
    /// before.
    ///
    /// # Errors The file cannot be opened, or its schema is not ours.
    pub async fn sqlite(file: &Path) -> Result<Self, CatalogueError> {
        install_drivers();
        let bad_path = || CatalogueError::Address(format!("{} is no path", file.display()));
        let path = std::path::absolute(file).map_err(|_| bad_path())?;
        let path = Url::from_file_path(path).map_err(|()| bad_path())?;
        let url = |mode| format!("sqlite://{}?mode={mode}", path.path());
        let writer = AnyPoolOptions::new()
            .max_connections(1)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    for pragma in SQLITE_PRAGMAS {
                        sqlx::query(pragma).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
            .connect(&url("rwc"))
            .await?;
        migrator(&migrations::SQLITE).run(&writer).await?;
        sql("UPDATE frames SET not_before_ms = 0 WHERE state = 'queued'")
            .execute(&writer)
            .await?;
        let readers = AnyPoolOptions::new()
            .max_connections(SQLITE_READERS)
            .connect(&url("ro"))
            .await?;
        Ok(Self {
            dialect: &SQLITE,
            writer,
            readers,
            shared_url: None,
            metrics: None,
        })
    }

    /// Connects to PostgreSQL and brings the schema up to date; if several processes start at once, one of them does.
    ///
    /// # Errors The address is invalid, the database cannot be reached, or its schema is not ours.
    pub async fn postgres(url: &str) -> Result<Self, CatalogueError> {
        install_drivers();
        let mut url: Url = url
            .parse()
            .map_err(|error| CatalogueError::Address(format!("{error}")))?;
        url.query_pairs_mut()
            .append_pair("application_name", "cloud-decoder");
        // A pool would try again until its timeout, and then report only the timeout.
        let first = timeout(CONNECT_TIMEOUT, AnyConnection::connect(url.as_str())).await;
        first
            .map_err(|_| sqlx::Error::PoolTimedOut)??
            .close()
            .await?;
        let pool = AnyPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect(url.as_str())
            .await?;
        migrator(&migrations::POSTGRES).run(&pool).await?;
        Ok(Self {
            dialect: &POSTGRES,
            writer: pool.clone(),
            readers: pool,
            shared_url: Some(url.as_str().into()),
            metrics: None,
        })
    }

    /// The same database, with its calls counted and timed.
    pub(crate) fn measured(self, metrics: Arc<Metrics>) -> Self {
        Self {
            metrics: Some(metrics),
            ..self
        }
    }

    /// The clock of all processes that share the catalogue, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The database failed.
    pub async fn now_ms(&self) -> Result<i64, CatalogueError> {
        let (now,) = self
            .only_row(sql("SELECT ").push(self.dialect.now_ms))
            .await?;
        Ok(now)
    }

    /// The lease of the process that removes and repairs; `None` while another process has it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lease(&self) -> Result<Option<Lease>, CatalogueError> {
        match &self.shared_url {
            None => Ok(Some(Lease::unshared())),
            Some(url) => Lease::take(AnyConnection::connect(url).await?).await,
        }
    }

    /// Closes the database; calls in progress end with an error.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// All rows of a statement that only reads.
    pub(super) async fn rows<T>(&self, statement: Statement) -> Result<Vec<T>, CatalogueError>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        self.time(DatabaseCall::Read, statement.rows(&self.readers))
            .await
    }

    /// The first row of a statement that only reads.
    pub(super) async fn row<T>(&self, statement: Statement) -> Result<Option<T>, CatalogueError>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        self.time(DatabaseCall::Read, statement.row(&self.readers))
            .await
    }

    /// The row of a statement that only reads and always has one.
    pub(super) async fn only_row<T>(&self, statement: Statement) -> Result<T, CatalogueError>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        let row = self.row(statement).await?;
        Ok(row.ok_or(sqlx::Error::RowNotFound)?)
    }

    /// The first row that a statement changed.
    pub(super) async fn changed_row<T>(
        &self,
        statement: Statement,
    ) -> Result<Option<T>, CatalogueError>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        self.time(DatabaseCall::Write, statement.row(&self.writer))
            .await
    }

    /// All rows that a statement changed.
    pub(super) async fn changed_rows<T>(
        &self,
        statement: Statement,
    ) -> Result<Vec<T>, CatalogueError>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        self.time(DatabaseCall::Write, statement.rows(&self.writer))
            .await
    }

    /// Runs a statement that changes something.
    pub(super) async fn execute(&self, statement: Statement) -> Result<(), CatalogueError> {
        self.time(DatabaseCall::Write, statement.execute(&self.writer))
            .await
    }

    /// Runs `work` in a transaction, again if PostgreSQL ended it in favour of another one.
    pub(super) async fn transaction<T>(&self, work: impl Work<T>) -> Result<T, CatalogueError> {
        let tried = async {
            let mut tries = 1;
            loop {
                match self.try_transaction(&work).await {
                    Err(error) if tries < MAX_TRIES && error.is_conflict() => tries += 1,
                    result => return result,
                }
            }
        };
        self.time(DatabaseCall::Write, tried).await
    }

    async fn try_transaction<T>(&self, work: &impl Work<T>) -> Result<T, CatalogueError> {
        let mut connection = self.writer.acquire().await?;
        let result = async {
            let mut transaction = connection.begin_with(self.dialect.begin).await?;
            let done = work(&mut transaction).await?;
            transaction.commit().await?;
            Ok(done)
        };
        let result = result.await;
        // SQLite rolls back by itself when the disk is full, which the pool does not notice: no later transaction could
        // begin.
        if result.is_err()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "closing a connection to the catalogue failed");
        }
        result
    }

    async fn time<T>(
        &self,
        access: DatabaseCall,
        call: impl Future<Output = Result<T, CatalogueError>>,
    ) -> Result<T, CatalogueError> {
        match &self.metrics {
            Some(metrics) => metrics.catalogue.time(access, call).await,
            None => call.await,
        }
    }
}

/// The work of a transaction, which may run more than once.
pub(super) trait Work<T>:
    for<'c> Fn(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, CatalogueError>> + Sync
{
}

impl<T, F> Work<T> for F where
    F: for<'c> Fn(&'c mut AnyConnection) -> BoxFuture<'c, Result<T, CatalogueError>> + Sync
{
}

fn install_drivers() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(install_default_drivers);
}
