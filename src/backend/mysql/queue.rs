//! The queue of a semaphore. Waiters wait for its queue head lock, a user lock, which the server grants in order of arrival. Only
//! the head, which has that lock, searches for tickets, or holds some while it waits for more.
//!
//! The client drives the queue, a statement for each step. User locks are those of the session, so each way out of the queue releases
//! them: see `leave`. The server releases those of a session that ends.

use super::{
    fragment::statement,
    locks::Lock,
    search::{self, Dice, Locked, Rounds, Semaphore},
    transaction::retry,
};
use crate::backend::transaction::mark_broken;
use diesel::{
    MysqlConnection,
    connection::SimpleConnection,
    prelude::*,
    result::{DatabaseErrorKind, Error as DieselError},
    sql_query,
    sql_types::{BigInt, Double, Integer, Nullable, Text},
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

/// How often a cancellation is sent, a millisecond apart, until the wait has ended. One that reaches the session between two
/// statements has no effect.
const MAX_CANCELLATIONS: usize = 20;

pub(super) struct Wait<'a> {
    pub(super) semaphore_id: i64,
    pub(super) needed: i32,
    pub(super) label: Option<&'a str>,
    /// By which others can cancel it.
    pub(super) number: i64,
    pub(super) deadline: Option<Instant>,
    pub(super) highest_slot_first: bool,
}

/// `None` if it is too far away for a clock.
pub(super) fn deadline(timeout_ms: i64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_millis(timeout_ms.unsigned_abs()))
}

impl Wait<'_> {
    /// Without limit, a year.
    fn remaining(&self) -> Duration {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.deadline.map_or(YEAR, |deadline| {
            deadline.saturating_duration_since(Instant::now()).min(YEAR)
        })
    }

    fn is_over(&self) -> bool {
        self.remaining().is_zero()
    }
}

statement! {
    Show { id: i64 => BigInt, semaphore_id: i64 => BigInt, tickets: i32 => Integer, label: Option<&'a str> => Nullable<Text>, wait: Option<i64> => Nullable<BigInt> } -> (),
    "INSERT INTO dbsemaphore_request (id, semaphore_id, tickets, label, wait_number, connection_id, since) \
     VALUES (?, ?, ?, ?, ?, CONNECTION_ID(), UTC_TIMESTAMP(6))"
}

statement! {
    Hide { id: i64 => BigInt } -> (),
    "DELETE FROM dbsemaphore_request WHERE id = ?"
}

statement! {
    FindById { semaphore_id: i64 => BigInt } -> (BigInt, Integer, Integer),
    "SELECT s.id, s.size, s.slot_bound FROM dbsemaphore_semaphore AS s WHERE s.id = ?"
}

statement! {
    /// From now on, requests that do not wait are refused.
    ForbidOvertaking { semaphore_id: i64 => BigInt } -> Nullable<BigInt>,
    format!("SELECT GET_LOCK({}, 1)", Lock::NoOvertaking.name("?"))
}

statement! {
    /// Leaves the queue. First the wait ends for those who want to cancel it, and then for one who has just seen it: so a
    /// cancellation can't reach a later statement.
    Leave { wait: i64 => BigInt, cancel: i64 => BigInt, cancelled: i64 => BigInt, no_overtaking: i64 => BigInt, head: i64 => BigInt } -> (),
    format!(
        "DO RELEASE_LOCK({}), GET_LOCK({}, 10), RELEASE_LOCK({}), RELEASE_LOCK({}), RELEASE_LOCK({})",
        Lock::Wait.name("?"),
        Lock::Cancel.name("?"),
        Lock::Cancel.name("?"),
        Lock::NoOvertaking.name("?"),
        Lock::QueueHead.name("?"),
    )
}

statement! {
    BeginCancel { cancel: i64 => BigInt, wait: i64 => BigInt } -> (Nullable<BigInt>, Nullable<BigInt>),
    format!("SELECT GET_LOCK({}, 1), IS_USED_LOCK({})", Lock::Cancel.name("?"), Lock::Wait.name("?"))
}

statement! {
    WaitAfter { pause: f64 => Double, wait: i64 => BigInt } -> (BigInt, Nullable<BigInt>),
    format!("SELECT SLEEP(?), IS_USED_LOCK({})", Lock::Wait.name("?"))
}

statement! {
    EndCancel { cancel: i64 => BigInt } -> (),
    format!("DO RELEASE_LOCK({})", Lock::Cancel.name("?"))
}

#[derive(QueryableByName)]
struct Joined {
    #[diesel(sql_type = Nullable<BigInt>)]
    is_head: Option<i64>,
}

#[derive(QueryableByName)]
struct TicketRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Integer)]
    slot: i32,
}

/// Inserts a row that others read uncommitted. Returns its id.
pub(super) fn show(
    conn: &mut MysqlConnection,
    semaphore_id: i64,
    tickets: i32,
    label: Option<&str>,
    wait: Option<i64>,
) -> QueryResult<i64> {
    let id = (Dice::new().next() >> 1).cast_signed();
    Show::new(id, semaphore_id, tickets, label, wait).execute(conn)?;
    Ok(id)
}

