use crate::{
    CancellationToken, Error, Request, Result, SemaphoreTicket, TicketConnection, acquire,
    alarm::Alarm, deadline::Deadline,
};
use diesel::{
    PgConnection,
    r2d2::{ConnectionManager, Pool, PoolError, PooledConnection},
};
use std::{
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

/// r2d2 adds its timeout to the clock, which panics on overflow.
const MAX_POOL_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long a request that doesn't wait lets a pool that has room make a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// How much longer than its limit a wait may last before this process cancels it.
const OVERDUE: Duration = Duration::from_secs(1);

type PgPool = Pool<ConnectionManager<PgConnection>>;
type Pooled = PooledConnection<ConnectionManager<PgConnection>>;

impl TicketConnection for Pooled {
    fn pg_connection(&mut self) -> &mut PgConnection {
        self
    }
}

/// Runs `work` with a ticket, held on a connection from the pool. The ticket and the connection go back when it returns
/// or panics.
///
/// Give tickets a pool of their own: `work` that takes a second connection from the same pool may wait for one that
/// other holders have, while they wait for its own.
///
/// For a request that [waits](Request::wait) for a time, that time bounds checking out a connection and waiting for the ticket
/// together, by the clock of this process: if the server has not ended the wait 1 s later, because its own clock was set
/// back, another connection of the pool cancels it. A request that does not wait fails at once if all connections of the
/// pool are in use; while the pool has room, it waits for a new connection for up to 1 s, or the pool's `connection_timeout` if that is
/// shorter. A request that waits for ever waits for a connection for up to that `connection_timeout`.
///
/// # Errors
///
/// What `work` returns. If it succeeded and the ticket had been lost meanwhile: [`TicketLost`](Error::TicketLost). If it
/// wasn't run: [`Unavailable`](Error::Unavailable) when too few tickets were available in time, [`Pool`](Error::Pool) when no
/// connection was, or any error of [`SemaphoreTicket::acquire`]. [`Error::is_busy`] tells those that are worth a later try.
///
/// ```
/// use diesel_dbsemaphore as sem;
/// # use diesel::r2d2::{ConnectionManager, Pool};
/// # fn call_third_party() -> sem::Result<u16> { Ok(200) }
/// # let database = stand::Database::create();
/// # let ticket_pool = Pool::builder().max_size(2).build(ConnectionManager::new(database.url()))?;
/// # sem::run_migrations(&mut *ticket_pool.get()?)?;
/// # sem::ensure(&mut *ticket_pool.get()?, "third party", 1)?;
///
/// let status = sem::with_ticket(&ticket_pool, "third party", |_ticket| call_third_party())?;
/// assert_eq!(status, 200);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn with_ticket<'a, T, E: From<Error>>(
    pool: &Pool<ConnectionManager<PgConnection>>,
    request: impl Into<Request<'a>>,
    work: impl FnOnce(&mut SemaphoreTicket<Pooled>) -> Result<T, E>,
) -> Result<T, E> {
    let request = request.into();
    request.validate()?;
    let deadline = Deadline::from_request(&request);
    let conn = check_out(pool, deadline).map_err(Error::Pool)?;
    let mut ticket = match deadline.and_then(Deadline::remaining) {
        Some(remaining) => acquire_in_time(pool, conn, request.wait(remaining), remaining)?,
        None => SemaphoreTicket::require(conn, request)?,
    };
    let done = work(&mut ticket)?;
    ticket.release()?;
    Ok(done)
}

/// A connection, for at most as long as the request waits.
fn check_out(pool: &PgPool, deadline: Option<Deadline>) -> Result<Pooled, PoolError> {
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

/// Acquires a ticket, and sees to it that the wait ends when its time is over by our clock: the server's timers follow the
/// server's clock, and stop if that is set back.
fn acquire_in_time(
    pool: &PgPool,
    conn: Pooled,
    request: Request<'_>,
    remaining: Duration,
) -> Result<SemaphoreTicket<Pooled>> {
    let token = Arc::new(CancellationToken::new());
    let time = Instant::now().checked_add(remaining.saturating_add(OVERDUE));
    let alarm = time.map(|time| {
        let (pool, token) = (pool.clone(), Arc::downgrade(&token));
        Alarm::at(time, move || cancel(&pool, &token))
    });
    if let Some(Err(error)) = &alarm {
        log::warn!("the time limit of a wait is the server's alone: {error}");
    }
    match SemaphoreTicket::require(conn, request.overdue(&token)) {
        Err(Error::Database(error)) if token.is_cancelled() => {
            log::debug!("a wait was ended by this process: {error}");
            acquire::or_unavailable(None, &request)
        }
        acquired => acquired,
    }
}

/// Cancels the wait of this token, again and again, until its call has returned.
fn cancel(pool: &PgPool, token: &Weak<CancellationToken>) {
    while let Some(token) = token.upgrade() {
        let cancelled = pool
            .get_timeout(OVERDUE)
            .map_err(Error::Pool)
            .and_then(|mut conn| token.cancel(&mut conn));
        if let Err(error) = cancelled {
            log::warn!("a wait is over its time, and can't be cancelled: {error}");
        }
        thread::sleep(OVERDUE / 10);
    }
}
