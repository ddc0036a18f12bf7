//! What resizes, destroys and lists semaphores.

use crate::schema::dbsemaphore::{semaphore, ticket};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Integer, Nullable},
};

#[diesel::declare_sql_function]
extern "SQL" {
    /// Returns void; to be executed without reading what it returns.
    #[sql_name = "dbsemaphore.retire"]
    fn retire(semaphore: BigInt, surplus: Integer) -> Bool;
    #[sql_name = "dbsemaphore._check_row_security"]
    fn check_row_security_function(to_lock: Bool) -> Bool;
    /// PostgreSQL's own takes any type, so in a search path one of somebody's that takes this type would come first.
    #[aggregate]
    #[sql_name = "pg_catalog.count"]
    fn count(id: Nullable<BigInt>) -> BigInt;
}

/// Fails if row level security may hide rows from this role.
pub(crate) fn check_row_security(conn: &mut PgConnection, to_lock: bool) -> QueryResult<()> {
    diesel::select(check_row_security_function(to_lock))
        .execute(conn)
        .map(drop)
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
    diesel::select(retire(semaphore_id, surplus))
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
        .select((semaphore::name, count(ticket::id.nullable())))
        .load(conn)
}
