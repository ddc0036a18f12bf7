use crate::{
    Error, Request, Result, Ticket, TransactionConnection,
    backend::{AcquireParams, Backend, Hold},
    deadline::Deadline,
    events,
    wait::wait,
};

/// Acquires a ticket in the transaction that the connection is in. Returns `None` if too few tickets are available.
///
/// The ticket is released when that transaction ends, by commit, rollback or a lost connection.
///
/// Within one transaction, a second request returns the same tickets: afterwards, the transaction holds *at least* the
/// requested number. The result contains all tickets of the semaphore that the transaction holds. A rollback to a
/// savepoint releases the tickets that were acquired after it. A refused request acquires nothing.
///
/// Limitation: after `RESET ALL` in the same transaction, the transaction still holds its tickets, but a second
/// request may acquire further ones.
///
/// On MySQL and MariaDB, some of this is weaker: see [`mysql`](crate::guide::mysql#what-is-weaker).
///
/// Takes one round trip, and on MySQL two. A request that [waits](Request::wait) and has to join the queue takes six: see
/// [`waiting`](crate::guide::waiting#costs).
///
/// # Errors
///
/// These leave the transaction as it was:
///
/// * [`NotInTransaction`](Error::NotInTransaction): the connection is not inside a transaction, or the server has ended it.
/// * [`UnknownSemaphore`](Error::UnknownSemaphore): there is no semaphore of that name.
/// * [`InvalidName`](Error::InvalidName), [`InvalidLabel`](Error::InvalidLabel): the name or the label is not valid.
/// * [`InvalidTickets`](Error::InvalidTickets): 0 tickets were requested, or more than the semaphore has.
/// * [`Cancelled`](Error::Cancelled): the token of the request was cancelled before or while it waited.
/// * [`Unsupported`](Error::Unsupported): the connection is an enum of yours, and has a connection to SQLite now.
///
/// [`Database`](Error::Database), an error that PostgreSQL raised, aborts the transaction.
///
/// ```
/// use diesel::Connection;
/// use diesel_dbsemaphore as sem;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// # fn write_the_report(_: &mut diesel::PgConnection) -> sem::Result<()> { Ok(()) }
///
/// sem::ensure(&mut conn, "reports", 3)?;
/// conn.transaction(|c| {
///     let Some(_ticket) = sem::acquire(c, "reports")? else {
///         return Ok(());              // all three tickets are held
///     };
///     write_the_report(c)
/// })?;                                // the ticket is released
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn acquire<'a, C: TransactionConnection + ?Sized>(
    conn: &mut C,
    request: impl Into<Request<'a>>,
) -> Result<Option<Ticket>> {
    in_transaction(conn.backend().into_backend(), &request.into())
}

pub(crate) fn in_transaction(
    backend: &mut dyn Backend,
    request: &Request<'_>,
) -> Result<Option<Ticket>> {
    let params = request.validate()?;
    request.check_cancellation()?;
    if !backend.is_in_transaction()? {
        return Err(Error::NotInTransaction);
    }
    backend.check_can_hold_in_transaction()?;
    let deadline = Deadline::from_request(request);
    let hold = &mut Hold::default();
    let acquired = match (try_once(backend, request, params, hold), deadline) {
        (Ok(None), Some(deadline)) => backend
            .wait_in_transaction(&mut |backend| wait(backend, request, params, deadline, hold)),
        (acquired, _) => acquired,
    }
    .map_err(|error| backend.add_hint(error))?;
    events::log_acquire_outcome(request, deadline, acquired.as_ref());
    Ok(acquired)
}

/// Acquires a ticket as [`acquire`] does. Returns an error if too few tickets are available.
///
/// # Errors
///
/// [`Unavailable`](Error::Unavailable), which leaves the transaction as it was, and the errors of [`acquire`].
///
/// ```
/// use diesel::Connection;
/// use diesel_dbsemaphore as sem;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// # fn write_the_report(_: &mut diesel::PgConnection) -> sem::Result<()> { Ok(()) }
///
/// sem::ensure(&mut conn, "reports", 3)?;
/// conn.transaction(|c| {
///     let _ticket = sem::require(c, "reports")?;
///     write_the_report(c)
/// })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn require<'a, C: TransactionConnection + ?Sized>(
    conn: &mut C,
    request: impl Into<Request<'a>>,
) -> Result<Ticket> {
    let request = request.into();
    or_unavailable(acquire(conn, request)?, &request)
}

pub(crate) fn or_unavailable<T>(acquired: Option<T>, request: &Request<'_>) -> Result<T> {
    acquired.ok_or_else(|| Error::Unavailable {
        name: request.semaphore().to_owned(),
    })
}

/// Tries once, and does not wait.
pub(crate) fn try_once(
    backend: &mut dyn Backend,
    request: &Request<'_>,
    params: AcquireParams<'_>,
    hold: &mut Hold,
) -> Result<Option<Ticket>> {
    request.ticket(backend.try_acquire(params, hold)?)
}
