//! The first page of the file, with its header and its schema. Without it nothing can be read. It has no frames and,
//! except for counters, is the same in every spool, so it can be replaced.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{aside, error::SpoolError, layout::PAGE_BYTES, migrations::migrator};

const PAGE: usize = PAGE_BYTES as usize;
const HEADER_BYTES: usize = 100;
/// Suffix of a first page that is set aside.
const FIRST_PAGE: &str = "-page1";

/// Whether a file's header has the values that every spool has. A file that is missing or empty passes, since it is
/// still to be made.
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

/// Whether the schema is one that this version or an earlier one makes. A later version's schema passes too: its number
/// is checked elsewhere.
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
async fn can_be_read(spool: &Path) -> bool {
    let look = async {
        let options = SqliteConnectOptions::new().filename(spool);
        let mut connection = options.connect().await?;
        let has = has_schema(&mut connection).await;
        connection.close().await?;
        has
    };
    has_header(spool).unwrap_or(false) && look.await.unwrap_or(false)
}

/// Gives a damaged file the first page of a new spool where its own is unusable.
///
/// # Errors
/// The file cannot be written.
pub(super) async fn mend(spool: &Path, fresh: &Path) -> io::Result<()> {
    if can_be_read(spool).await {
        return Ok(());
    }
    let own = aside::name(spool, FIRST_PAGE);
    replace(spool, fresh, &own)
}

/// Replaces the first page of a damaged file by that of a new one, and keeps the old page as a file.
fn replace(spool: &Path, new: &Path, kept: &Path) -> io::Result<()> {
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
    // The header says: write-ahead log, this number of pages, none of them free.
    page[18..20].fill(2);
    page[28..32].copy_from_slice(&pages.to_be_bytes());
    page[32..40].fill(0);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&page)?;
    file.sync_all()
}
