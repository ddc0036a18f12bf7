//! The statements that create, resize, destroy and list semaphores.

use super::{queue, server, transaction::in_write_transaction};
use crate::{
    Result,
    backend::{SizeChange, transaction::in_read_scope},
    schema::dbsemaphore::{semaphore, ticket},
};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Integer, Nullable},
};

#[diesel::declare_sql_function]
extern "SQL" {
    #[sql_name = "dbsemaphore._current_timeline"]
    fn current_timeline() -> Integer;
    #[sql_name = "dbsemaphore._current_system_identifier"]
    fn current_system_identifier() -> BigInt;
    #[sql_name = "dbsemaphore._check_row_security"]
    fn check_row_security_function(to_write: Bool) -> Bool;
    /// Qualified: a function of this argument type in the search path would precede PostgreSQL's own, which accepts any
    /// type.
    #[aggregate]
    #[sql_name = "pg_catalog.count"]
    fn count(id: Nullable<BigInt>) -> BigInt;
}

/// Fails if row level security may hide rows from this role.
pub(super) fn check_row_security(conn: &mut PgConnection, to_write: bool) -> QueryResult<()> {
    diesel::select(check_row_security_function(to_write))
        .execute(conn)
        .map(drop)
}

pub(super) fn semaphore_id(conn: &mut PgConnection, name: &str) -> QueryResult<Option<i64>> {
    semaphore::table
        .filter(semaphore::name.eq(name))
        .select(semaphore::id)
        .first(conn)
        .optional()
}

/// Creates a semaphore without tickets. Returns `None` if another transaction has just created it.
fn create_semaphore(conn: &mut PgConnection, name: &str, size: i32) -> QueryResult<Option<i64>> {
    diesel::insert_into(semaphore::table)
        .values((
            semaphore::name.eq(name),
            semaphore::slot_bound.eq(size),
            semaphore::system_identifier.eq(current_system_identifier()),
            semaphore::timeline.eq(current_timeline()),
            semaphore::epoch.eq(current_timeline()),
        ))
        .on_conflict(semaphore::name)
        .do_nothing()
        .returning(semaphore::id)
        .get_result(conn)
        .optional()
}

/// Delays other resizes of this semaphore until the transaction ends, and nothing else. An update instead of a lock, so
/// that a resize fails if its snapshot is older than the last resize.
fn lock_semaphore(conn: &mut PgConnection, name: &str) -> QueryResult<Option<i64>> {
    diesel::update(semaphore::table.filter(semaphore::name.eq(name)))
        .set(semaphore::resized_at.eq(diesel::dsl::now))
        .returning(semaphore::id)
        .get_result(conn)
        .optional()
}

fn count_tickets(conn: &mut PgConnection, semaphore_id: i64) -> QueryResult<i64> {
    ticket::table
        .filter(ticket::semaphore_id.eq(semaphore_id))
        .count()
        .get_result(conn)
}

/// Adds tickets in the lowest unused slots, so that slots remain dense. There are enough unused slots below `size`.
fn add_tickets(
    conn: &mut PgConnection,
    semaphore_id: i64,
    size: i32,
    add_count: i64,
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
    .bind::<BigInt, _>(add_count)
    .execute(conn)
}

/// Updates `slot_bound` to one more than the highest slot.
fn update_slot_bound(conn: &mut PgConnection, semaphore_id: i64) -> QueryResult<usize> {
    let last: Option<i32> = ticket::table
        .filter(ticket::semaphore_id.eq(semaphore_id))
        .select(diesel::dsl::max(ticket::slot))
        .get_result(conn)?;
    diesel::update(semaphore::table.find(semaphore_id))
        .set(semaphore::slot_bound.eq(last.map_or(0, |last| last + 1)))
        .execute(conn)
}

fn delete_semaphore(conn: &mut PgConnection, semaphore_id: i64) -> QueryResult<usize> {
    diesel::delete(semaphore::table.find(semaphore_id)).execute(conn)
}

fn load_sizes(conn: &mut PgConnection) -> QueryResult<Vec<(String, i64)>> {
    semaphore::table
        .left_join(ticket::table)
        .group_by(semaphore::name)
        .select((semaphore::name, count(ticket::id.nullable())))
        .load(conn)
}

pub(super) fn ensure(conn: &mut PgConnection, name: &str, size: i32) -> Result<bool> {
    if in_read_scope(conn, |conn| Ok(semaphore_id(conn, name)?))?.is_some() {
        return Ok(false);
    }
    in_write_transaction(conn, |conn| {
        check_row_security(conn, true)?;
        create(conn, name, size)
    })
}

pub(super) fn make(conn: &mut PgConnection, name: &str, size: i32) -> Result<Option<SizeChange>> {
    in_write_transaction(conn, |conn| {
        check_row_security(conn, true)?;
        loop {
            if let Some(id) = lock_semaphore(conn, name)? {
                server::record_move(conn, &[id])?;
                return Ok(resize(conn, id, size)?.then_some(SizeChange::Resized));
            }
            if create(conn, name, size)? {
                return Ok(Some(SizeChange::Created));
            }
            // Another transaction has created it between the two. PostgreSQL raises an error under a snapshot that can't see it.
        }
    })
}

pub(super) fn destroy(conn: &mut PgConnection, name: &str) -> Result<bool> {
    in_write_transaction(conn, |conn| {
        check_row_security(conn, true)?;
        let Some(id) = lock_semaphore(conn, name)? else {
            return Ok(false);
        };
        resize(conn, id, 0)?;
        delete_semaphore(conn, id)?;
        Ok(true)
    })
}

pub(super) fn list(conn: &mut PgConnection) -> Result<Vec<(String, i64)>> {
    in_read_scope(conn, |conn| {
        check_row_security(conn, false)?;
        Ok(load_sizes(conn)?)
    })
}

fn create(conn: &mut PgConnection, name: &str, size: i32) -> Result<bool> {
    let Some(id) = create_semaphore(conn, name, size)? else {
        return Ok(false);
    };
    add_tickets(conn, id, size, size.into())?;
    Ok(true)
}

/// Returns whether the size was another one. The semaphore is locked, so its size does not change meanwhile.
fn resize(conn: &mut PgConnection, id: i64, size: i32) -> Result<bool> {
    let difference = i64::from(size) - count_tickets(conn, id)?;
    if difference > 0 {
        add_tickets(conn, id, size, difference)?;
    } else if difference < 0 {
        let remove_count = i32::try_from(-difference).unwrap_or(i32::MAX);
        queue::remove_tickets(conn, id, remove_count)?;
    }
    update_slot_bound(conn, id)?;
    Ok(difference != 0)
}
