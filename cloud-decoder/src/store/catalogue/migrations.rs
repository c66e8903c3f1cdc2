//! The steps that bring an older schema up to date. Their texts are compiled in; a step that has run is never changed.

use sqlx::migrate::{Migration, MigrationType::Simple, Migrator};

type Step = (i64, &'static str, &'static str);

pub(super) const SQLITE: [Step; 8] = [
    (
        1,
        "frames",
        include_str!("../../../migrations/sqlite/0001_frames.sql"),
    ),
    (
        2,
        "retention",
        include_str!("../../../migrations/sqlite/0002_retention.sql"),
    ),
    (
        3,
        "dashboard",
        include_str!("../../../migrations/sqlite/0003_dashboard.sql"),
    ),
    (
        10,
        "traces",
        include_str!("../../../migrations/sqlite/0010_traces.sql"),
    ),
    (
        11,
        "analysis",
        include_str!("../../../migrations/sqlite/0011_analysis.sql"),
    ),
    (
        12,
        "store",
        include_str!("../../../migrations/sqlite/0012_store.sql"),
    ),
    (
        13,
        "decoder",
        include_str!("../../../migrations/sqlite/0013_decoder.sql"),
    ),
    (
        14,
        "codec",
        include_str!("../../../migrations/sqlite/0014_codec.sql"),
    ),
];

pub(super) const POSTGRES: [Step; 5] = [
    (
        1,
        "frames",
        include_str!("../../../migrations/postgres/0001_frames.sql"),
    ),
    (
        2,
        "analysis",
        include_str!("../../../migrations/postgres/0002_analysis.sql"),
    ),
    (
        3,
        "store",
        include_str!("../../../migrations/postgres/0003_store.sql"),
    ),
    (
        4,
        "decoder",
        include_str!("../../../migrations/postgres/0004_decoder.sql"),
    ),
    (
        5,
        "codec",
        include_str!("../../../migrations/postgres/0005_codec.sql"),
    ),
];

/// Runs these steps, each in a transaction of its own.
pub(super) fn migrator(steps: &[Step]) -> Migrator {
    let made = steps.iter().map(|&(number, name, sql)| {
        Migration::new(
            number,
            name.into(),
            Simple,
            sqlx::SqlSafeStr::into_sql_str(sql),
            false,
        )
    });
    Migrator::with_migrations(made.collect())
}
