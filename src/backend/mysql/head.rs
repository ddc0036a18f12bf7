//! What the head of the queue does.

use super::{
    fragment::statement,
    locks::Lock,
    search::{self, Locked, Rounds, Semaphore},
    wait::Wait,
};
use diesel::{
    MysqlConnection,
    prelude::*,
    result::{DatabaseErrorKind, Error as DieselError},
    sql_query,
    sql_types::{BigInt, Integer, Nullable},
};
use std::time::{Duration, Instant};

/// A sleep on a row lock is this long at most: meanwhile the server does not notice that the client has died, and the head does not
/// see new tickets.
const LONG_SLEEP: Duration = Duration::from_millis(400);

/// Pauses grow with the time as head of the queue, by a twentieth of it.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How often the head looks whether the semaphore has grown or was destroyed.
const REFRESH: Duration = Duration::from_millis(200);

statement! {
    FindById { semaphore_id: i64 => BigInt } -> (BigInt, Integer, Integer),
    "SELECT s.id, s.size, s.slot_bound FROM dbsemaphore_semaphore AS s WHERE s.id = ?"
}

statement! {
    /// From now on, requests that do not wait are refused.
    ForbidOvertaking { semaphore_id: i64 => BigInt } -> Nullable<BigInt>,
    format!("SELECT GET_LOCK({}, 1)", Lock::NoOvertaking.name("?"))
}

#[derive(QueryableByName)]
struct TicketRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Integer)]
    slot: i32,
}

fn find(conn: &mut MysqlConnection, semaphore_id: i64) -> QueryResult<Option<Semaphore>> {
    let row: Option<(i64, i32, i32)> = FindById::new(semaphore_id).get_result(conn).optional()?;
    Ok(row.map(|(id, size, slot_bound)| Semaphore {
        id,
        size,
        slot_bound,
    }))
}

/// Locks the tickets. Returns `None` at the deadline, or if the semaphore has too few tickets or was destroyed.
pub(super) fn acquire(
    conn: &mut MysqlConnection,
    wait: &Wait<'_>,
    mut overtaking_is_forbidden: bool,
) -> QueryResult<Option<Vec<i64>>> {
    let became_head = Instant::now();
    let needed = usize::try_from(wait.needed).unwrap_or(usize::MAX);
    let mut locked: Vec<Locked> = Vec::new();
    let slots = search::slots(conn, wait.semaphore)?;
    let mut rounds = Rounds::new(slots, wait.highest_slot_first);
    let mut refresh_at = wait.found_at + REFRESH;
    let mut pause = Duration::ZERO;
    loop {
        if rounds.is_complete() && Instant::now() >= refresh_at {
            let Some(semaphore) = find(conn, wait.semaphore.id)? else {
                return Ok(None);
            };
            // At size 0, the head keeps waiting.
            if semaphore.size > 0 && wait.needed > semaphore.size {
                return Ok(None);
            }
            rounds = Rounds::new(search::slots(conn, semaphore)?, wait.highest_slot_first);
            rounds.remove(&locked);
            refresh_at = Instant::now() + REFRESH;
        }
        let still_needed = needed - locked.len();
        let found = if !pause.is_zero() && rounds.slots().len() == still_needed {
            // Each of these tickets is needed, so that the head can wait for any of them.
            sleep_on(conn, wait, rounds.slots()[0])?
                .into_iter()
                .collect()
        } else {
            let seconds = pause.as_secs_f64();
            search::lock(
                conn,
                wait.semaphore.id,
                rounds.next_chunk(),
                still_needed,
                seconds,
            )?
        };
        rounds.remove(&found);
        locked.extend(found);
        if locked.len() >= needed {
            return Ok(Some(locked.into_iter().map(|(id, _)| id).collect()));
        }
        if wait.is_over() {
            return Ok(None);
        }
        pause = Duration::ZERO;
        if !rounds.is_complete() {
            continue;
        }
        if !overtaking_is_forbidden {
            // Once more without a pause: a ticket that was released before this can't be acquired by anybody else now.
            let taken: Option<i64> = ForbidOvertaking::new(wait.semaphore.id).get_result(conn)?;
            overtaking_is_forbidden = taken == Some(1);
            continue;
        }
        pause = (became_head.elapsed() / 20)
            .clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
            .min(wait.remaining());
    }
}

/// Sleeps on the row lock of the ticket in this slot. Returns it as soon as the server grants the lock.
fn sleep_on(conn: &mut MysqlConnection, wait: &Wait<'_>, slot: i32) -> QueryResult<Option<Locked>> {
    let limit = wait.remaining().clamp(SHORTEST_PAUSE, LONG_SLEEP);
    let ms = limit.as_nanos().div_ceil(1_000_000);
    let began = Instant::now();
    let row = sql_query(format!(
        "/*M! SET STATEMENT max_statement_time = {}.{:03} FOR */ SELECT /*+ MAX_EXECUTION_TIME({ms}) */ t.id, t.slot \
         FROM dbsemaphore_ticket AS t FORCE INDEX (PRIMARY) \
         WHERE t.semaphore_id = {} AND t.slot = {slot} FOR UPDATE",
        ms / 1000,
        ms % 1000,
        wait.semaphore.id,
    ))
    .get_result::<TicketRow>(conn)
    .optional();
    match row {
        Ok(row) => Ok(row.map(|row| (row.id, row.slot))),
        // The server's messages are localised, so the time decides what has ended the sleep.
        Err(DieselError::DatabaseError(DatabaseErrorKind::Unknown, _))
            if began.elapsed() >= limit * 9 / 10 =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
