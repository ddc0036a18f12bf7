//! SQL with parameters, whose prepared statement Diesel caches.

/// Defines a statement. Diesel caches the prepared statement of a fragment, but not that of `sql_query`. The text is the same at
/// each call, with a `?` for each parameter.
macro_rules! statement {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty => $sql_type:ty),* $(,)? } -> $row:ty, $sql:expr) => {
        $(#[$doc])*
        struct $name<'a> {
            $($field: $type,)*
            lifetime: std::marker::PhantomData<&'a ()>,
        }

        impl<'a> $name<'a> {
            fn new($($field: $type),*) -> Self {
                Self { $($field,)* lifetime: std::marker::PhantomData }
            }
        }

        impl diesel::query_builder::QueryFragment<diesel::mysql::Mysql> for $name<'_> {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::mysql::Mysql>,
            ) -> diesel::result::QueryResult<()> {
                static SQL: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| $sql.into());
                let mut parts = SQL.split('?');
                out.push_sql(parts.next().unwrap_or_default());
                $(
                    out.push_bind_param::<$sql_type, _>(&self.$field)?;
                    out.push_sql(parts.next().unwrap_or_default());
                )*
                Ok(())
            }
        }

        // Written by hand, because the derive supports no lifetimes.
        impl diesel::query_builder::QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl diesel::query_builder::Query for $name<'_> {
            type SqlType = $row;
        }

        impl diesel::RunQueryDsl<diesel::MysqlConnection> for $name<'_> {}
    };
}
pub(super) use statement;

/// The end of a query for many rows, to which the session's `sql_select_limit` would apply otherwise.
pub(super) const ALL_ROWS: &str = "LIMIT 9223372036854775807";

/// A list of numbers as the JSON text that `JSON_TABLE` reads.
pub(super) fn json(numbers: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let mut text = String::from("[");
    for number in numbers {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&number.to_string());
    }
    text.push(']');
    text
}
