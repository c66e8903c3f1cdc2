//! The steps that bring an older spool's schema up to date. Their texts are compiled in; a step that has run is never
//! changed.

use sqlx::migrate::{Migration, MigrationType::Simple, Migrator};

const STEPS: [(i64, &str, &str); 2] = [
    (1, "spool", include_str!("../../migrations/0001_spool.sql")),
    (2, "taken", include_str!("../../migrations/0002_taken.sql")),
];

/// Runs each step in a transaction of its own.
pub(super) fn migrator() -> Migrator {
    let made = STEPS.map(|(number, name, sql)| {
        Migration::new(
            number,
            name.into(),
            Simple,
            sqlx::SqlSafeStr::into_sql_str(sql),
            false,
        )
    });
    Migrator::with_migrations(made.into())
}
