//! The statements of acquisitions.

use super::{
    callers_transaction::{IS_OPEN, require_open},
    fragment::{json, statement},
    holder_locks,
    locks::Lock,
    queue, request_row,
    search::{self, RandomNumbers, Semaphore},
    wait::{self, Wait},
};
use crate::backend::{AcquireOutcome, AcquireParams, hold::HeldRows};
use diesel::{
    MysqlConnection,
    prelude::*,
    result::{DatabaseErrorKind, Error as DieselError},
    sql_types::{BigInt, Bool, Integer, Nullable, Text},
};
use std::time::Instant;

/// Random slots that the first statement looks at.
const FIRST_LOOK: usize = 16;

/// The server's clock in microseconds, read when the expression is evaluated. `NOW` and `UTC_TIMESTAMP` are those of the statement's
/// start. `SYSDATE` alone would depend on the session's time zone, which may repeat an hour.
const CLOCK: &str = "TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', UTC_TIMESTAMP(6)) \
     + TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))";

/// A replica has row locks of its own, which exclude nobody on the primary server.
const IS_PRIMARY: &str = "CAST(@@GLOBAL.read_only AS char) IN ('0', 'OFF')";

statement! {
    /// Locks one of a few random tickets, if no waiter has searched in vain. The inner query has a LIMIT, so that it is
    /// run by itself, and its row is not locked.
    FirstLook { is_guard: bool => Bool, name: &'a str => Text, numbers: &'a str => Text } -> (BigInt, BigInt, BigInt, Nullable<BigInt>, Nullable<Bool>),
    format!(
        "SELECT t.id, s.id AS semaphore_id, {CLOCK} AS token, IF(?, GET_LOCK({holder_lock}, 0), 1) AS holder_lock, \
             {IS_OPEN} AS is_open \
         FROM ( \
             SELECT o.id, o.slot_bound FROM dbsemaphore_semaphore AS o \
             WHERE o.name = ? AND o.size = o.slot_bound AND o.size > 0 AND IS_FREE_LOCK({no_overtaking}) AND {IS_PRIMARY} \
             LIMIT 1) AS s \
         STRAIGHT_JOIN JSON_TABLE(?, '$[*]' COLUMNS (number bigint PATH '$')) AS r \
         STRAIGHT_JOIN dbsemaphore_ticket AS t FORCE INDEX (PRIMARY) \
             ON t.semaphore_id = s.id AND t.slot = MOD(r.number, s.slot_bound) \
         LIMIT 1 FOR UPDATE /*!80000 OF t */ SKIP LOCKED",
        holder_lock = Lock::Holder.name("t.id"),
        no_overtaking = Lock::NoOvertaking.name("o.id"),
    )
}

