//! The statements that create, resize, destroy and list semaphores.

use super::{
    callers_transaction::in_read_scope,
    errors::interrupted,
    fragment::json,
    queue,
    search::{self, Semaphore},
    transaction::in_write_transaction,
    wait::{HOST_TIMEOUT, Wait},
};
use crate::{
    Result,
    backend::{SizeChange, hint::with_hint},
    cancel,
    schema::mysql::{dbsemaphore_semaphore as semaphore, dbsemaphore_ticket as ticket},
};
use diesel::{
    dsl::{count_star, max, sql},
    prelude::*,
    result::{DatabaseErrorKind, Error as DieselError},
    sql_query,
    sql_types::{BigInt, Text, Timestamp},
};
use std::time::Instant;

/// How often `make` looks again after somebody else has created or destroyed the semaphore.
const MAX_RACES: usize = 10;

/// How many tickets one statement inserts or deletes.
const CHUNK: usize = 10_000;

/// Never the same for two resizes.
const LATER: &str = "GREATEST(NOW(6), resized_at + INTERVAL 1 MICROSECOND)";

pub(super) fn semaphore_id(conn: &mut MysqlConnection, name: &str) -> QueryResult<Option<i64>> {
    semaphore::table
        .filter(semaphore::name.eq(name))
        .select(semaphore::id)
        .first(conn)
        .optional()
}

/// Delays other resizes of this semaphore until the transaction ends, and nothing else: the lock is that of the row, not that of its
/// name, whose index has neighbours. Fails if the transaction's snapshot is older than the last resize: a lock is that of the latest
/// row, while the snapshot has the tickets of an older one.
fn lock_semaphore(conn: &mut MysqlConnection, name: &str) -> QueryResult<Option<Semaphore>> {
    let Some(id) = semaphore_id(conn, name)? else {
        return Ok(None);
    };
    let row = semaphore::table.find(id).select((
        semaphore::size,
        semaphore::slot_bound,
        sql::<Text>("CAST(resized_at AS char)"),
    ));
    let locked: Option<(i32, i32, String)> = row.clone().for_update().first(conn).optional()?;
    let seen: Option<(i32, i32, String)> = row.first(conn).optional()?;
    if locked != seen {
        return Err(old_snapshot());
    }
    Ok(locked.map(|(size, slot_bound, _)| Semaphore {
        id,
        size,
        slot_bound,
    }))
}

fn old_snapshot() -> DieselError {
    let message =
        "the semaphore was resized, created or destroyed after the snapshot of this transaction";
    DieselError::DatabaseError(
        DatabaseErrorKind::SerializationFailure,
        with_hint(
            Box::new(message.to_owned()),
            "run the transaction again".to_owned(),
        ),
    )
}

/// Returns false if there is one of that name.
fn create(conn: &mut MysqlConnection, name: &str, size: i32) -> Result<bool> {
    let created = diesel::insert_into(semaphore::table)
        .values((
            semaphore::name.eq(name),
            semaphore::size.eq(size),
            semaphore::slot_bound.eq(size),
        ))
        .execute(conn);
    match created {
        Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => return Ok(false),
        created => created?,
    };
    let Some(created) = lock_semaphore(conn, name)? else {
        return Ok(false);
    };
    add_tickets(conn, created.id, &(0..size).collect::<Vec<_>>())?;
    Ok(true)
}

fn add_tickets(conn: &mut MysqlConnection, semaphore_id: i64, slots: &[i32]) -> QueryResult<()> {
    for slots in slots.chunks(CHUNK) {
        sql_query(
            "INSERT INTO dbsemaphore_ticket (semaphore_id, slot) \
             SELECT ?, c.slot FROM JSON_TABLE(?, '$[*]' COLUMNS (slot int PATH '$')) AS c",
        )
        .bind::<BigInt, _>(semaphore_id)
        .bind::<Text, _>(json(slots))
        .execute(conn)?;
    }
    Ok(())
}

