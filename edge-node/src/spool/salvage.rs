//! A spool whose file is damaged: set aside, and all frames that can be read of it taken into a new one.
//!
//! After an end that was not clean, SQLite's `integrity_check` looks at the whole file before it is used. A node that meets damage while it
//! runs ends, so that its next start comes here.

use std::{
    fs,
    io::{self, Read as _, Seek as _, Write as _},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};

use super::{SpoolError, now_ms, primary_code};

/// SQLite's codes for a page that makes no sense, and for a file that is no database.
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_NOTADB: u32 = 26;
/// Files of a database, by what comes after its name.
const FILES: [&str; 3] = ["", "-wal", "-shm"];
/// After the name of a spool, for one that is being gathered from it.
const FRESH: &str = ".salvaged";
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
    matches!(primary_code(error), Some(SQLITE_CORRUPT | SQLITE_NOTADB))
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

/// Whether the file is whole.
///
/// # Errors
/// It cannot be opened for another reason than damage.
pub(super) async fn is_whole(options: &SqliteConnectOptions) -> Result<bool, SpoolError> {
    let look = async {
        let mut connection = options.connect().await?;
        let problems = problems(&mut connection).await;
        connection.close().await?;
        problems
    };
    match look.await {
        Ok(problems) => {
            for problem in &problems {
                tracing::error!(problem, "the spool's file is damaged");
            }
            Ok(problems.is_empty())
        }
        Err(error) if is_damage(&error) => {
            tracing::error!(%error, "the spool's file is damaged");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Where what can be read of a damaged spool is gathered; nothing is there yet.
///
/// # Errors
/// What an earlier try left cannot be removed.
pub(super) fn fresh(spool: &Path) -> io::Result<PathBuf> {
    let fresh = with_tail(spool, FRESH);
    for tail in FILES {
        match fs::remove_file(with_tail(&fresh, tail)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(fresh)
}

/// Moves the damaged files aside, and what was gathered into their place. Tells where the damaged ones are.
///
/// # Errors
/// A file cannot be moved.
pub(super) fn replace(spool: &Path) -> io::Result<PathBuf> {
    let aside = with_tail(spool, &format!(".damaged-{}", now_ms()));
    // The database last: as long as it is there, this begins anew.
    for tail in FILES.iter().rev() {
        match fs::rename(with_tail(spool, tail), with_tail(&aside, tail)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    finish(spool)?;
    Ok(aside)
}

/// Moves what was gathered into the place of a damaged file that is gone from there already.
///
/// # Errors
/// The file cannot be moved.
pub(super) fn finish(spool: &Path) -> io::Result<()> {
    let fresh = with_tail(spool, FRESH);
    if spool.exists() || !fresh.exists() {
        return Ok(());
    }
    fs::rename(fresh, spool)?;
    let folder = spool
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
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

/// Copies the rows of a table with a `seq` one by one, so that a damaged page costs its own rows alone.
async fn copy_rows(
    from: &mut SqliteConnection,
    into: &mut SqliteConnection,
    table: &str,
    columns: &str,
) -> Result<(u64, u64), SpoolError> {
    let select = format!("SELECT seq, {columns} FROM {table} NOT INDEXED WHERE seq = ?");
    let count = columns.split(',').count();
    let marks = vec!["?"; count + 1].join(", ");
    let insert = format!("INSERT OR IGNORE INTO {table} (seq, {columns}) VALUES ({marks})");
    let (mut copied, mut lost) = (0, 0);
    let mut transaction = into.begin().await?;
    for seq in places(from, table).await {
        let read = sqlx::query(sqlx::AssertSqlSafe(select.clone()))
            .bind(seq)
            .fetch_optional(&mut *from)
            .await;
        let row = match read {
            Ok(Some(row)) => row,
            Ok(None) => continue,
            Err(_) => {
                lost += 1;
                continue;
            }
        };
        let mut query = sqlx::query(sqlx::AssertSqlSafe(insert.clone())).bind(seq);
        for column in 1..=count {
            query = bind(query, &row, column)?;
        }
        copied += query.execute(&mut *transaction).await?.rows_affected();
    }
    transaction.commit().await?;
    Ok((copied, lost))
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind<'q>(query: Query<'q>, row: &SqliteRow, column: usize) -> Result<Query<'q>, sqlx::Error> {
    use sqlx::{TypeInfo as _, ValueRef as _};
    let value = row.try_get_raw(column)?;
    let kind = value.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "INTEGER" => query.bind(row.try_get::<i64, _>(column)?),
        "BLOB" => query.bind(row.try_get::<Vec<u8>, _>(column)?),
        _ => query.bind(row.try_get::<Option<String>, _>(column)?),
    })
}

/// All places that a table may have rows in: from its first row, as far as that is known, to the last number that was given out.
async fn places(from: &mut SqliteConnection, table: &str) -> RangeInclusive<i64> {
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
    // Not from 1 on: years of frames may have gone.
    let least = last - bytes.unwrap_or(0) / LEAST_ROW_BYTES;
    first.unwrap_or(least).max(1)..=last
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
        let mut query = sqlx::query(insert);
        for column in 0..4 {
            query = bind(query, &row, column)?;
        }
        copied += query.execute(&mut *into).await?.rows_affected();
    }
    Ok((copied, 0))
}
