//! The hot statements, and what belongs to waiting.

use super::server::{current_setting, pg_current_xact_id_if_assigned, set_config};
use diesel::{
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Integer, Nullable, Text},
};

mod functions {
    use diesel::sql_types::*;

    // Those that return void are declared with any type, and executed without reading it.
    #[diesel::declare_sql_function]
    extern "SQL" {
        #[sql_name = "dbsemaphore.leave"]
        fn leave() -> Bool;
        #[sql_name = "dbsemaphore.attend_client"]
        fn attend_client() -> Text;
        #[sql_name = "dbsemaphore._cancel_wait"]
        fn cancel_wait(cancellation: BigInt) -> Bool;
    }
}

/// What the server is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) semaphore: &'a str,
    pub(crate) tickets: i32,
    /// In seconds. None: the transaction is the caller's, whose settings are left alone.
    pub(crate) host_timeout: Option<i32>,
    pub(crate) label: Option<&'a str>,
}

/// What the server's functions `dbsemaphore.acquire` and `dbsemaphore.wait` answer.
pub(crate) enum Answer {
    UnknownSemaphore,
    /// Too few are free. `size`, after a refusal of several: how many there are, counted up to the number asked for.
    Refused {
        size: Option<u32>,
    },
    Granted {
        token: i64,
        tickets: Vec<i64>,
    },
}

impl Answer {
    /// As they send it: see there.
    fn read(sent: Option<String>) -> Self {
        let Some(sent) = sent else {
            return Self::UnknownSemaphore;
        };
        let numbers: Vec<i64> = sent
            .trim_matches(['{', '}'])
            .split(',')
            .filter_map(|number| number.parse().ok())
            .collect();
        match numbers[..] {
            [_, token, ref tickets @ ..] if !tickets.is_empty() => Self::Granted {
                token,
                tickets: tickets.to_vec(),
            },
            [_, size] => Self::Refused {
                size: u32::try_from(size).ok(),
            },
            _ => Self::Refused { size: None },
        }
    }
}

/// The hot statements. Fragments of our own, because Diesel caches the prepared statements of these, and not those of
/// `sql_query`.
struct Acquire<'a>(Ask<'a>);

/// The same for the simplest and most frequent [`Ask`].
struct AcquireOne<'a>(Ask<'a>);

struct Wait<'a> {
    ask: Ask<'a>,
    milliseconds: Option<i64>,
    /// By which the wait can be cancelled.
    id: i64,
}

impl Ask<'_> {
    fn is_for_one(&self) -> bool {
        self.tickets == 1 && self.label.is_none()
    }

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

impl QueryFragment<Pg> for Acquire<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT dbsemaphore.acquire(");
        self.0.walk_ast(&mut out)?;
        out.push_sql(")");
        Ok(())
    }
}

impl QueryFragment<Pg> for AcquireOne<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT dbsemaphore.acquire_one(");
        out.push_bind_param::<Text, _>(self.0.semaphore)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Integer>, _>(&self.0.host_timeout)?;
        out.push_sql(")");
        Ok(())
    }
}

impl QueryFragment<Pg> for Wait<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT dbsemaphore.wait(");
        self.ask.walk_ast(&mut out)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.milliseconds)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.id)?;
        out.push_sql(")");
        Ok(())
    }
}

// By hand: the derive takes no lifetimes.
impl QueryId for Acquire<'_> {
    type QueryId = Acquire<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryId for AcquireOne<'_> {
    type QueryId = AcquireOne<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryId for Wait<'_> {
    type QueryId = Wait<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for Acquire<'_> {
    type SqlType = Nullable<Text>;
}

impl Query for AcquireOne<'_> {
    type SqlType = Nullable<Text>;
}

impl Query for Wait<'_> {
    type SqlType = Nullable<Text>;
}

impl RunQueryDsl<PgConnection> for Acquire<'_> {}
impl RunQueryDsl<PgConnection> for AcquireOne<'_> {}
impl RunQueryDsl<PgConnection> for Wait<'_> {}

pub(crate) fn acquire(conn: &mut PgConnection, ask: Ask<'_>) -> QueryResult<Answer> {
    let answer = if ask.is_for_one() {
        AcquireOne(ask).get_result(conn)
    } else {
        Acquire(ask).get_result(conn)
    };
    answer.map(Answer::read)
}

/// Blocks for as long as that; None is for ever.
pub(crate) fn wait(
    conn: &mut PgConnection,
    ask: Ask<'_>,
    milliseconds: Option<i64>,
    id: u32,
) -> QueryResult<Answer> {
    let id = i64::from(id);
    Wait {
        ask,
        milliseconds,
        id,
    }
    .get_result(conn)
    .map(Answer::read)
}

/// Cancels the waits with this number; whether there was one.
pub(crate) fn cancel_wait(conn: &mut PgConnection, id: u32) -> QueryResult<bool> {
    diesel::select(functions::cancel_wait(i64::from(id))).get_result(conn)
}

/// Gives back the places in line that an error may have left behind.
pub(crate) fn leave(conn: &mut PgConnection) -> QueryResult<()> {
    diesel::select(functions::leave()).execute(conn).map(drop)
}

/// Until the transaction ends, the server looks each second whether its client is still there. Returns how often it did
/// before.
pub(crate) fn attend_client(conn: &mut PgConnection) -> QueryResult<String> {
    let before = current_setting("client_connection_check_interval", true);
    let (before, _): (Option<String>, String) =
        diesel::select((before, functions::attend_client())).get_result(conn)?;
    Ok(before.unwrap_or_default())
}

pub(crate) fn restore_client_check(conn: &mut PgConnection, before: &str) -> QueryResult<()> {
    let restore = set_config("client_connection_check_interval", before, true);
    diesel::select(restore).execute(conn).map(drop)
}

/// Whether the transaction has locked or written anything, and is still going on.
pub(crate) fn is_under_way(conn: &mut PgConnection) -> QueryResult<bool> {
    let number: Option<i64> = diesel::select(pg_current_xact_id_if_assigned()).get_result(conn)?;
    Ok(number.is_some())
}
