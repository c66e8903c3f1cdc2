//! Copies the readable rows of a damaged file into a new spool.
//!
//! After an unclean end, SQLite's `integrity_check` reads the whole file before it is used. A node that finds damage
//! while it runs ends, so that its next start salvages.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use futures::TryStreamExt as _;
use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteQueryResult, SqliteRow},
};

use super::error::{SpoolError, is_constraint};

/// Fewest bytes that a frame takes in the file.
const MIN_ROW_BYTES: i64 = 512;

/// The result of a salvage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// Where the damaged file is now.
    pub aside: PathBuf,
    /// Frames that were saved and wait for the cloud.
    pub frames: u64,
    /// Frames in quarantine that were saved.
    pub quarantined: u64,
    /// Rows of queue and quarantine that cannot be read; each may have been a frame.
    pub lost: u64,
}

/// Copies the readable rows of a damaged file into a new spool, in their order.
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

/// Copies the rows of a table with a `seq` one by one, so that a damaged page costs only its own rows. Returns the
/// numbers of copied and of unreadable rows.
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
            Err(error) if is_constraint(&error) => unread += 1,
            Err(error) => return Err(error.into()),
        }
    }
    transaction.commit().await?;
    if table == "spool" {
        unread = unread.max(indexed_alone(from, into).await?);
    }
    Ok((copied, unread))
}

/// Number of frames that are in the queue's index and were not copied: a damaged page may hide rows without an error.
async fn indexed_alone(
    from: &mut SqliteConnection,
    into: &mut SqliteConnection,
) -> Result<u64, SpoolError> {
    let mut alone = HashSet::new();
    // From both ends, so that a damaged page of the index hides only its own entries.
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

/// Binds a column's value, if it has a type that a spool uses.
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

/// The first and last `seq` that a table may have, and its largest possible number of rows. The first is that of the
/// first readable row, the last is the last number that was ever assigned.
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
    let most = bytes.unwrap_or(0) / MIN_ROW_BYTES;
    // Not from 1: years of frames may have left.
    let first = first.unwrap_or(last.saturating_sub(most)).max(1);
    (first, last, most.unsigned_abs())
}

/// Copies the notes of taken files, up to the first that cannot be read.
async fn copy_taken(
    from: &mut SqliteConnection,
    into: &mut SqliteConnection,
) -> Result<(u64, u64), SpoolError> {
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
            Err(error) if is_constraint(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((copied, 0))
}
