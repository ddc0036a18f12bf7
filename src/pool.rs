use crate::{Error, Request, Result, SemaphoreTicket, TicketConnection, line::Deadline};
use diesel::{
    PgConnection,
    r2d2::{ConnectionManager, Pool, PooledConnection},
};
use std::time::Duration;

/// r2d2 adds it to its clock, which panics when that overflows.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

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
/// other holders have, while they wait for its own. Checking out a connection takes up to the pool's
/// `connection_timeout`; for a request that [waits](Request::wait) for a time, that time counts for both.
///
/// # Errors
///
/// What `work` returns. If it succeeded and the ticket had been lost meanwhile: [`TicketLost`](Error::TicketLost). If it
/// wasn't run: [`Unavailable`](Error::Unavailable) when too few tickets are free, [`Pool`](Error::Pool) when not even a
/// connection came free in time, which is busy as well, or any error of [`SemaphoreTicket::acquire`].
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
    request.checked()?;
    let deadline = Deadline::of(&request);
    let left = || deadline.and_then(Deadline::left);
    let conn = left()
        .map_or_else(|| pool.get(), |left| pool.get_timeout(left.min(LONGEST)))
        .map_err(Error::Pool)?;
    let request = left().map_or(request, |left| request.wait(left));
    let mut ticket = SemaphoreTicket::require(conn, request)?;
    let done = work(&mut ticket)?;
    ticket.release()?;
    Ok(done)
}