statement! {
    Find { name: &'a str => Text } -> (BigInt, Integer, Integer, BigInt, Bool),
    format!(
        "SELECT s.id, s.size, s.slot_bound, IS_FREE_LOCK({}), {IS_PRIMARY} \
         FROM dbsemaphore_semaphore AS s WHERE s.name = ?",
        Lock::NoOvertaking.name("s.id"),
    )
}

statement! {
    /// The fencing token of locked tickets, and how many of their holder locks are acquired.
    Token { is_guard: bool => Bool, ids: &'a str => Text } -> (Nullable<BigInt>, Nullable<BigInt>, Nullable<Bool>),
    format!(
        "SELECT MAX({CLOCK}), CAST(SUM(IF(?, GET_LOCK({}, 0), 1)) AS signed), {IS_OPEN} \
         FROM JSON_TABLE(?, '$[*]' COLUMNS (id bigint PATH '$')) AS t",
        Lock::Holder.name("t.id"),
    )
}

/// A semaphore, and what refuses its tickets to a request.
struct Found {
    semaphore: Semaphore,
    somebody_waits: bool,
}

fn find(conn: &mut MysqlConnection, name: &str) -> QueryResult<Option<Found>> {
    let row: Option<(i64, i32, i32, i64, bool)> = Find::new(name).get_result(conn).optional()?;
    let Some((id, size, slot_bound, no_overtaking_is_free, is_primary)) = row else {
        return Ok(None);
    };
    if !is_primary {
        return Err(DieselError::DatabaseError(
            DatabaseErrorKind::ReadOnlyTransaction,
            Box::new("the server is read-only".to_owned()),
        ));
    }
    Ok(Some(Found {
        semaphore: Semaphore {
            id,
            size,
            slot_bound,
        },
        somebody_waits: no_overtaking_is_free == 0,
    }))
}

/// Tries to acquire. Does not block.
pub(super) fn try_acquire(
    conn: &mut MysqlConnection,
    params: AcquireParams<'_>,
    held: &mut HeldRows,
) -> QueryResult<AcquireOutcome> {
    try_once(conn, params, held).inspect_err(|_| release_holder_locks(conn, params))
}

fn try_once(
    conn: &mut MysqlConnection,
    params: AcquireParams<'_>,
    held: &mut HeldRows,
) -> QueryResult<AcquireOutcome> {
    if params.tickets == 1 {
        let mut random_numbers = RandomNumbers::new();
        let numbers = json((0..FIRST_LOOK).map(|_| random_numbers.next() >> 33));
        type Row = (i64, i64, i64, Option<i64>, Option<bool>);
        let locked: Option<Row> = FirstLook::new(params.is_guard(), params.semaphore, &numbers)
            .get_result(conn)
            .optional()?;
        if let Some((ticket, semaphore_id, token, holder_lock, is_open)) = locked {
            require_open(conn, params, is_open)?;
            if holder_lock != Some(1) {
                holder_locks::acquire_late(conn, &[ticket]);
            }
            return finish(conn, params, semaphore_id, token, vec![ticket], held);
        }
    }
    let Some(found) = find(conn, params.semaphore)? else {
        return Ok(AcquireOutcome::UnknownSemaphore);
    };
    if let Some(refusal) = refusal(found.semaphore, params.tickets) {
        return Ok(refusal);
    }
    // Several tickets that aren't all that it takes can't be unlocked again. So only the head of the queue searches for them.
    if found.somebody_waits || found.semaphore.size == 0 || (params.tickets > 1 && params.may_wait)
    {
        return Ok(AcquireOutcome::Unavailable);
    }
    let needed = usize::try_from(params.tickets).unwrap_or(usize::MAX);
    let locked_ids = search::search(conn, found.semaphore, needed)?;
    if locked_ids.len() < needed {
        return Ok(AcquireOutcome::Unavailable);
    }
    acquired(conn, params, found.semaphore.id, locked_ids, held)
}

fn refusal(semaphore: Semaphore, tickets: i32) -> Option<AcquireOutcome> {
    // At size 0, requests are refused and waiters wait.
    (semaphore.size > 0 && tickets > semaphore.size).then(|| AcquireOutcome::TooFew {
        size: semaphore.size.unsigned_abs(),
    })
}

/// Waits in the queue for up to `timeout_ms`, without limit if None. The request was refused before.
pub(super) fn acquire(
    conn: &mut MysqlConnection,
    params: AcquireParams<'_>,
    timeout_ms: Option<i64>,
    cancellation: u32,
    held: &mut HeldRows,
) -> QueryResult<AcquireOutcome> {
    let Some(found) = find(conn, params.semaphore)? else {
        return Ok(AcquireOutcome::UnknownSemaphore);
    };
    if let Some(refusal) = refusal(found.semaphore, params.tickets) {
        return Ok(refusal);
    }
    let wait = Wait {
        semaphore: found.semaphore,
        found_at: Instant::now(),
        needed: params.tickets,
        label: params.label,
        number: cancellation.into(),
        deadline: timeout_ms.and_then(wait::deadline),
        host_timeout: params.host_timeout.unwrap_or(wait::HOST_TIMEOUT),
        highest_slot_first: false,
        has_searched: params.tickets == 1,
    };
    held.has_written = true;
    if let Some(locked_ids) = queue::wait(conn, &wait)? {
        return acquired(conn, params, wait.semaphore.id, locked_ids, held)
            .inspect_err(|_| release_holder_locks(conn, params));
    }
    // Meanwhile the semaphore may have been resized or destroyed.
    Ok(match find(conn, params.semaphore)? {
        None => AcquireOutcome::UnknownSemaphore,
        Some(found) => {
            refusal(found.semaphore, params.tickets).unwrap_or(AcquireOutcome::Unavailable)
        }
    })
}

fn acquired(
    conn: &mut MysqlConnection,
    params: AcquireParams<'_>,
    semaphore_id: i64,
    tickets: Vec<i64>,
    held: &mut HeldRows,
) -> QueryResult<AcquireOutcome> {
    let (token, holder_locks, is_open): (Option<i64>, Option<i64>, Option<bool>) =
        Token::new(params.is_guard(), &json(&tickets)).get_result(conn)?;
    require_open(conn, params, is_open)?;
    if holder_locks.and_then(|count| usize::try_from(count).ok()) != Some(tickets.len()) {
        holder_locks::acquire_late(conn, &tickets);
    }
    finish(
        conn,
        params,
        semaphore_id,
        token.unwrap_or_default(),
        tickets,
        held,
    )
}

/// Shows the label, of a guard only, because the row would be committed with a transaction of the caller's.
fn finish(
    conn: &mut MysqlConnection,
    params: AcquireParams<'_>,
    semaphore_id: i64,
    token: i64,
    tickets: Vec<i64>,
    held: &mut HeldRows,
) -> QueryResult<AcquireOutcome> {
    if params.is_guard() && params.label.is_some() {
        held.has_written = true;
        request_row::show(conn, semaphore_id, params.tickets, params.label, None)?;
    }
    held.ticket_ids.clone_from(&tickets);
    Ok(AcquireOutcome::Acquired { token, tickets })
}

fn release_holder_locks(conn: &mut MysqlConnection, params: AcquireParams<'_>) {
    if params.is_guard() {
        holder_locks::release_all(conn, params.semaphore);
    }
}
