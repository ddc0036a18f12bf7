//! Waiting, the client's side. The line itself is on the server: see the migration `line`.

use crate::{
    Error, Request, Result, Ticket, acquire, cancel,
    deadline::Deadline,
    diesel_internals,
    query::{self, Ask},
    transaction,
};
use diesel::PgConnection;
use std::time::Duration;

/// Waits in line, in a transaction in which a failure does no harm. After an error, `leave` has to follow, or
/// `transaction::abandon_guard`.
pub(crate) fn wait(
    conn: &mut PgConnection,
    request: &Request<'_>,
    ask: Ask<'_>,
    deadline: Deadline,
) -> Result<Option<Ticket>> {
    let id = cancel::random_id();
    // From here on, a token that is cancelled is seen by us or tells the server.
    let _added: Vec<_> = request.tokens().map(|token| token.add(id)).collect();
    loop {
        request.check_cancellation()?;
        let remaining_ms = deadline.remaining_ms();
        let answer = query::wait(conn, ask, remaining_ms, id).or_else(|error| {
            // The token was cancelled before the server was told, so the failure is its doing.
            request.check_cancellation()?;
            Err(Error::from(error))
        })?;
        let granted = acquire::interpret(answer, request)?;
        // The server's clock may be fast, or have been set, and the semaphore may have been made anew.
        if granted.is_some() || deadline.remaining() == Some(Duration::ZERO) {
            return Ok(granted);
        }
    }
}

/// Waits in the caller's transaction, which goes on whatever happens: what fails, fails in a savepoint.
pub(crate) fn wait_in_savepoint(
    conn: &mut PgConnection,
    request: &Request<'_>,
    ask: Ask<'_>,
    deadline: Deadline,
) -> Result<Option<Ticket>> {
    transaction::begin_savepoint(conn)?;
    let waited = attended(conn, |conn| wait(conn, request, ask, deadline));
    if let Ok(Some(_)) = waited {
        transaction::release_savepoint(conn)?;
        return waited;
    }
    // Takes with it what the wait has changed; of a loss of the connection, `waited` tells already.
    let rolled_back = transaction::rollback(conn);
    if waited.is_err() {
        leave(conn);
    } else {
        rolled_back?;
    }
    waited
}

/// Waits until that many tickets have come back, and deletes them.
pub(crate) fn retire(conn: &mut PgConnection, semaphore_id: i64, surplus: i32) -> Result<()> {
    attended(conn, |conn| {
        query::retire_tickets(conn, semaphore_id, surplus)?;
        Ok(Some(()))
    })
    .map(drop)
}

/// Lets the server look after its client while it waits, so that a dead one leaves the line. It has to be told by a
/// statement of its own. After `None`, the caller rolls back, and takes that with it.
fn attended<T>(
    conn: &mut PgConnection,
    work: impl FnOnce(&mut PgConnection) -> Result<Option<T>>,
) -> Result<Option<T>> {
    let before = query::attend_client(conn)?;
    let done = work(conn)?;
    if done.is_some() {
        query::restore_client_check(conn, &before)?;
    }
    Ok(done)
}

/// Makes sure that this session keeps no place in a line, after an error: the server gives it back by itself, unless a
/// second cancel keeps it from doing so.
fn leave(conn: &mut PgConnection) {
    for _ in 0..transaction::TRIES {
        let left = transaction::begin_savepoint(conn)
            .and_then(|()| Ok(query::leave(conn)?))
            .and_then(|()| transaction::release_savepoint(conn));
        match left {
            Ok(()) => return,
            Err(error) => log::debug!("leaving the line: {error}"),
        }
        if transaction::rollback(conn).is_err() {
            break;
        }
    }
    diesel_internals::mark_broken(conn);
}
