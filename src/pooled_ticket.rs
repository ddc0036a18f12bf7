use crate::{Error, Result, SemaphoreTicket, Ticket, TicketConnection, WatchedTicket};
use diesel::r2d2::{ManageConnection, PooledConnection};
use std::{fmt, time::Duration};

/// The ticket that [`with_ticket`](crate::with_ticket) lends to its closure.
///
/// ```
/// # use diesel::{PgConnection, r2d2::{ConnectionManager, Pool}};
/// use diesel_dbsemaphore::{self as sem, Request};
/// use std::time::Duration;
/// # let database = stand::Database::create();
/// # let ticket_pool = Pool::builder().max_size(2).build(ConnectionManager::<PgConnection>::new(database.url()))?;
/// # sem::run_migrations(&mut *ticket_pool.get()?)?;
/// # sem::ensure(&mut *ticket_pool.get()?, "third party", 1)?;
///
/// let request = Request::new("third party").watch(Duration::from_secs(2));
/// let steps = sem::with_ticket(&ticket_pool, request, |ticket| -> sem::Result<_> {
///     let mut steps = 0;
///     while steps < 3 && !ticket.is_lost() {
///         // .. the step ..
///         steps += 1;
///     }
///     Ok(steps)
/// })?;
/// assert_eq!(steps, 3);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct PooledTicket<M>(Held<M>)
where
    M: ManageConnection,
    M::Connection: TicketConnection;

enum Held<M>
where
    M: ManageConnection,
    M::Connection: TicketConnection,
{
    Guard(SemaphoreTicket<PooledConnection<M>>),
    Watched(WatchedTicket<PooledConnection<M>>),
}

impl<M> PooledTicket<M>
where
    M: ManageConnection,
    M::Connection: TicketConnection,
{
    pub(crate) fn new(
        guard: SemaphoreTicket<PooledConnection<M>>,
        watch_interval: Option<Duration>,
    ) -> Self {
        Self(match watch_interval {
            Some(interval) => Held::Watched(guard.watch(interval)),
            None => Held::Guard(guard),
        })
    }

    /// Returns the receipt of the ticket.
    ///
    /// ```
    /// # use diesel::{PgConnection, r2d2::{ConnectionManager, Pool}};
    /// # use diesel_dbsemaphore as sem;
    /// # let database = stand::Database::create();
    /// # let pool = Pool::builder().max_size(2).build(ConnectionManager::<PgConnection>::new(database.url()))?;
    /// # sem::run_migrations(&mut *pool.get()?)?;
    /// # sem::ensure(&mut *pool.get()?, "reports", 1)?;
    /// let token = sem::with_ticket(&pool, "reports", |ticket| -> sem::Result<_> {
    ///     Ok(ticket.ticket().fencing_token())
    /// })?;
    /// assert!(token > 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn ticket(&self) -> &Ticket {
        match &self.0 {
            Held::Guard(guard) => guard.ticket(),
            Held::Watched(watched) => watched.ticket(),
        }
    }

    /// Returns an error if the ticket is lost. Takes one round trip, as [`SemaphoreTicket::check`] does; a watched ticket
    /// takes none, and reports what its last check has found.
    ///
    /// # Errors
    ///
    /// [`TicketLost`](Error::TicketLost), from then on at each call.
    ///
    /// ```
    /// # use diesel::{PgConnection, r2d2::{ConnectionManager, Pool}};
    /// # use diesel_dbsemaphore as sem;
    /// # let database = stand::Database::create();
    /// # let pool = Pool::builder().max_size(2).build(ConnectionManager::<PgConnection>::new(database.url()))?;
    /// # sem::run_migrations(&mut *pool.get()?)?;
    /// # sem::ensure(&mut *pool.get()?, "reports", 1)?;
    /// sem::with_ticket(&pool, "reports", |ticket| ticket.check())?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&mut self) -> Result<()> {
        match &mut self.0 {
            Held::Guard(guard) => guard.check(),
            Held::Watched(watched) if watched.is_lost() => Err(Error::TicketLost {
                ticket: watched.ticket().clone(),
                source: None,
            }),
            Held::Watched(_) => Ok(()),
        }
    }

    /// Returns whether a [`check`](Self::check), or that of a [watched](crate::Request::watch) ticket, has found that the
    /// ticket is lost. Does not block.
    ///
    /// ```
    /// # use diesel::{PgConnection, r2d2::{ConnectionManager, Pool}};
    /// # use diesel_dbsemaphore as sem;
    /// # let database = stand::Database::create();
    /// # let pool = Pool::builder().max_size(2).build(ConnectionManager::<PgConnection>::new(database.url()))?;
    /// # sem::run_migrations(&mut *pool.get()?)?;
    /// # sem::ensure(&mut *pool.get()?, "reports", 1)?;
    /// let lost = sem::with_ticket(&pool, "reports", |ticket| -> sem::Result<_> { Ok(ticket.is_lost()) })?;
    /// assert!(!lost);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_lost(&self) -> bool {
        match &self.0 {
            Held::Guard(guard) => guard.is_lost(),
            Held::Watched(watched) => watched.is_lost(),
        }
    }

    /// Registers a function that is called when a [watched](crate::Request::watch) ticket is lost, as
    /// [`WatchedTicket::on_lost`] does. Use it if the work blocks in one call, which the function can end. Without a watch,
    /// nobody observes the ticket, and the function is not called.
    ///
    /// ```
    /// # use diesel::{PgConnection, r2d2::{ConnectionManager, Pool}};
    /// # use diesel_dbsemaphore::{self as sem, Request};
    /// # use std::{net::{Shutdown, TcpListener, TcpStream}, time::Duration};
    /// # let database = stand::Database::create();
    /// # let pool = Pool::builder().max_size(2).build(ConnectionManager::<PgConnection>::new(database.url()))?;
    /// # sem::run_migrations(&mut *pool.get()?)?;
    /// # sem::ensure(&mut *pool.get()?, "third party", 1)?;
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr()?;
    /// # #[derive(Debug, thiserror::Error)]
    /// # enum AppError {
    /// #     #[error(transparent)]
    /// #     Ticket(#[from] sem::Error),
    /// #     #[error(transparent)]
    /// #     Io(#[from] std::io::Error),
    /// # }
    /// let request = Request::new("third party").watch(Duration::from_secs(2));
    /// sem::with_ticket(&pool, request, |ticket| -> Result<(), AppError> {
    ///     let socket = TcpStream::connect(address)?;
    ///     let same_socket = socket.try_clone()?;
    ///     ticket.on_lost(move || drop(same_socket.shutdown(Shutdown::Both)));
    ///     // .. the call by this socket, which fails as soon as the ticket is lost ..
    ///     Ok(())
    /// })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_lost(&self, call: impl FnOnce() + Send + 'static) {
        if let Held::Watched(watched) = &self.0 {
            watched.on_lost(call);
        }
    }

    pub(crate) fn release(self) -> Result<()> {
        match self.0 {
            Held::Guard(guard) => guard.release().map(drop),
            Held::Watched(watched) => watched.release().map(drop),
        }
    }
}

impl<M> fmt::Debug for PooledTicket<M>
where
    M: ManageConnection,
    M::Connection: TicketConnection,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PooledTicket").field(self.ticket()).finish()
    }
}
