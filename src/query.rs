//! Every statement that the crate sends, and nothing else: no policy.

use crate::schema::dbsemaphore::{semaphore, ticket};
use diesel::{
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{Array, BigInt, Bool, Integer, Nullable, Text},
};

mod functions {
    use diesel::sql_types::{BigInt, Bool, Integer, Text};

    #[diesel::declare_sql_function]
    extern "SQL" {
        #[sql_name = "pg_catalog.current_setting"]
        fn current_setting(name: Text, missing_ok: Bool) -> Nullable<Text>;
        #[sql_name = "pg_catalog.set_config"]
        fn set_config(name: Text, value: Text, is_local: Bool) -> Text;
        #[sql_name = "pg_catalog.pg_is_in_recovery"]
        fn pg_is_in_recovery() -> Bool;
        // Those that return void are declared with any type, and executed without reading it.
        #[sql_name = "pg_catalog.pg_advisory_xact_lock"]
        fn pg_advisory_xact_lock(key: BigInt) -> Bool;
        #[sql_name = "dbsemaphore.leave"]
        fn leave() -> Bool;
        #[sql_name = "dbsemaphore.attend_client"]
        fn attend_client() -> Text;
        #[sql_name = "dbsemaphore.retire"]
        fn retire(semaphore: BigInt, surplus: Integer) -> Bool;
    }
}

/// What the server is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) semaphore: &'a str,
    pub(crate) tickets: i32,
    /// In seconds. None: the transaction is the caller's, whose settings are left alone.
    pub(crate) host_timeout: Option<i32>,
}

/// What the server's functions `dbsemaphore.acquire` and `dbsemaphore.wait` answer.
#[derive(Queryable)]
pub(crate) struct Acquired {
    /// None: there is no such semaphore.
    pub(crate) semaphore: Option<i64>,
    /// None: too few were free.
    pub(crate) tickets: Option<Vec<i64>>,
    /// Of these tickets.
    pub(crate) token: Option<i64>,
    /// After a refusal of several: how many the semaphore has, counted up to the number asked for.
    pub(crate) size: Option<i32>,
}

type Answer = (
    Nullable<BigInt>,
    Nullable<Array<BigInt>>,
    Nullable<BigInt>,
    Nullable<Integer>,
);

/// The hot statements. Fragments of our own, because Diesel caches the prepared statements of these, and not those of
/// `sql_query`.
struct Acquire<'a>(Ask<'a>);

struct Wait<'a> {
    ask: Ask<'a>,
    milliseconds: Option<i64>,
}

impl Ask<'_> {
    fn walk_ast<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_bind_param::<Text, _>(self.semaphore)?;
        out.push_sql(", ");
        out.push_bind_param::<Integer, _>(&self.tickets)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Integer>, _>(&self.host_timeout)
    }
}

impl QueryFragment<Pg> for Acquire<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT semaphore, tickets, token, size FROM dbsemaphore.acquire(");
        self.0.walk_ast(&mut out)?;
        out.push_sql(")");
        Ok(())
    }
}

impl QueryFragment<Pg> for Wait<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT semaphore, tickets, token, size FROM dbsemaphore.wait(");
        self.ask.walk_ast(&mut out)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<BigInt>, _>(&self.milliseconds)?;
        out.push_sql(")");
        Ok(())
    }
}

// By hand: the derive takes no lifetimes.
impl QueryId for Acquire<'_> {
    type QueryId = Acquire<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryId for Wait<'_> {
    type QueryId = Wait<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for Acquire<'_> {
    type SqlType = Answer;
}

impl Query for Wait<'_> {
    type SqlType = Answer;
}

impl RunQueryDsl<PgConnection> for Acquire<'_> {}
impl RunQueryDsl<PgConnection> for Wait<'_> {}

pub(crate) fn acquire(conn: &mut PgConnection, ask: Ask<'_>) -> QueryResult<Acquired> {
    Acquire(ask).get_result(conn)
}

/// Blocks for as long as that; None is for ever.
pub(crate) fn wait(
    conn: &mut PgConnection,
    ask: Ask<'_>,
    milliseconds: Option<i64>,
) -> QueryResult<Acquired> {
    Wait { ask, milliseconds }.get_result(conn)
}

/// Gives back the places in line that an error may have left behind.
pub(crate) fn leave(conn: &mut PgConnection) -> QueryResult<()> {
    diesel::select(functions::leave()).execute(conn).map(drop)
}

/// Until the transaction ends, the server looks each second whether its client is still there. Returns how often it did
/// before.
pub(crate) fn attend_client(conn: &mut PgConnection) -> QueryResult<String> {
    let before = functions::current_setting("client_connection_check_interval", true);
    let (before, _): (Option<String>, String) =
        diesel::select((before, functions::attend_client())).get_result(conn)?;
    Ok(before.unwrap_or_default())
}

pub(crate) fn restore_client_check(conn: &mut PgConnection, before: &str) -> QueryResult<()> {
    let restore = functions::set_config("client_connection_check_interval", before, true);
    diesel::select(restore).execute(conn).map(drop)
}

/// What this transaction holds, as the server's function `dbsemaphore.acquire` noted it: ' semaphore=ticket,ticket:token'
/// for each semaphore.
pub(crate) fn held(conn: &mut PgConnection) -> QueryResult<String> {
    let held: Option<String> =
        diesel::select(functions::current_setting("dbsemaphore.held", true)).get_result(conn)?;
    Ok(held.unwrap_or_default())
}

