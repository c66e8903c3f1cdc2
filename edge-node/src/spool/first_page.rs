//! The first page of the spool's file, which has its header and its schema. Without it nothing can be read, and nothing of it is a
//! frame's: it is the same in each spool, but for counts.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{PAGE_BYTES, SpoolError, migrations::migrator};

const PAGE: usize = PAGE_BYTES as usize;
const HEADER_BYTES: usize = 100;

/// Whether a file's header is one of a spool, as far as that is always the same. A file that is not there, or empty, is one that is
/// to be made.
pub(super) fn has_header(spool: &Path) -> io::Result<bool> {
    let mut header = Vec::new();
    match fs::File::open(spool) {
        Ok(file) => file.take(HEADER_BYTES as u64).read_to_end(&mut header)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    if header.is_empty() {
        return Ok(true);
    }
    // https://www.sqlite.org/fileformat2.html#the_database_header
    Ok(header.len() == HEADER_BYTES
        && header.starts_with(b"SQLite format 3\0\x10\0")
        && matches!(header[18..20], [1, 1] | [2, 2])
        && header[20..24] == [0, 64, 32, 32]
        && matches!(header[44..48], [0, 0, 0, 0 | 4])
        && matches!(header[56..60], [0, 0, 0, 0 | 1]))
}

/// Whether all that the schema has is as this version, or an earlier one, makes it. That of a later version is left to those who look at
/// its number.
pub(super) async fn has_schema(connection: &mut SqliteConnection) -> Result<bool, SpoolError> {
    let ours = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(SqliteConnectOptions::new().in_memory(true))
        .await?;
    let migrator = migrator();
    migrator.run(&ours).await.map_err(SpoolError::Schema)?;
    type Line = (String, String, String, Option<String>);
    let sql = "SELECT type, name, tbl_name, sql FROM sqlite_master";
    let made: Vec<Line> = sqlx::query_as(sql).fetch_all(&ours).await?;
    ours.close().await;
    let there: Vec<Line> = sqlx::query_as(sql).fetch_all(&mut *connection).await?;
    if there.iter().all(|line| made.contains(line)) {
        return Ok(true);
    }
    let newest: Result<(i64,), _> = sqlx::query_as("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await;
    Ok(newest.is_ok_and(|(newest,)| !migrator.version_exists(newest)))
}

/// Whether a file can be opened, and has the schema.
pub(super) async fn can_be_read(spool: &Path) -> bool {
    let look = async {
        let options = SqliteConnectOptions::new().filename(spool);
        let mut connection = options.connect().await?;
        let has = has_schema(&mut connection).await;
        connection.close().await?;
        has
    };
    has_header(spool).unwrap_or(false) && look.await.unwrap_or(false)
}

/// Gives a damaged file the first page of a new one, and keeps its own as a file.
pub(super) fn replace(spool: &Path, new: &Path, kept: &Path) -> io::Result<()> {
    let mut page = vec![0; PAGE];
    fs::File::open(new)?.read_exact(&mut page)?;
    let mut file = fs::OpenOptions::new().read(true).write(true).open(spool)?;
    let length = file.metadata()?.len();
    if length < PAGE_BYTES {
        return Ok(());
    }
    let mut own = vec![0; PAGE];
    file.read_exact(&mut own)?;
    fs::write(kept, own)?;
    fs::File::open(kept)?.sync_all()?;
    let pages = u32::try_from(length / PAGE_BYTES).unwrap_or(u32::MAX);
    // With a write-ahead log; of so many pages, none of which is known to be free.
    page[18..20].fill(2);
    page[28..32].copy_from_slice(&pages.to_be_bytes());
    page[32..40].fill(0);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&page)?;
    file.sync_all()
}
