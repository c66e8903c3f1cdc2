//! A spool whose file is damaged: set aside, and all frames that can be read of it taken into a new one.
//!
//! After an end that was not clean, SQLite's `integrity_check` looks at the whole file before it is used. A node that meets damage while it
//! runs ends, so that its next start comes here.

use std::{
    collections::HashSet,
    fs,
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteQueryResult, SqliteRow},
};

use daemon::clock::now_ms;

use super::{SpoolError, first_page, primary_code};

/// SQLite's codes for a page that makes no sense, and for a file that is no database.
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_NOTADB: u32 = 26;
/// For a value that a column does not take.
const SQLITE_CONSTRAINT: u32 = 19;
/// Files of a database, by what comes after its name.
const FILES: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// After the name of a spool, for one that is being gathered from it.
const FRESH: &str = ".salvaging";
/// The same, once all is in it.
const GATHERED: &str = ".salvaged";
/// After the name of what is set aside, for its first page where that was of no use.
const FIRST_PAGE: &str = "-page1";
/// In the lock file while a node uses the spool.
const IN_USE: &[u8] = b"in use\n";
/// Fewer bytes than a frame takes.
const LEAST_ROW_BYTES: i64 = 512;
/// Most lines of what is wrong that are told.
const PROBLEMS: u32 = 5;

/// What became of a damaged file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// Where the damaged file lies now.
    pub aside: PathBuf,
    /// Frames that wait for the cloud again.
    pub frames: u64,
    /// Frames in quarantine that are there again.
    pub quarantined: u64,
    /// Places of the queue and of the quarantine that cannot be read. There may have been a frame in each.
    pub lost: u64,
}

/// Whether an error means that the file is damaged.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    // Tables are strict, so that a value of another type is none that was written.
    matches!(error, sqlx::Error::ColumnDecode { .. })
        || matches!(primary_code(error), Some(SQLITE_CORRUPT | SQLITE_NOTADB))
}

/// Notes in the lock file that the spool is used, and tells whether it was noted already: whoever used it then ended without
/// [`mark_clean`].
pub(super) fn mark_used(lock: &mut fs::File) -> io::Result<bool> {
    let mut noted = Vec::new();
    lock.rewind()?;
    lock.read_to_end(&mut noted)?;
    if noted.is_empty() {
        lock.write_all(IN_USE)?;
        lock.sync_all()?;
    }
    Ok(!noted.is_empty())
}

/// Notes in the lock file that the spool is closed and whole.
pub(super) fn mark_clean(lock: &fs::File) -> io::Result<()> {
    lock.set_len(0)
}

/// What SQLite finds wrong with a database; empty when nothing is.
///
/// # Errors
/// The file cannot be read at all.
pub(super) async fn problems(
    connection: &mut SqliteConnection,
) -> Result<Vec<String>, sqlx::Error> {
    let sql = format!("PRAGMA integrity_check({PROBLEMS})");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .fetch_all(connection)
        .await?;
    let told = rows.iter().map(|row| row.get::<String, _>(0));
    Ok(told.filter(|line| line != "ok").collect())
}

