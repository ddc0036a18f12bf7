//! A transaction of yours, while a guard on the same connection holds the ticket.

use super::SemaphoreTicket;
use crate::{Error, Request, Result, Ticket, TicketConnection};
use diesel::{Connection, connection::TransactionManager, result::Error as DieselError};

/// Acquires a ticket, begins a transaction, calls `work`, ends the transaction, and releases the ticket. Commits only if the
/// ticket is still held.
pub(crate) fn transaction<C, T, E>(
    conn: &mut C,
    request: Request<'_>,
    work: impl FnOnce(&mut C, &Ticket) -> Result<T, E>,
) -> Result<T, E>
where
    C: TicketConnection + Connection,
    E: From<Error> + From<DieselError>,
{
    let mut guard = SemaphoreTicket::require(conn, request)?;
    let ticket = guard.ticket().clone();
    guard.lend(|conn| conn.backend().into_backend().begin_guarded_transaction())?;
    let done = guard
        .lend(|conn| work(conn, &ticket))
        .and_then(|done| Ok(guard.check().map(|()| done)?));
    match done {
        Ok(done) => {
            guard.lend(|conn| C::TransactionManager::commit_transaction(conn))?;
            Ok(done)
        }
        Err(error) => match guard.lend(|conn| C::TransactionManager::rollback_transaction(conn)) {
            Ok(()) | Err(DieselError::BrokenTransactionManager) => Err(error),
            Err(error) => Err(error.into()),
        },
    }
}
