//! A statement for either database.

use sqlx::{
    Any, Arguments as _, AssertSqlSafe, Encode, Executor, FromRow, Type,
    any::{AnyArguments, AnyRow},
};

use super::CatalogueError;

/// SQL text and the values of its `$1`, `$2` and so on. Values never become text.
pub(super) struct Statement {
    text: String,
    values: AnyArguments,
    prepared_once: bool,
}

/// A statement that begins with this text.
pub(super) fn sql(text: &str) -> Statement {
    Statement {
        text: text.to_owned(),
        values: AnyArguments::default(),
        prepared_once: false,
    }
}

impl Statement {
    /// Adds text at the end.
    pub(super) fn push(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Gives the next `$n` its value.
    pub(super) fn bind<'v>(mut self, value: impl Encode<'v, Any> + Type<Any>) -> Self {
        let added = self.values.add(value);
        added.expect("numbers, text and bytes can always be passed");
        self
    }

    /// Adds a `$n` at the end of the text, with its value.
    pub(super) fn value<'v>(self, value: impl Encode<'v, Any> + Type<Any>) -> Self {
        let bound = self.bind(value);
        let number = bound.values.len();
        bound.push(&format!("${number}"))
    }

    /// Adds a comma and a value, for lists of values.
    pub(super) fn next<'v>(self, value: impl Encode<'v, Any> + Type<Any>) -> Self {
        self.push(", ").value(value)
    }

    /// Keeps the connection from reusing the prepared statement. This is for statements that bind floating-point
    /// numbers which may be absent: sqlx's `Any` driver passes an absent one as `float4`, and PostgreSQL would then
    /// refuse a present one of 8 bytes.
    pub(super) fn prepared_once(mut self) -> Self {
        self.prepared_once = true;
        self
    }

    /// All rows.
    pub(super) async fn rows<'c, T>(
        self,
        on: impl Executor<'c, Database = Any>,
    ) -> Result<Vec<T>, CatalogueError>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        let query = sqlx::query_as_with(AssertSqlSafe(self.text), self.values);
        let rows = query.persistent(!self.prepared_once).fetch_all(on);
        Ok(rows.await?)
    }

    /// The first row, if there is one.
    pub(super) async fn row<'c, T>(
        self,
        on: impl Executor<'c, Database = Any>,
    ) -> Result<Option<T>, CatalogueError>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        let query = sqlx::query_as_with(AssertSqlSafe(self.text), self.values);
        let row = query.persistent(!self.prepared_once).fetch_optional(on);
        Ok(row.await?)
    }

    /// Runs the statement for its changes.
    pub(super) async fn execute<'c>(
        self,
        on: impl Executor<'c, Database = Any>,
    ) -> Result<(), CatalogueError> {
        let query = sqlx::query_with(AssertSqlSafe(self.text), self.values);
        query.persistent(!self.prepared_once).execute(on).await?;
        Ok(())
    }
}
