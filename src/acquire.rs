use crate::{
    Error, Request, Result, Ticket,
    deadline::Deadline,
    events,
    query::{self, AcquireOutcome, AcquireParams},
    queue, transaction,
};
use diesel::PgConnection;

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
/// Takes one round trip. A request that [waits](Request::wait) and has to join the queue takes five: see
/// [`waiting`](crate::guide::waiting).
///
/// # Errors
///
/// These leave the transaction as it was:
///
/// * [`NotInTransaction`](Error::NotInTransaction): the connection is not inside a transaction.
/// * [`UnknownSemaphore`](Error::UnknownSemaphore): there is no semaphore of that name.
/// * [`InvalidName`](Error::InvalidName), [`InvalidLabel`](Error::InvalidLabel): the name or the label is not valid.
/// * [`InvalidTickets`](Error::InvalidTickets): 0 tickets were requested, or more than the semaphore has.
/// * [`Cancelled`](Error::Cancelled): the token of the request was cancelled while it waited.
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
pub fn acquire<'a>(
    conn: &mut PgConnection,
    request: impl Into<Request<'a>>,
) -> Result<Option<Ticket>> {
    let request = request.into();
    let params = request.validate()?;
    if !transaction::is_open(conn)? {
        return Err(Error::NotInTransaction);
    }
    let deadline = Deadline::from_request(&request);
    let granted = match (try_once(conn, &request, params), deadline) {
        (Ok(None), Some(deadline)) => queue::wait_in_savepoint(conn, &request, params, deadline),
        (granted, _) => granted,
    }
    .map_err(|error| error.add_hint(conn))?;
    events::log_acquire_outcome(&request, deadline, granted.as_ref());
    Ok(granted)
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
pub fn require<'a>(conn: &mut PgConnection, request: impl Into<Request<'a>>) -> Result<Ticket> {
    let request = request.into();
    or_unavailable(acquire(conn, request)?, &request)
}

pub(crate) fn or_unavailable<T>(granted: Option<T>, request: &Request<'_>) -> Result<T> {
    granted.ok_or_else(|| Error::Unavailable {
        name: request.semaphore().to_owned(),
    })
}

/// Sends one statement, which does not wait, in the open transaction.
pub(crate) fn try_once(
    conn: &mut PgConnection,
    request: &Request<'_>,
    params: AcquireParams<'_>,
) -> Result<Option<Ticket>> {
    outcome_to_ticket(query::try_acquire(conn, params)?, request)
}

/// Makes a ticket, `None` or an error of the server's answer.
pub(crate) fn outcome_to_ticket(
    answer: AcquireOutcome,
    request: &Request<'_>,
) -> Result<Option<Ticket>> {
    let name = request.semaphore();
    match answer {
        AcquireOutcome::UnknownSemaphore => Err(Error::UnknownSemaphore {
            name: name.to_owned(),
        }),
        AcquireOutcome::TooFew { size } => Err(request.invalid_tickets_error(size)),
        AcquireOutcome::Unavailable => Ok(None),
        AcquireOutcome::Acquired { token, tickets } => Ok(Some(Ticket::new(name, tickets, token))),
    }
}