/// Whether the file is whole: its first page, and if it is to be `checked`, all of it.
///
/// # Errors
/// It cannot be opened for another reason than damage.
pub(super) async fn is_whole(
    options: &SqliteConnectOptions,
    checked: bool,
) -> Result<bool, SpoolError> {
    let look = async {
        let mut connection = options.connect().await?;
        let mut wrong = Vec::new();
        if !first_page::has_schema(&mut connection).await? {
            wrong.push("its schema is not that of a spool".to_owned());
        }
        if checked {
            wrong.extend(problems(&mut connection).await?);
        }
        connection.close().await?;
        Ok(wrong)
    };
    match look.await {
        Ok(problems) => {
            for problem in &problems {
                tracing::error!(problem, "the spool's file is damaged");
            }
            Ok(problems.is_empty())
        }
        Err(SpoolError::Damaged(error)) => {
            tracing::error!(%error, "the spool's file is damaged");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Where what can be read of a damaged spool is gathered; nothing is there yet.
///
/// # Errors
/// What an earlier try left cannot be removed.
pub(super) fn fresh(spool: &Path) -> io::Result<PathBuf> {
    let fresh = with_tail(spool, FRESH);
    remove(&with_tail(spool, GATHERED))?;
    for tail in FILES {
        remove(&with_tail(&fresh, tail))?;
    }
    Ok(fresh)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Gives a damaged file the first page of a new spool where its own is of no use: otherwise nothing of it can be read.
///
/// # Errors
/// The file cannot be written.
pub(super) async fn mend_first_page(spool: &Path, fresh: &Path) -> io::Result<()> {
    if first_page::can_be_read(spool).await {
        return Ok(());
    }
    let kept = aside(spool, FIRST_PAGE);
    first_page::replace(spool, fresh, &kept)
}

/// Moves the damaged files aside, and what was gathered into their place. Tells where the damaged ones are.
///
/// # Errors
/// A file cannot be moved.
pub(super) fn replace(spool: &Path) -> io::Result<PathBuf> {
    fs::rename(with_tail(spool, FRESH), with_tail(spool, GATHERED))?;
    let aside = aside(spool, "");
    // From here on, the next start goes on by itself.
    fs::rename(spool, &aside)?;
    finish(spool)?;
    Ok(aside)
}

/// Moves what was gathered into the place of a damaged file that is gone from there already.
///
/// # Errors
/// A file cannot be moved.
pub(super) fn finish(spool: &Path) -> io::Result<()> {
    let gathered = with_tail(spool, GATHERED);
    if spool.exists() || !gathered.exists() {
        return Ok(());
    }
    // Those of the damaged file must not be taken for those of the new one.
    for tail in &FILES[1..] {
        match fs::rename(with_tail(spool, tail), aside(spool, tail)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(gathered, spool)?;
    let folder = spool
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// A name for what is set aside now.
fn aside(spool: &Path, tail: &str) -> PathBuf {
    with_tail(spool, &format!(".damaged-{}{tail}", now_ms()))
}

fn with_tail(path: &Path, tail: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(tail);
    name.into()
}

/// Copies what can be read of a damaged file into a new spool, in its order.
///
/// # Errors
/// The new spool cannot be written.
pub(super) async fn copy(aside: &Path, into: &mut SqliteConnection) -> Result<Salvage, SpoolError> {
    let mut salvage = Salvage {
        aside: aside.to_owned(),
        ..Salvage::default()
    };
    let options = SqliteConnectOptions::new().filename(aside);
    let Ok(mut from) = options.connect().await else {
        salvage.lost = 1;
        return Ok(salvage);
    };
    let tables = [
        ("spool", "frame_id, created_ms, crc32c, payload"),
        ("quarantine", "frame_id, created_ms, reason, payload"),
        ("history", "frame_id, state, reason"),
        ("taken", "camera, name, modified_ns, bytes"),
    ];
    for (table, columns) in tables {
        let (copied, lost) = match table {
            "taken" => copy_taken(&mut from, into).await?,
            _ => copy_rows(&mut from, into, table, columns).await?,
        };
        match table {
            "spool" => salvage.frames = copied,
            "quarantine" => salvage.quarantined = copied,
            _ => continue,
        }
        salvage.lost += lost;
    }
    from.close().await.ok();
    Ok(salvage)
}

/// Copies the rows of a table with a `seq` one by one, so that a damaged page costs its own rows alone. Tells how many, and how
/// many cannot be read.
async fn copy_rows(
    from: &mut SqliteConnection,
    into: &mut SqliteConnection,
    table: &str,
    columns: &str,
) -> Result<(u64, u64), SpoolError> {
    let select = format!(
        "SELECT seq, {columns} FROM {table} NOT INDEXED WHERE seq >= ? ORDER BY seq LIMIT 1"
    );
    let count = columns.split(',').count();
    let marks = vec!["?"; count + 1].join(", ");
    let insert = format!("INSERT OR IGNORE INTO {table} (seq, {columns}) VALUES ({marks})");
    let (mut at, last, most) = places(from, table).await;
    let (mut copied, mut unread) = (0, 0);
    let mut transaction = into.begin().await?;
    loop {
        let read = sqlx::query(sqlx::AssertSqlSafe(select.clone()))
            .bind(at)
            .fetch_optional(&mut *from)
            .await;
        let row = match read {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(_) if at >= last || unread > most => {
                unread += u64::from(at == last);
                break;
            }
            Err(_) => {
                unread += 1;
                at += 1;
                continue;
            }
        };
        let seq: i64 = row.get(0);
        let Some(next) = seq.max(at).checked_add(1) else {
            break;
        };
        at = next;
        let mut query = Some(sqlx::query(sqlx::AssertSqlSafe(insert.clone())).bind(seq));
        for column in 1..=count {
            query = query.and_then(|query| bind(query, &row, column));
        }
        let written = match query {
            Some(query) => query.execute(&mut *transaction).await,
            None => Ok(SqliteQueryResult::default()),
        };
        match written {
            Ok(written) if written.rows_affected() == 1 => copied += 1,
            Ok(_) => unread += 1,
            // A value that the table does not take.
            Err(error) if primary_code(&error) == Some(SQLITE_CONSTRAINT) => unread += 1,
            Err(error) => return Err(error.into()),
        }
    }
    transaction.commit().await?;
    if table == "spool" {
        unread = unread.max(indexed_alone(from, into).await?);
    }
    Ok((copied, unread))
}

/// Frames that the queue's index knows and that were not copied: a damaged page may hide rows without an error.
async fn indexed_alone(
    from: &mut SqliteConnection,
    into: &mut SqliteConnection,
) -> Result<u64, SpoolError> {
    use futures::TryStreamExt as _;
    let mut alone = HashSet::new();
    // From both ends, so that a damaged page of the index hides its own entries alone.
    for order in ["ASC", "DESC"] {
        let sql = format!(
            "SELECT seq FROM spool INDEXED BY sqlite_autoindex_spool_1 ORDER BY frame_id {order}"
        );
        let mut rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch(&mut *from);
        while let Ok(Some(row)) = rows.try_next().await {
            alone.extend(row.try_get::<i64, _>(0));
        }
    }
    let mut copied = sqlx::query("SELECT seq FROM spool").fetch(into);
    while let Some(row) = copied.try_next().await? {
        alone.remove(&row.get::<i64, _>(0));
    }
    Ok(alone.len() as u64)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

/// With a column's value, if that is of a kind that a spool has.
fn bind<'q>(query: Query<'q>, row: &SqliteRow, column: usize) -> Option<Query<'q>> {
    use sqlx::{TypeInfo as _, ValueRef as _};
    let value = row.try_get_raw(column).ok()?;
    let kind = value.type_info().name().to_owned();
    Some(match kind.as_str() {
        "INTEGER" => query.bind(row.try_get::<i64, _>(column).ok()?),
        "BLOB" => query.bind(row.try_get::<Vec<u8>, _>(column).ok()?),
        _ => query.bind(row.try_get::<Option<String>, _>(column).ok()?),
    })
}

/// Between which places a table may have rows, and how many at most: from its first row, as far as that is known, to the last number that was
/// given out.
async fn places(from: &mut SqliteConnection, table: &str) -> (i64, i64, u64) {
    let mut number = async |sql: String| {
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_optional(&mut *from)
            .await;
        row.ok().flatten()?.try_get::<Option<i64>, _>(0).ok()?
    };
    let given = number(format!(
        "SELECT seq FROM sqlite_sequence WHERE name = '{table}'"
    ))
    .await;
    let last = number(format!("SELECT max(seq) FROM {table} NOT INDEXED")).await;
    let first = number(format!("SELECT min(seq) FROM {table} NOT INDEXED")).await;
    let last = given.into_iter().chain(last).max().unwrap_or(0);
    let bytes =
        number("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size".to_owned())
            .await;
    let most = bytes.unwrap_or(0) / LEAST_ROW_BYTES;
    // Not from 1 on: years of frames may have gone.
    let first = first.unwrap_or(last.saturating_sub(most)).max(1);
    (first, last, most.unsigned_abs())
}

/// Copies which files of watched folders were taken, as far as they can be read in order.
async fn copy_taken(
    from: &mut SqliteConnection,
    into: &mut SqliteConnection,
) -> Result<(u64, u64), SpoolError> {
    use futures::TryStreamExt as _;
    let mut rows = sqlx::query("SELECT camera, name, modified_ns, bytes FROM taken").fetch(from);
    let mut copied = 0;
    while let Ok(Some(row)) = rows.try_next().await {
        let insert =
            "INSERT OR IGNORE INTO taken (camera, name, modified_ns, bytes) VALUES (?, ?, ?, ?)";
        let mut query = Some(sqlx::query(insert));
        for column in 0..4 {
            query = query.and_then(|query| bind(query, &row, column));
        }
        let Some(query) = query else { continue };
        match query.execute(&mut *into).await {
            Ok(written) => copied += written.rows_affected(),
            Err(error) if primary_code(&error) == Some(SQLITE_CONSTRAINT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((copied, 0))
}
