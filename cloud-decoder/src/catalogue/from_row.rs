//! Rows to structs by the names of the columns, for both databases.
//!
//! The derive of sqlx does the same, but its macro crate builds both database drivers and the TLS library a second time.

/// Implements [`sqlx::FromRow`] for a struct whose fields have the names of the columns. Fields behind `flatten` are read
/// from the same row by their own implementation.
macro_rules! from_row {
    ($name:ident: $($field:ident),* $(; flatten $inner:ident)?) => {
        $crate::catalogue::from_row::from_row!(sqlx::sqlite::SqliteRow, $name, [$($field),*] $($inner)?);
        $crate::catalogue::from_row::from_row!(sqlx::postgres::PgRow, $name, [$($field),*] $($inner)?);
    };
    ($row:ty, $name:ident, [$($field:ident),*] $($inner:ident)?) => {
        impl sqlx::FromRow<'_, $row> for $name {
            fn from_row(row: &$row) -> sqlx::Result<Self> {
                Ok(Self {
                    $($field: sqlx::Row::try_get(row, stringify!($field))?,)*
                    $($inner: sqlx::FromRow::from_row(row)?,)?
                })
            }
        }
    };
}

pub(crate) use from_row;
