//! The SQL in which the two databases differ. Everything else is the same text for both.

/// Pieces of SQL for one database.
#[derive(Debug)]
pub(super) struct Dialect {
    /// Begins a transaction that writes.
    pub(super) begin: &'static str,
    /// The database's clock, in milliseconds since the Unix epoch.
    pub(super) now_ms: &'static str,
    /// Suffix that keeps a selected row for the transaction.
    pub(super) row_lock: &'static str,
    /// Columns `label` and `score` of a frame's likeliest class, which is the first that is written.
    pub(super) likeliest_class: &'static str,
    /// Condition for queued frames that are taken before the one of number `$1`, which is live or not (`$2`).
    pub(super) taken_before: &'static str,
    /// A program's id in hexadecimal digits.
    pub(super) program_hex: &'static str,
    /// Hint to use the index of means over time.
    pub(super) history_index: &'static str,
    /// The column with the time from which a queued frame may be taken, or at which it was offered.
    pub(super) due_column: &'static str,
    /// The value of that column for a frame that has just been queued.
    pub(super) due_now: &'static str,
}

/// SQLite: one file, one process.
pub(super) static SQLITE: Dialect = Dialect {
    begin: "BEGIN IMMEDIATE",
    now_ms: "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
    row_lock: "",
    likeliest_class: "label_scores ->> '$[0].label' AS label, CAST(label_scores ->> '$[0].score' AS REAL) AS score",
    taken_before: "((received_ms - captured_ms <= 60000 AND (NOT $2 OR seq > $1))
        OR (received_ms - captured_ms > 60000 AND NOT $2 AND seq < $1))",
    program_hex: "lower(hex(program_id))",
    history_index: " INDEXED BY frames_history",
    due_column: "not_before_ms",
    due_now: "0",
};

/// PostgreSQL: one database, any number of processes.
pub(super) static POSTGRES: Dialect = Dialect {
    begin: "BEGIN",
    now_ms: POSTGRES_NOW_MS,
    row_lock: " FOR UPDATE",
    likeliest_class: "label_scores::jsonb -> 0 ->> 'label' AS label,
        (label_scores::jsonb -> 0 ->> 'score')::DOUBLE PRECISION AS score",
    taken_before: "((received_ms - captured_ms <= 60000 AND (NOT $2 OR seq < $1))
        OR (received_ms - captured_ms > 60000 AND NOT $2 AND seq < $1))",
    program_hex: "encode(program_id, 'hex')",
    history_index: "",
    due_column: "offered_ms",
    due_now: POSTGRES_NOW_MS,
};

const POSTGRES_NOW_MS: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
