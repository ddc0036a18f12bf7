use crate::{
    Error, Request, Result, Ticket, TicketConnection, WatchedTicket, acquire, deadline::Deadline,
    diesel_internals, events, pg_errors::Operation, query, queue, transaction,
};
use std::{
    fmt,
    time::{Duration, Instant},
};

/// A ticket that is held until this guard is dropped or released, with a transaction of its own.
///
/// The guard takes a connection, begins a transaction on it, acquires the ticket there, and rolls the transaction back
/// at the end; so it can be used anywhere, whatever other connections do. The connection must not be inside a
/// transaction, and it is busy as long as the guard lives: give it one of its own, best from a pool for tickets alone.
/// (A transaction that raw SQL has opened is not seen before it has been aborted.)
///
/// Acquiring takes two round trips, releasing one, and neither waits for a disk. Of the connection's settings, the
/// guard overrides for its transaction `idle_in_transaction_session_timeout` and, from PostgreSQL 17 on,
/// `transaction_timeout` (which would take the ticket behind the holder's back), `lock_timeout`, `statement_timeout`, TCP
/// keepalive and user time-out (see [`Request::host_timeout`]), and the isolation level. (The one statement of an
/// acquisition that doesn't wait is still under the session's own `statement_timeout`; what comes after it isn't.)
///
/// Dropping never panics, and it is one round trip: it may block as long as the network does. On a connection that is
/// in `begin_test_transaction`, the guard uses a savepoint instead, so that tests can run without a commit.
///
/// If the guard is leaked (`std::mem::forget`), its transaction stays open until the connection is closed, which a pool
/// does when the connection comes back to it.
///
/// ```
/// use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
///
/// sem::ensure(&mut conn, "reports", 1)?;
/// let ticket = SemaphoreTicket::require(conn, "reports")?;
/// // .. the work ..
/// let conn = ticket.release()?;       // or just drop(ticket)
/// # drop(conn);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the ticket goes back as soon as its guard is dropped: bind it to a name, `let _ticket = ..`, since `let _ = ..` drops it at once"]
pub struct SemaphoreTicket<C: TicketConnection> {
    /// None only once `release` has taken it.
    conn: Option<C>,
    ticket: Ticket,
    since: Instant,
    /// Set by a failed check. Nobody else can run a statement in the guard's transaction, so nothing else can end it
    /// unseen: a lost session shows in the rollback.
    lost: bool,
}

