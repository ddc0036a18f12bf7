//! The queue of a semaphore. Waiters wait for its queue head lock, a user lock, which the server grants in order of arrival. Only
//! the head, which has that lock, searches for tickets, or holds some while it waits for more.
//!
//! The client drives the queue, a statement for each step. User locks are those of the session, so each way out of the queue releases
//! them: see `leave`. The server releases those of a session that ends.

use super::{
    callers_transaction::name_rollback, errors::interrupted, fragment::statement, head,
    locks::Lock, request_row, wait::Wait,
};
use crate::backend::transaction::{mark_broken, retry};
use diesel::{
    MysqlConnection,
    prelude::*,
    result::{DatabaseErrorKind, Error as DieselError},
    sql_query,
    sql_types::{BigInt, Integer, Nullable},
};

statement! {
    /// From now on, the server ends the session if the client sends nothing for so many seconds. The head of the queue
    /// sends its statements without a pause. So this bounds how long one that is stopped, or whose host has vanished, delays others.
    LimitSilence { seconds: i32 => Integer } -> (),
    "SET @dbsemaphore_waiter = @@SESSION.wait_timeout, SESSION wait_timeout = LEAST(@@SESSION.wait_timeout, CAST(? AS UNSIGNED))"
}

statement! {
    /// Leaves the queue. First the wait ends for those who want to cancel it, and then for one who has just seen it: so a
    /// cancellation can't reach a later statement. Restores the time limit.
    Leave { wait: i64 => BigInt, cancel: i64 => BigInt, cancelled: i64 => BigInt, no_overtaking: i64 => BigInt, head: i64 => BigInt } -> (),
    format!(
        "SET @dbsemaphore_left = RELEASE_LOCK({}), @dbsemaphore_left = GET_LOCK({}, 10), @dbsemaphore_left = RELEASE_LOCK({}), \
         @dbsemaphore_left = RELEASE_LOCK({}), @dbsemaphore_left = RELEASE_LOCK({}), \
         SESSION wait_timeout = IFNULL(CAST(@dbsemaphore_waiter AS UNSIGNED), @@SESSION.wait_timeout), @dbsemaphore_waiter = NULL",
        Lock::Wait.name("?"),
        Lock::Cancel.name("?"),
        Lock::Cancel.name("?"),
        Lock::NoOvertaking.name("?"),
        Lock::QueueHead.name("?"),
    )
}

#[derive(QueryableByName)]
struct Joined {
    #[diesel(sql_type = Nullable<BigInt>)]
    joined: Option<i64>,
}

/// Waits in the queue until the tickets are locked. Returns `None` at the deadline, or if the semaphore has too few tickets or was
/// destroyed. Then a transaction may still have locked some of several tickets.
pub(super) fn wait(conn: &mut MysqlConnection, wait: &Wait<'_>) -> QueryResult<Option<Vec<i64>>> {
    let row = request_row::show(
        conn,
        wait.semaphore.id,
        wait.needed,
        wait.label,
        Some(wait.number),
    )?;
    let waited = LimitSilence::new(wait.host_timeout)
        .execute(conn)
        .and_then(|_| join(conn, wait))
        .and_then(|joined| match joined {
            Some(overtaking_is_forbidden) => head::acquire(conn, wait, overtaking_is_forbidden),
            None => Ok(None),
        });
    leave(conn, wait);
    let waited = waited.map_err(|error| name_rollback(conn, error));
    let hidden = match &waited {
        // The row is gone, with the transaction.
        Err(DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _)) => Ok(()),
        _ => retry(|| request_row::hide(conn, row)),
    };
    waited.and_then(|locked_ids| hidden.map(|()| locked_ids))
}

/// Waits to be the head of the queue. Returns `None` if the deadline was earlier, and otherwise whether overtaking is forbidden.
fn join(conn: &mut MysqlConnection, wait: &Wait<'_>) -> QueryResult<Option<bool>> {
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
        "SELECT {hint} GET_LOCK({}, 0), CASE GET_LOCK({}, /*M! {}.{:03} */ /*!80000 {} */) \
             WHEN 0 THEN 0 WHEN 1 THEN 1 + IF({}, GET_LOCK({}, 1), 0) END AS joined",
        Lock::Wait.name(wait.number),
        Lock::QueueHead.name(wait.semaphore.id),
        ms / 1000,
        ms % 1000,
        ms.div_ceil(1000),
        wait.has_searched,
        Lock::NoOvertaking.name(wait.semaphore.id),
    ))
    .get_result::<Joined>(conn);
    match joined {
        Ok(Joined { joined: Some(1) }) => Ok(Some(false)),
        Ok(Joined { joined: Some(2) }) => Ok(Some(true)),
        // MySQL raises an error at the deadline.
        _ if wait.is_over() => Ok(None),
        Ok(Joined { joined: Some(_) }) => Ok(None),
        Ok(Joined { joined: None }) => Err(interrupted()),
        Err(error) => Err(error),
    }
}

fn leave(conn: &mut MysqlConnection, wait: &Wait<'_>) {
    let (number, semaphore_id) = (wait.number, wait.semaphore.id);
    let left =
        retry(|| Leave::new(number, number, number, semaphore_id, semaphore_id).execute(conn));
    if left.is_err() {
        mark_broken(conn);
    }
}
