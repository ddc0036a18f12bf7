use crate::{
    Error, Request, Result, SemaphoreTicket, Ticket, TicketConnection,
    acquire::{in_transaction, or_unavailable},
};
use diesel::{Connection, connection::TransactionManager, result::Error as DieselError};

/// Runs `work` in a transaction that holds a ticket of a semaphore until it ends.
///
/// Opens a transaction as Diesel's [`Connection::transaction`] does: a savepoint if one is open, so that the ticket is
/// released when the outermost transaction ends. Acquires the ticket, calls `work`, and commits. If `work` fails, rolls
/// back. Takes one round trip more than the transaction, and on MySQL two.
///
/// On SQLite, acquires the ticket first, and then begins a transaction that can write (`BEGIN IMMEDIATE`). The commit or
/// rollback releases the ticket. An open transaction is [`AlreadyInTransaction`](Error::AlreadyInTransaction).
///
/// # Errors
///
/// * [`Unavailable`](Error::Unavailable): too few tickets are available. `work` is not called.
/// * The errors of [`acquire`](crate::acquire), before `work` is called.
/// * The error of `work`, and those of Diesel's transaction.
///
/// The type of these errors implements `From` for [`Error`] and for [`diesel::result::Error`]. [`Error`] itself does.
///
/// ```
/// use diesel_dbsemaphore as sem;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// # use diesel::RunQueryDsl;
/// sem::ensure(&mut conn, "reports", 3)?;
/// let rows = sem::transaction(&mut conn, "reports", |conn, ticket| -> sem::Result<_> {
///     println!("writing with ticket {ticket}");
///     Ok(diesel::sql_query("CREATE TABLE report AS SELECT 7 AS pages").execute(conn)?)
/// })?;
/// # assert_eq!(rows, 1);
/// # Ok::<_, sem::Error>(())
/// ```
pub fn transaction<'a, C, T, E>(
    conn: &mut C,
    request: impl Into<Request<'a>>,
    work: impl FnOnce(&mut C, &Ticket) -> Result<T, E>,
) -> Result<T, E>
where
    C: TicketConnection + Connection,
    E: From<Error> + From<DieselError>,
{
    let request = request.into();
    let backend = conn.backend().into_backend();
    if backend.check_can_hold_in_transaction().is_err() {
        return in_guard(conn, request, work);
    }
    conn.transaction(|conn| {
        let acquired = in_transaction(conn.backend().into_backend(), &request)?;
        let ticket = or_unavailable(acquired, &request)?;
        work(conn, &ticket)
    })
}

/// Acquires a ticket with a guard on the same connection, begins a transaction, calls `work`, ends the transaction, and
/// releases the ticket. Commits only if the ticket is still held.
fn in_guard<C, T, E>(
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
