//! The client's side of waiting. The queue itself is on the server: see `sql/postgres/queue.sql`.

use crate::{
    Error, Request, Result, Ticket, acquire, cancel,
    deadline::Deadline,
    diesel_internals,
    query::{self, AcquireParams},
    transaction,
};
use diesel::PgConnection;
use std::time::Duration;

/// Waits in the queue, in a transaction that may be aborted. After an error, the caller has to call `leave_queue` or
/// `transaction::abort_guard`.
pub(crate) fn wait(
    conn: &mut PgConnection,
    request: &Request<'_>,
    params: AcquireParams<'_>,
    deadline: Deadline,
) -> Result<Option<Ticket>> {
    let id = cancel::random_id();
    // From here on, a cancellation either is seen by the loop, or cancels the statement on the server.
    let _added: Vec<_> = request.tokens().map(|token| token.add(id)).collect();
    loop {
        request.check_cancellation()?;
        let remaining_ms = deadline.remaining_ms();
        let answer = query::acquire(conn, params, remaining_ms, id).or_else(|error| {
            // If the token was cancelled, the failure is reported as that.
            request.check_cancellation()?;
            Err(Error::from(error))
        })?;
        let granted = acquire::outcome_to_ticket(answer, request)?;
        // Waits again if the server's clock runs fast or was set, or if the semaphore was created again.
        if granted.is_some() || deadline.remaining() == Some(Duration::ZERO) {
            return Ok(granted);
        }
    }
}

/// Waits in the caller's transaction, inside a savepoint: so the transaction can continue after a failure.
pub(crate) fn wait_in_savepoint(
    conn: &mut PgConnection,
    request: &Request<'_>,
    params: AcquireParams<'_>,
    deadline: Deadline,
) -> Result<Option<Ticket>> {
    transaction::begin_savepoint(conn)?;
    let waited = with_client_check(conn, |conn| wait(conn, request, params, deadline));
    if let Ok(Some(_)) = waited {
        transaction::release_savepoint(conn)?;
        return waited;
    }
    // The rollback also restores settings. If the connection is lost, `waited` is an error already.
    let rolled_back = transaction::rollback(conn);
    if waited.is_err() {
        leave_queue(conn);
    } else {
        rolled_back?;
    }
    waited
}

/// Waits in the queue until that many tickets are available, and deletes them.
pub(crate) fn remove_tickets(conn: &mut PgConnection, semaphore_id: i64, count: i32) -> Result<()> {
    with_client_check(conn, |conn| {
        query::remove_tickets(conn, semaphore_id, count)?;
        Ok(Some(()))
    })
    .map(drop)
}

/// Runs `work` while the server checks whether its client is connected, so that a dead client leaves the queue. The
/// setting has no effect on the statement that makes it, so a separate statement makes it first. After `None`, the
/// caller rolls back, which restores the setting.
fn with_client_check<T>(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let before = query::enable_client_check(conn)?;
    let done = work(conn)?;
    if done.is_some() {
        query::restore_client_check(conn, &before)?;
    }
    Ok(done)
}

/// Makes sure, after an error, that this session has left the queue. The server does so itself, unless a second
/// cancellation interrupts it.
fn leave_queue(conn: &mut PgConnection) {
    for _ in 0..transaction::MAX_ATTEMPTS {
        let left = transaction::begin_savepoint(conn)
            .and_then(|()| Ok(query::release_queue_locks(conn)?))
            .and_then(|()| transaction::release_savepoint(conn));
        match left {
            Ok(()) => return,
            Err(error) => log::debug!("the queue can't be left: {error}"),
        }
        if transaction::rollback(conn).is_err() {
            break;
        }
    }
    diesel_internals::mark_broken(conn);
}
