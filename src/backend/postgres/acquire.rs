//! The statements of acquisitions and of waiting.

use super::server::{current_setting, pg_current_xact_id_if_assigned, set_config};
use crate::backend::{AcquireOutcome, AcquireParams};
use diesel::{
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    result::Error as DieselError,
    sql_types::{BigInt, Integer, Nullable, Text},
};

mod functions {
    use diesel::sql_types::*;

    // Functions that return void are declared with any type, and their result is not read.
    #[diesel::declare_sql_function]
    extern "SQL" {
        #[sql_name = "dbsemaphore._enable_client_check"]
        fn enable_client_check() -> Text;
        #[sql_name = "dbsemaphore._cancel_wait"]
        fn cancel_wait(cancellation: BigInt) -> Bool;
    }
}

/// Parses the answer of the functions `_try_acquire` and `_acquire`. Returns `None` for any other answer.
fn parse(answer: &str) -> Option<AcquireOutcome> {
    let words: Vec<&str> = answer.split(' ').collect();
    Some(match words[..] {
        ["acquired", token, tickets] => AcquireOutcome::Acquired {
            token: token.parse().ok()?,
            tickets: tickets
                .split(',')
                .map(|id| id.parse().ok())
                .collect::<Option<_>>()?,
        },
        ["unavailable"] => AcquireOutcome::Unavailable,
        ["too_few", size] => AcquireOutcome::TooFew {
            size: size.parse().ok()?,
        },
        ["unknown"] => AcquireOutcome::UnknownSemaphore,
        _ => return None,
    })
}

/// A query fragment of its own, because Diesel caches the prepared statement of a fragment, but not that of
/// `sql_query`.
struct TryAcquire<'a>(AcquireParams<'a>);

struct Acquire<'a> {
    params: AcquireParams<'a>,
    timeout_ms: Option<i64>,
    /// The number by which the wait can be cancelled.
    cancellation: i64,
}

impl AcquireParams<'_> {
    fn walk_ast<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_bind_param::<Text, _>(self.semaphore)?;
        out.push_sql(", ");
        out.push_bind_param::<Integer, _>(&self.tickets)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Integer>, _>(&self.host_timeout)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Text>, _>(&self.label)
    }
}

impl QueryFragment<Pg> for TryAcquire<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT dbsemaphore._try_acquire(");
        self.0.walk_ast(&mut out)?;
        out.push_sql(")");
        Ok(())
    }
}

impl QueryFragment<Pg> for Acquire<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT dbsemaphore._acquire(");
        self.params.walk_ast(&mut out)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.timeout_ms)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.cancellation)?;
        out.push_sql(")");
        Ok(())
    }
}

// Written by hand, because the derive supports no lifetimes.
impl QueryId for TryAcquire<'_> {
    type QueryId = TryAcquire<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryId for Acquire<'_> {
    type QueryId = Acquire<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for TryAcquire<'_> {
    type SqlType = Text;
}

impl Query for Acquire<'_> {
    type SqlType = Text;
}

impl RunQueryDsl<PgConnection> for TryAcquire<'_> {}
impl RunQueryDsl<PgConnection> for Acquire<'_> {}

/// Tries to acquire. Does not block.
pub(super) fn try_acquire(
    conn: &mut PgConnection,
    params: AcquireParams<'_>,
) -> QueryResult<AcquireOutcome> {
    outcome(&TryAcquire(params).get_result::<String>(conn)?)
}

/// Waits for up to `timeout_ms`, without limit if None.
pub(super) fn acquire(
    conn: &mut PgConnection,
    params: AcquireParams<'_>,
    timeout_ms: Option<i64>,
    cancellation: u32,
) -> QueryResult<AcquireOutcome> {
    let acquire = Acquire {
        params,
        timeout_ms,
        cancellation: i64::from(cancellation),
    };
    outcome(&acquire.get_result::<String>(conn)?)
}

fn outcome(answer: &str) -> QueryResult<AcquireOutcome> {
    parse(answer).ok_or_else(|| {
        DieselError::DeserializationError(
            format!("the functions of the schema dbsemaphore do not match this version of the crate: their answer is {answer:?}")
                .into(),
        )
    })
}

/// Cancels the waits with this number. Returns whether there was one.
pub(super) fn cancel_wait(conn: &mut PgConnection, cancellation: u32) -> QueryResult<bool> {
    diesel::select(functions::cancel_wait(i64::from(cancellation))).get_result(conn)
}

/// Lets the server check whether its client is connected, until the transaction ends. Returns the former value of the
/// setting.
pub(super) fn enable_client_check(conn: &mut PgConnection) -> QueryResult<String> {
    let before = current_setting("client_connection_check_interval", true);
    let (before, _): (Option<String>, String) =
        diesel::select((before, functions::enable_client_check())).get_result(conn)?;
    Ok(before.unwrap_or_default())
}

pub(super) fn restore_client_check(conn: &mut PgConnection, before: &str) -> QueryResult<()> {
    let restore = set_config("client_connection_check_interval", before, true);
    diesel::select(restore).execute(conn).map(drop)
}

/// Returns whether a transaction with a number is running: one that has locked or written something.
pub(super) fn has_transaction_id(conn: &mut PgConnection) -> QueryResult<bool> {
    let number: Option<i64> = diesel::select(pg_current_xact_id_if_assigned()).get_result(conn)?;
    Ok(number.is_some())
}

#[cfg(test)]
mod tests {
    use super::{AcquireOutcome, parse};

    #[test]
    fn answers_are_parsed_strictly() {
        assert_eq!(
            parse("acquired -7 3,4"),
            Some(AcquireOutcome::Acquired {
                token: -7,
                tickets: vec![3, 4]
            })
        );
        assert_eq!(parse("unavailable"), Some(AcquireOutcome::Unavailable));
        assert_eq!(parse("too_few 3"), Some(AcquireOutcome::TooFew { size: 3 }));
        assert_eq!(parse("unknown"), Some(AcquireOutcome::UnknownSemaphore));
        for wrong in [
            "",
            "acquired",
            "acquired 7",
            "acquired 7 ",
            "acquired 7 3,",
            "acquired 7 3 4",
            "acquired x 3",
            "unavailable ",
            "too_few -1",
            "{1,2,3}",
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
