use crate::{
    Error, Request, Result, Ticket,
    deadline::Deadline,
    events,
    query::{self, AcquireOutcome, AcquireParams},
    queue, transaction,
};
use diesel::PgConnection;

/// Acquires a ticket in the transaction that the connection is in; `None` when too few are free. It goes back when that
/// transaction ends, by commit, rollback or a lost connection.
///
/// Within one transaction, asking again gives the same tickets: it makes sure that this transaction holds *at least* as
/// many as asked for, and returns all that it holds of that semaphore. A rollback to a savepoint gives back what was
/// taken after it. A refused request takes nothing.
///
/// Limitation: `RESET ALL` in the same transaction makes the transaction forget its tickets. It goes on holding them, but asking again may
/// then acquire others, too.
///
/// One round trip, if it need not wait. A request that [waits](Request::wait) does so in a queue: see
/// [`waiting`](crate::guide::waiting).
///
/// # Errors
///
/// [`NotInTransaction`](Error::NotInTransaction), [`UnknownSemaphore`](Error::UnknownSemaphore),
/// [`InvalidName`](Error::InvalidName), [`InvalidTickets`](Error::InvalidTickets) leave the transaction as it was;
/// [`Database`](Error::Database), what PostgreSQL raises, aborts it.
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
///         return Ok(());              // three others are at it
///     };
///     write_the_report(c)
/// })?;                                // the ticket is back
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

/// [`acquire`], with an error when too few tickets are free: [`Unavailable`](Error::Unavailable).
///
/// # Errors
///
/// [`Unavailable`](Error::Unavailable), which leaves the transaction as it was, and those of [`acquire`].
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

/// Sends one statement, which doesn't wait, in the open transaction.
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
