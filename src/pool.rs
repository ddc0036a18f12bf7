use crate::{
    CancellationToken, Error, PooledTicket, Request, Result, SemaphoreTicket, TicketConnection,
    acquire, alarm::Alarm, deadline::Deadline,
};
use diesel::r2d2::{ManageConnection, Pool, PoolError, PooledConnection};
use std::{
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

/// r2d2 adds its timeout to the clock, and panics on overflow.
const MAX_POOL_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long a request that does not wait lets a pool with room open a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// How much longer than its limit a wait may last before this process cancels it.
const OVERDUE: Duration = Duration::from_secs(1);

/// Runs `work` with a ticket, held on a connection of the pool. When `work` returns or panics, the ticket is released
/// and the connection is returned to the pool.
///
/// Use a [pool for tickets alone](crate::guide::in_production#two-pools): otherwise holders can wait for each other's
/// connections.
///
/// The time for which a call can block:
///
/// * **A request that [waits](Request::wait):** its limit bounds the check-out of a connection and the wait for the
///   ticket together, by the clock of this process. If the server has not ended the wait 1 s later, because its own
///   clock was set back, another connection of the pool cancels the wait.
/// * **A request that does not wait** fails at once if all connections of the pool are in use. While the pool has room,
///   the request waits for a new connection for up to 1 s, or the pool's `connection_timeout` if that is shorter.
/// * **A request that waits without limit** waits for a connection for up to `connection_timeout`.
/// * **If the server does not answer at all**, a call blocks until its connection gives up, also beyond these limits: see
///   [how to bound that time](crate::guide::losing_a_ticket#detection).
///
/// # Errors
///
/// `E` can be any error that implements `From<Error>`. With `anyhow`, `error.downcast_ref::<Error>()` returns it.
///
/// * The error of `work`, if it fails.
/// * [`TicketLost`](Error::TicketLost): `work` succeeded, but the ticket was lost meanwhile.
/// * [`Unavailable`](Error::Unavailable): too few tickets were available in time. `work` did not run.
/// * [`Pool`](Error::Pool): no connection was available in time. `work` did not run.
/// * The errors of [`SemaphoreTicket::acquire`]. `work` did not run. Limitation: a
///   [cancellation](Request::cancellation) does not end the check-out of a connection. A call that is cancelled meanwhile
///   returns [`Cancelled`](Error::Cancelled) after it.
///
/// [`Error::is_busy`] returns `true` for those after which a later request may succeed.
///
/// ```
/// use diesel_dbsemaphore as sem;
/// # use diesel::{PgConnection, r2d2::{ConnectionManager, Pool}};
/// # fn call_third_party() -> sem::Result<u16> { Ok(200) }
/// # let database = stand::Database::create();
/// # let ticket_pool = Pool::builder().max_size(2).build(ConnectionManager::<PgConnection>::new(database.url()))?;
/// # sem::run_migrations(&mut *ticket_pool.get()?)?;
/// # sem::ensure(&mut *ticket_pool.get()?, "third party", 1)?;
///
/// let status = sem::with_ticket(&ticket_pool, "third party", |_ticket| call_third_party())?;
/// assert_eq!(status, 200);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// With an error type of your own:
///
/// ```
/// # use diesel::{PgConnection, r2d2::{ConnectionManager, Pool}};
/// # use diesel_dbsemaphore as sem;
/// # fn call_third_party() -> Result<(), AppError> { Ok(()) }
/// # let database = stand::Database::create();
/// # let ticket_pool = Pool::builder().max_size(2).build(ConnectionManager::<PgConnection>::new(database.url()))?;
/// # sem::run_migrations(&mut *ticket_pool.get()?)?;
/// # sem::ensure(&mut *ticket_pool.get()?, "third party", 1)?;
/// #[derive(Debug, thiserror::Error)]
/// enum AppError {
///     #[error(transparent)]
///     Ticket(#[from] sem::Error),
///     #[error(transparent)]
///     Io(#[from] std::io::Error),
/// }
///
/// let status = match sem::with_ticket(&ticket_pool, "third party", |_ticket| call_third_party()) {
///     Ok(()) => 200,
///     Err(AppError::Ticket(error)) if error.is_busy() => 503,
///     Err(_) => 500,
/// };
/// # assert_eq!(status, 200);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn with_ticket<'a, M, T, E>(
    pool: &Pool<M>,
    request: impl Into<Request<'a>>,
    work: impl FnOnce(&mut PooledTicket<M>) -> Result<T, E>,
) -> Result<T, E>
where
    M: ManageConnection,
    M::Connection: TicketConnection,
    E: From<Error>,
{
    let request = request.into();
    request.validate()?;
    let deadline = Deadline::from_request(&request);
    request.check_cancellation()?;
    let conn = check_out(pool, deadline).map_err(Error::Pool);
    // A cancellation does not end the check-out.
    request.check_cancellation()?;
    let conn = conn?;
    let guard = match deadline.and_then(Deadline::remaining) {
        Some(remaining) => acquire_in_time(pool, conn, request.wait(remaining), remaining)?,
        None => SemaphoreTicket::require(conn, request)?,
    };
    let mut ticket = PooledTicket::new(guard, request.watch_interval());
    let done = work(&mut ticket)?;
    ticket.release()?;
    Ok(done)
}

