//! Looks for damage in the file.

use sqlx::{
    ConnectOptions as _, Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions,
};

use super::{error::SpoolError, first_page};

/// Most problems that are reported.
const MAX_PROBLEMS: u32 = 5;

/// Problems that SQLite finds in a database; empty when it is whole.
///
/// # Errors
/// The file cannot be read at all.
pub(super) async fn problems(
    connection: &mut SqliteConnection,
) -> Result<Vec<String>, sqlx::Error> {
    let sql = format!("PRAGMA integrity_check({MAX_PROBLEMS})");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .fetch_all(connection)
        .await?;
    let lines = rows.iter().map(|row| row.get::<String, _>(0));
    Ok(lines.filter(|line| line != "ok").collect())
}

/// Whether the file is whole: its schema, and with `all`, every page.
///
/// # Errors
/// The file cannot be opened for another reason than damage.
pub(super) async fn is_whole(
    options: &SqliteConnectOptions,
    all: bool,
) -> Result<bool, SpoolError> {
    let look = async {
        let mut connection = options.connect().await?;
        let mut wrong = Vec::new();
        if !first_page::has_schema(&mut connection).await? {
            wrong.push("its schema is not that of a spool".to_owned());
        }
        if all {
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
