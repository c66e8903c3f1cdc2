//! Rows to structs by the names of the columns.
//!
//! The derive of sqlx does the same, but its macro crate builds both database drivers and the TLS library a second
//! time.

/// Implements [`sqlx::FromRow`] for a struct whose fields have the names of the columns. Fields behind `flatten` are
/// read from the same row by their own implementation.
macro_rules! from_row {
    ($name:ident: $($field:ident),* $(; flatten $inner:ident)?) => {
        impl sqlx::FromRow<'_, sqlx::any::AnyRow> for $name {
            fn from_row(row: &sqlx::any::AnyRow) -> sqlx::Result<Self> {
                Ok(Self {
                    $($field: sqlx::Row::try_get(row, stringify!($field))?,)*
                    $($inner: sqlx::FromRow::from_row(row)?,)?
                })
            }
        }
    };
}

pub(super) use from_row;