/// Checks out a connection, for at most as long as the request waits.
fn check_out<M: ManageConnection>(
    pool: &Pool<M>,
    deadline: Option<Deadline>,
) -> Result<PooledConnection<M>, PoolError> {
    let limit = match deadline {
        Some(deadline) => deadline.remaining().unwrap_or(pool.connection_timeout()),
        None => {
            if let Some(conn) = pool.try_get() {
                return Ok(conn);
            }
            let all_are_in_use = pool.state().connections >= pool.max_size();
            if all_are_in_use {
                Duration::ZERO
            } else {
                CONNECT_LIMIT.min(pool.connection_timeout())
            }
        }
    };
    pool.get_timeout(limit.min(MAX_POOL_TIMEOUT))
}

/// Acquires a ticket, and ends the wait when its time is over by the clock of this process. The server's timers follow
/// the server's clock, and stop if that is set back.
fn acquire_in_time<M>(
    pool: &Pool<M>,
    conn: PooledConnection<M>,
    request: Request<'_>,
    remaining: Duration,
) -> Result<SemaphoreTicket<PooledConnection<M>>>
where
    M: ManageConnection,
    M::Connection: TicketConnection,
{
    let token = Arc::new(CancellationToken::new());
    let time = Instant::now().checked_add(remaining.saturating_add(OVERDUE));
    let alarm = time.map(|time| {
        let (pool, token) = (pool.clone(), Arc::downgrade(&token));
        Alarm::at(time, move || cancel(&pool, &token))
    });
    if let Some(Err(error)) = &alarm {
        log::warn!("only the server's clock bounds this wait: no thread for an alarm: {error}");
    }
    match SemaphoreTicket::require(conn, request.overdue(&token)) {
        Err(Error::Database(error)) if token.is_cancelled() => {
            log::debug!("this process has cancelled a wait whose time limit is over: {error}");
            acquire::or_unavailable(None, &request)
        }
        acquired => acquired,
    }
}

/// Repeats the cancellation of this token's wait until the waiting call has returned.
fn cancel<M>(pool: &Pool<M>, token: &Weak<CancellationToken>)
where
    M: ManageConnection,
    M::Connection: TicketConnection,
{
    while let Some(token) = token.upgrade() {
        let cancelled = pool
            .get_timeout(OVERDUE)
            .map_err(Error::Pool)
            .and_then(|mut conn| token.cancel_running(&mut conn, &mut Vec::new()));
        if let Err(error) = cancelled {
            log::warn!("a wait whose time limit is over can't be cancelled: {error}");
        }
        thread::sleep(OVERDUE / 10);
    }
}