pub(crate) fn semaphore_id(conn: &mut PgConnection, name: &str) -> QueryResult<Option<i64>> {
    semaphore::table
        .filter(semaphore::name.eq(name))
        .select(semaphore::id)
        .first(conn)
        .optional()
}

/// None if another transaction has just created it. Its tickets are still to be added.
pub(crate) fn create_semaphore(
    conn: &mut PgConnection,
    name: &str,
    size: i32,
) -> QueryResult<Option<i64>> {
    diesel::insert_into(semaphore::table)
        .values((semaphore::name.eq(name), semaphore::slots.eq(size)))
        .on_conflict(semaphore::name)
        .do_nothing()
        .returning(semaphore::id)
        .get_result(conn)
        .optional()
}

/// Keeps others from resizing this semaphore until the transaction ends, and nobody from anything else. It is an
/// update, and not a lock alone, so that a resize whose snapshot is too old to see the last one fails.
pub(crate) fn lock_semaphore(conn: &mut PgConnection, name: &str) -> QueryResult<Option<i64>> {
    diesel::update(semaphore::table.filter(semaphore::name.eq(name)))
        .set(semaphore::resized_at.eq(diesel::dsl::now))
        .returning(semaphore::id)
        .get_result(conn)
        .optional()
}

pub(crate) fn count_tickets(conn: &mut PgConnection, semaphore_id: i64) -> QueryResult<i64> {
    ticket::table
        .filter(ticket::semaphore_id.eq(semaphore_id))
        .count()
        .get_result(conn)
}

/// Adds tickets in the lowest free slots, so that slots stay dense. There are enough of them below `size`.
pub(crate) fn add_tickets(
    conn: &mut PgConnection,
    semaphore_id: i64,
    size: i32,
    missing: i64,
) -> QueryResult<usize> {
    diesel::sql_query(
        "INSERT INTO dbsemaphore.ticket (semaphore_id, slot) \
         SELECT $1, s.slot FROM pg_catalog.generate_series(0, $2 - 1) AS s (slot) \
         WHERE NOT EXISTS ( \
             SELECT FROM dbsemaphore.ticket t WHERE t.semaphore_id = $1 AND t.slot = s.slot) \
         ORDER BY s.slot LIMIT $3",
    )
    .bind::<BigInt, _>(semaphore_id)
    .bind::<Integer, _>(size)
    .bind::<BigInt, _>(missing)
    .execute(conn)
}

/// Waits until `surplus` tickets have come back, and deletes them.
pub(crate) fn retire_tickets(
    conn: &mut PgConnection,
    semaphore_id: i64,
    surplus: i32,
) -> QueryResult<()> {
    diesel::select(functions::retire(semaphore_id, surplus))
        .execute(conn)
        .map(drop)
}

/// Writes down in which slots tickets are to be looked for, after `size` of them are left.
pub(crate) fn note_slots(
    conn: &mut PgConnection,
    semaphore_id: i64,
    size: i32,
) -> QueryResult<usize> {
    let last: Option<i32> = ticket::table
        .filter(ticket::semaphore_id.eq(semaphore_id))
        .select(diesel::dsl::max(ticket::slot))
        .get_result(conn)?;
    let slots = last.map_or(0, |last| last + 1);
    diesel::update(semaphore::table.find(semaphore_id))
        .set((
            semaphore::slots.eq(slots),
            semaphore::dense.eq(slots / 4 <= size),
        ))
        .execute(conn)
}

pub(crate) fn delete_semaphore(conn: &mut PgConnection, semaphore_id: i64) -> QueryResult<usize> {
    diesel::delete(semaphore::table.find(semaphore_id)).execute(conn)
}

pub(crate) fn sizes(conn: &mut PgConnection) -> QueryResult<Vec<(String, i64)>> {
    semaphore::table
        .left_join(ticket::table)
        .group_by(semaphore::name)
        .select((semaphore::name, diesel::dsl::count(ticket::id.nullable())))
        .load(conn)
}

pub(crate) fn is_standby(conn: &mut PgConnection) -> QueryResult<bool> {
    diesel::select(functions::pg_is_in_recovery()).get_result(conn)
}

/// Whether the tables are there. Asks the catalog, which everybody may read.
pub(crate) fn is_migrated(conn: &mut PgConnection) -> QueryResult<bool> {
    has_table(conn, "semaphore")
}

pub(crate) fn has_table(conn: &mut PgConnection, name: &str) -> QueryResult<bool> {
    diesel::select(diesel::dsl::sql::<Bool>(
        "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'dbsemaphore' AND c.relname = ",
    )
    .bind::<Text, _>(name)
    .sql(")"))
    .get_result(conn)
}

pub(crate) fn has_schema(conn: &mut PgConnection) -> QueryResult<bool> {
    diesel::select(diesel::dsl::sql::<Bool>(
        "EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'dbsemaphore')",
    ))
    .get_result(conn)
}

/// Until the transaction ends.
pub(crate) fn advisory_lock(conn: &mut PgConnection, key: i64) -> QueryResult<()> {
    diesel::select(functions::pg_advisory_xact_lock(key))
        .execute(conn)
        .map(drop)
}

/// Sets the search path until the transaction ends, and returns what it was.
pub(crate) fn swap_search_path(conn: &mut PgConnection, path: &str) -> QueryResult<String> {
    let before: Option<String> =
        diesel::select(functions::current_setting("search_path", true)).get_result(conn)?;
    diesel::select(functions::set_config("search_path", path, true)).get_result::<String>(conn)?;
    Ok(before.unwrap_or_default())
}