impl<C: TicketConnection> SemaphoreTicket<C> {
    /// Acquires a ticket; `None` when too few are free. The connection goes back (it is dropped) unless a ticket was
    /// acquired; pass `&mut conn` to keep it.
    ///
    /// Waits only if the request says so, see [`waiting`](crate::guide::waiting).
    ///
    /// # Errors
    ///
    /// [`AlreadyInTransaction`](Error::AlreadyInTransaction) if the connection is inside a transaction, which stays as
    /// it was; [`UnknownSemaphore`](Error::UnknownSemaphore), [`InvalidName`](Error::InvalidName),
    /// [`InvalidTickets`](Error::InvalidTickets), [`NotMigrated`](Error::NotMigrated), [`Database`](Error::Database).
    /// After any of them the connection is as it was before, unless it is the connection itself that broke.
    ///
    /// ```
    /// use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let (mut first, mut second) = (database.connect(), database.connect());
    /// # sem::run_migrations(&mut first)?;
    /// # sem::ensure(&mut first, "reports", 1)?;
    /// let Some(ticket) = SemaphoreTicket::acquire(&mut first, "reports")? else {
    ///     return Ok(());
    /// };
    /// assert!(SemaphoreTicket::acquire(&mut second, "reports")?.is_none());
    /// drop(ticket);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn acquire<'a>(mut conn: C, request: impl Into<Request<'a>>) -> Result<Option<Self>> {
        let request = request.into();
        let params = request.validate_for_guard()?;
        let pg = conn.pg_connection();
        let deadline = Deadline::from_request(&request);
        transaction::begin_guard(pg, deadline.is_some())
            .map_err(|error| error.classify(pg, Operation::Acquire))?;
        let granted = match deadline {
            Some(deadline) => queue::wait(pg, &request, params, deadline),
            None => acquire::try_once(pg, &request, params),
        };
        match granted {
            Ok(Some(ticket)) => {
                events::log_acquire_outcome(&request, deadline, Some(&ticket));
                Ok(Some(Self {
                    conn: Some(conn),
                    ticket,
                    since: Instant::now(),
                    lost: false,
                }))
            }
            Ok(None) => {
                transaction::finish_guard(pg)
                    .map_err(|error| Error::from(error).classify(pg, Operation::Acquire))?;
                events::log_acquire_outcome(&request, deadline, None);
                Ok(None)
            }
            Err(error) => {
                if deadline.is_some() {
                    transaction::abort_guard(pg);
                } else if let Err(error) = transaction::finish_guard(pg) {
                    log::debug!("rollback after a failed acquire: {error}");
                }
                Err(error.classify(pg, Operation::Acquire))
            }
        }
    }

    /// [`acquire`](Self::acquire), with an error when too few tickets are free.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](Error::Unavailable), and those of [`acquire`](Self::acquire).
    ///
    /// ```
    /// use diesel_dbsemaphore::{self as sem, Error, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// sem::ensure(&mut conn, "closed", 0)?;
    /// let refused = SemaphoreTicket::require(&mut conn, "closed");
    /// assert!(matches!(refused, Err(Error::Unavailable { name }) if name == "closed"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn require<'a>(conn: C, request: impl Into<Request<'a>>) -> Result<Self> {
        let request = request.into();
        acquire::or_unavailable(Self::acquire(conn, request)?, &request)
    }

    /// What is held.
    ///
    /// ```
    /// # use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 1)?;
    /// let guard = SemaphoreTicket::require(&mut conn, "reports")?;
    /// println!("working with ticket {}", guard.ticket());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Asks the server whether the ticket is still held: one round trip, which may block as long as the network does.
    ///
    /// The answer is exact, for the moment at which the server gave it: while the transaction goes on, its ticket can't
    /// have gone to anybody else.
    ///
    /// # Errors
    ///
    /// [`TicketLost`](Error::TicketLost), from then on at each call. A check that is itself cancelled or fails ends the
    /// transaction, so the ticket is lost then, too.
    ///
    /// ```
    /// # use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 1)?;
    /// let mut guard = SemaphoreTicket::require(&mut conn, "reports")?;
    /// for step in 0..3 {
    ///     guard.check()?;     // don't go on without a ticket
    ///     // .. the step ..
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&mut self) -> Result<()> {
        let known = self.lost;
        self.check_quietly().map_err(|cause| {
            if !known {
                events::log_lost(&self.ticket, self.since, cause.as_ref());
            }
            self.lost_error(cause)
        })
    }

    /// Gives the ticket back, and the connection, as dropping does, but reports what went wrong.
    ///
    /// # Errors
    ///
    /// [`TicketLost`](Error::TicketLost) if the ticket had gone before. The connection is dropped then.
    ///
    /// ```
    /// # use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 1)?;
    /// let guard = SemaphoreTicket::require(conn, "reports")?;
    /// // .. the work ..
    /// let conn = guard.release()?;    // an error says that somebody else may have been at it meanwhile
    /// # drop(conn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(mut self) -> Result<C> {
        self.end().unwrap_or_else(|| Err(self.lost_error(None)))
    }

    /// Checks the ticket in the background, at this interval, and tells when it is lost. That also keeps poolers and
    /// firewalls from taking the connection for idle.
    ///
    /// Each check is a round trip. The first one is made at once; an interval of some seconds is a good one.
    ///
    /// ```
    /// # use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 1)?;
    /// use std::time::Duration;
    ///
    /// let ticket = SemaphoreTicket::require(conn, "reports")?.watch(Duration::from_secs(2));
    /// // .. long work, which asks ticket.is_lost() now and then ..
    /// let conn = ticket.release()?;
    /// # drop(conn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(self, interval: Duration) -> WatchedTicket<C>
    where
        C: Send + 'static,
    {
        WatchedTicket::new(self, interval)
    }

    /// [`check`](Self::check), without an event.
    pub(crate) fn check_quietly(&mut self) -> Result<(), Option<diesel::result::Error>> {
        let (false, Some(conn)) = (self.lost, &mut self.conn) else {
            return Err(None);
        };
        // To lock a ticket, the transaction needed a number. Nobody else can end it and begin another that has one.
        let held = query::has_transaction_id(conn.pg_connection());
        self.lost = !matches!(&held, Ok(true));
        if self.lost { Err(held.err()) } else { Ok(()) }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// For a loss that was found, and logged, outside the guard.
    pub(crate) fn mark_lost(&mut self) {
        self.lost = true;
    }

    /// Drops the guard, which is lost, and its connection, which no pool will take back.
    pub(crate) fn discard(mut self) {
        self.lost = true;
        if let Some(conn) = &mut self.conn {
            diesel_internals::mark_broken(conn.pg_connection());
        }
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// The one end of a guard, for `release` and `drop`. None if it has had it.
    fn end(&mut self) -> Option<Result<C>> {
        let mut conn = self.conn.take()?;
        let ended = transaction::finish_guard(conn.pg_connection());
        match &ended {
            _ if self.lost => {}
            Ok(()) => {
                events::log_released(&self.ticket, self.since);
                return Some(Ok(conn));
            }
            Err(error) => events::log_lost(&self.ticket, self.since, Some(error)),
        }
        Some(Err(self.lost_error(ended.err())))
    }

    fn lost_error(&self, source: Option<diesel::result::Error>) -> Error {
        Error::TicketLost {
            ticket: self.ticket.clone(),
            source,
        }
    }
}

impl<C: TicketConnection> Drop for SemaphoreTicket<C> {
    fn drop(&mut self) {
        drop(self.end());
    }
}

impl<C: TicketConnection> fmt::Debug for SemaphoreTicket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphoreTicket")
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}