/// Deletes `remove_count` tickets. Waits in the queue until as many are available.
fn remove_tickets(
    conn: &mut MysqlConnection,
    semaphore: Semaphore,
    remove_count: i32,
) -> QueryResult<()> {
    let wait = Wait {
        semaphore,
        found_at: Instant::now(),
        needed: remove_count,
        label: None,
        number: cancel::random_id().into(),
        deadline: None,
        host_timeout: HOST_TIMEOUT,
        highest_slot_first: true,
        has_searched: false,
    };
    let removed_ids = queue::wait(conn, &wait)?.unwrap_or_default();
    for ids in removed_ids.chunks(CHUNK) {
        sql_query(
            // `sql_safe_updates` refuses a join with a table without an index, though that is not the one with the deleted rows.
            "/*M! SET STATEMENT sql_safe_updates = 0 FOR */ DELETE t FROM JSON_TABLE(?, '$[*]' COLUMNS (id bigint PATH '$')) AS c \
             STRAIGHT_JOIN dbsemaphore_ticket AS t FORCE INDEX (id) ON t.id = c.id",
        )
        .bind::<Text, _>(json(ids))
        .execute(conn)
        .and_then(|count| all_deleted(count, ids.len()))?;
    }
    Ok(())
}

fn all_deleted(count: usize, expected: usize) -> QueryResult<()> {
    if count == expected {
        Ok(())
    } else {
        Err(interrupted())
    }
}

pub(super) fn ensure(conn: &mut MysqlConnection, name: &str, size: i32) -> Result<bool> {
    if in_read_scope(conn, |conn| Ok(semaphore_id(conn, name)?))?.is_some() {
        return Ok(false);
    }
    in_write_transaction(conn, |conn| create(conn, name, size))
}

pub(super) fn make(
    conn: &mut MysqlConnection,
    name: &str,
    size: i32,
) -> Result<Option<SizeChange>> {
    in_write_transaction(conn, |conn| {
        for _ in 0..MAX_RACES {
            if let Some(semaphore) = lock_semaphore(conn, name)? {
                return Ok(resize(conn, semaphore, size)?.then_some(SizeChange::Resized));
            }
            if create(conn, name, size)? {
                return Ok(Some(SizeChange::Created));
            }
        }
        Err(old_snapshot().into())
    })
}

pub(super) fn destroy(conn: &mut MysqlConnection, name: &str) -> Result<bool> {
    in_write_transaction(conn, |conn| {
        let Some(locked) = lock_semaphore(conn, name)? else {
            return Ok(false);
        };
        resize(conn, locked, 0)?;
        let deleted = diesel::delete(semaphore::table.find(locked.id)).execute(conn)?;
        all_deleted(deleted, 1)?;
        Ok(true)
    })
}

pub(super) fn list(conn: &mut MysqlConnection) -> Result<Vec<(String, i64)>> {
    in_read_scope(conn, |conn| {
        let rows: Vec<(String, i32)> = semaphore::table
            .select((semaphore::name, semaphore::size))
            .limit(i64::MAX)
            .load(conn)?;
        Ok(rows
            .into_iter()
            .map(|(name, size)| (name, size.into()))
            .collect())
    })
}

/// Returns whether the size was another one. The semaphore is locked, so that its size does not change meanwhile.
fn resize(conn: &mut MysqlConnection, semaphore: Semaphore, size: i32) -> Result<bool> {
    let difference = size - semaphore.size;
    if difference > 0 {
        let used = search::slots(conn, semaphore)?;
        let mut used = used.iter().copied().peekable();
        let unused = (0..).filter(|slot| used.next_if_eq(slot).is_none());
        let unused: Vec<i32> = unused
            .take(usize::try_from(difference).unwrap_or_default())
            .collect();
        add_tickets(conn, semaphore.id, &unused)?;
    } else if difference < 0 {
        remove_tickets(conn, semaphore, -difference)?;
    } else {
        return Ok(false);
    }
    let (count, last_slot): (i64, Option<i32>) = ticket::table
        .filter(ticket::semaphore_id.eq(semaphore.id))
        .select((count_star(), max(ticket::slot)))
        .first(conn)?;
    diesel::update(semaphore::table.find(semaphore.id))
        .set((
            semaphore::size.eq(i32::try_from(count).unwrap_or(i32::MAX)),
            semaphore::slot_bound.eq(last_slot.map_or(0, |last| last + 1)),
            semaphore::resized_at.eq(sql::<Timestamp>(LATER)),
        ))
        .execute(conn)?;
    Ok(true)
}