/// Waits in the queue until the tickets are locked. Returns `None` at the deadline, or if the semaphore has too few tickets or was
/// destroyed. Then a transaction may still have locked some of several tickets.
pub(super) fn wait(conn: &mut MysqlConnection, wait: &Wait<'_>) -> QueryResult<Option<Vec<i64>>> {
    let row = show(
        conn,
        wait.semaphore_id,
        wait.needed,
        wait.label,
        Some(wait.number),
    )?;
    let waited = join(conn, wait).and_then(|is_head| {
        if is_head {
            acquire_as_head(conn, wait)
        } else {
            Ok(None)
        }
    });
    leave(conn, wait);
    match &waited {
        // The row is gone, with the transaction.
        Err(DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _)) => {}
        _ => drop(retry(|| Hide::new(row).execute(conn))),
    }
    waited
}

/// Returns whether this is the head of the queue now, and not too late.
fn join(conn: &mut MysqlConnection, wait: &Wait<'_>) -> QueryResult<bool> {
    const LONGEST_HINT: u128 = 4_294_967_295;
    let remaining = wait.remaining();
    let ms = remaining.as_nanos().div_ceil(1_000_000);
    // MySQL's GET_LOCK counts whole seconds.
    let hint = if ms <= LONGEST_HINT {
        format!("/*+ MAX_EXECUTION_TIME({}) */", ms.max(1))
    } else {
        String::new()
    };
    let joined = sql_query(format!(
        "SELECT {hint} GET_LOCK({}, 0), GET_LOCK({}, /*M! {}.{:03} */ /*!80000 {} */) AS is_head",
        Lock::Wait.name(wait.number),
        Lock::QueueHead.name(wait.semaphore_id),
        ms / 1000,
        ms % 1000,
        ms.div_ceil(1000),
    ))
    .get_result::<Joined>(conn);
    match joined {
        Ok(Joined { is_head: Some(1) }) => Ok(true),
        // MySQL raises an error at the deadline.
        _ if wait.is_over() => Ok(false),
        Ok(Joined { is_head: Some(_) }) => Ok(false),
        Ok(Joined { is_head: None }) => Err(interrupted()),
        Err(error) => Err(error),
    }
}

/// What MySQL raises as an error, MariaDB's functions return as null.
fn interrupted() -> DieselError {
    DieselError::DatabaseError(
        DatabaseErrorKind::Unknown,
        Box::new(
            "the wait for a ticket was interrupted by KILL QUERY or a time limit of the session"
                .to_owned(),
        ),
    )
}

fn find(conn: &mut MysqlConnection, semaphore_id: i64) -> QueryResult<Option<Semaphore>> {
    let row: Option<(i64, i32, i32)> = FindById::new(semaphore_id).get_result(conn).optional()?;
    Ok(row.map(|(id, size, slot_bound)| Semaphore {
        id,
        size,
        slot_bound,
    }))
}

/// What the head of the queue does.
fn acquire_as_head(conn: &mut MysqlConnection, wait: &Wait<'_>) -> QueryResult<Option<Vec<i64>>> {
    let became_head = Instant::now();
    let needed = usize::try_from(wait.needed).unwrap_or(usize::MAX);
    let mut locked: Vec<Locked> = Vec::new();
    let mut rounds = Rounds::new(Vec::new(), false);
    let mut refresh_at = became_head;
    let mut pause = Duration::ZERO;
    let mut overtaking_is_forbidden = false;
    loop {
        if Instant::now() >= refresh_at {
            let Some(semaphore) = find(conn, wait.semaphore_id)? else {
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
        let missing = needed - locked.len();
        let found = if !pause.is_zero() && rounds.slots().len() == missing {
            // Each of these tickets is needed, so that the head can wait for any of them.
            sleep_on(conn, wait, rounds.slots()[0])?
                .into_iter()
                .collect()
        } else {
            let seconds = pause.as_secs_f64();
            search::lock(
                conn,
                wait.semaphore_id,
                rounds.next_chunk(),
                missing,
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
            let taken: Option<i64> = ForbidOvertaking::new(wait.semaphore_id).get_result(conn)?;
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
        wait.semaphore_id,
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

fn leave(conn: &mut MysqlConnection, wait: &Wait<'_>) {
    let (number, semaphore_id) = (wait.number, wait.semaphore_id);
    let left =
        retry(|| Leave::new(number, number, number, semaphore_id, semaphore_id).execute(conn));
    if left.is_err() {
        mark_broken(conn);
    }
}

/// Cancels the wait with this number. Returns whether there was one.
pub(super) fn cancel_wait(conn: &mut MysqlConnection, number: u32) -> QueryResult<bool> {
    let number = i64::from(number);
    let (_, waiter): (Option<i64>, Option<i64>) =
        BeginCancel::new(number, number).get_result(conn)?;
    let cancelled = match waiter {
        Some(waiter) => kill_query(conn, number, waiter).map(|()| true),
        None => Ok(false),
    };
    retry(|| EndCancel::new(number).execute(conn))?;
    cancelled
}

fn kill_query(conn: &mut MysqlConnection, number: i64, waiter: i64) -> QueryResult<()> {
    for _ in 0..MAX_CANCELLATIONS {
        let killed = conn.batch_execute(&format!("KILL QUERY {waiter}"));
        let (_, still): (i64, Option<i64>) = WaitAfter::new(0.001, number).get_result(conn)?;
        if still != Some(waiter) {
            break;
        }
        killed?;
    }
    Ok(())
}
