mod check;

use crate::{
    Error, Request, Result, Ticket, TicketConnection, acquire,
    backend::{Hold, Operation},
    deadline::Deadline,
    events,
    wait::wait,
};
use diesel::result::Error as DieselError;
use std::{fmt, time::Instant};

/// Holds a ticket in a transaction of its own, until the guard is dropped or released.
///
/// The guard begins a transaction on its connection, acquires the ticket there, and rolls the transaction back at the
/// end. The connection must not be inside a transaction, and cannot be used otherwise while the guard exists. Use a
/// connection of a [pool for tickets alone](crate::guide::in_production#two-pools). Limitation: on PostgreSQL, a
/// guard detects a transaction that raw SQL has opened only by the error that aborts it, and rolls it back.
///
/// To acquire takes two round trips, or three if the request has to wait. To release takes one. None waits for the disk. For
/// its transaction, the guard overrides these settings of the connection:
///
/// * `idle_in_transaction_session_timeout` and, since PostgreSQL 17, `transaction_timeout`, which would release the
///   ticket during the work.
/// * `statement_timeout` and, if the request has to wait, `lock_timeout`. Exception: the first attempt to acquire is still
///   under the session's own `statement_timeout`.
/// * TCP keepalive and TCP user timeout: see [`Request::host_timeout`].
/// * The isolation level, which is `READ COMMITTED`.
///
/// Dropping never panics, takes one round trip, and may block as long as the network does. On a connection that is in
/// `begin_test_transaction`, the guard uses a savepoint instead of a transaction, so that tests can run without a
/// commit.
///
/// If the guard is leaked (`std::mem::forget`), its transaction remains open until the connection is closed. A pool
/// closes the connection when it is returned.
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
#[must_use = "the ticket is released as soon as its guard is dropped: bind it to a name, `let _ticket = ..`, since `let _ = ..` drops it at once"]
pub struct SemaphoreTicket<C: TicketConnection> {
    /// `None` after `release` has taken it.
    conn: Option<C>,
    hold: Hold,
    ticket: Ticket,
    since: Instant,
    /// Set by a failed check. Only checks run in the guard's transaction, so nothing else can end it undetected. A lost
    /// session is detected by the rollback.
    lost: bool,
}

impl<C: TicketConnection> SemaphoreTicket<C> {
    /// Acquires a ticket. Returns `None` if too few tickets are available. Unless a ticket was acquired, the
    /// connection is dropped. Pass `&mut conn` to keep it.
    ///
    /// Waits only if the request says so: see [`waiting`](crate::guide::waiting).
    ///
    /// # Errors
    ///
    /// After each of these the connection is as it was before, unless the connection itself is broken.
    ///
    /// * [`AlreadyInTransaction`](Error::AlreadyInTransaction): the connection is inside a transaction, which remains
    ///   as it was. On PostgreSQL, one that raw SQL has opened is rolled back.
    /// * [`UnknownSemaphore`](Error::UnknownSemaphore): there is no semaphore of that name.
    /// * [`InvalidName`](Error::InvalidName), [`InvalidLabel`](Error::InvalidLabel): the name or the label is not
    ///   valid.
    /// * [`InvalidTickets`](Error::InvalidTickets): 0 tickets were requested, or more than the semaphore has.
    /// * [`Cancelled`](Error::Cancelled): the token of the request was cancelled before or while it waited.
    /// * [`NotMigrated`](Error::NotMigrated): the tables are missing.
    /// * [`Database`](Error::Database): the database or Diesel reported an error.
    /// * [`LockFile`](Error::LockFile), [`Unsupported`](Error::Unsupported): on SQLite alone, see
    ///   [`sqlite`](crate::guide::sqlite).
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
        let backend = conn.backend().into_backend();
        let deadline = Deadline::from_request(&request);
        request.check_cancellation()?;
        backend
            .begin_guard()
            .map_err(|error| backend.classify(error, Operation::Acquire))?;
        let mut hold = Hold::default();
        let first = acquire::try_once(backend, &request, params, &mut hold);
        let acquired = match (first, deadline) {
            (Ok(None), Some(deadline)) => wait(backend, &request, params, deadline, &mut hold)
                .inspect_err(|_| backend.abort_guard()),
            (Err(error), _) => {
                if let Err(error) = backend.finish_guard(&mut hold) {
                    log::debug!("rollback after a failed acquire: {error}");
                }
                Err(error)
            }
            (acquired, _) => acquired,
        };
        match acquired {
            Ok(Some(ticket)) => {
                events::log_acquire_outcome(&request, deadline, Some(&ticket));
                Ok(Some(Self {
                    conn: Some(conn),
                    hold,
                    ticket,
                    since: Instant::now(),
                    lost: false,
                }))
            }
            Ok(None) => {
                backend
                    .finish_guard(&mut hold)
                    .map_err(|error| backend.classify(error.into(), Operation::Acquire))?;
                events::log_acquire_outcome(&request, deadline, None);
                Ok(None)
            }
            Err(error) => Err(backend.classify(error, Operation::Acquire)),
        }
    }

    /// Acquires a ticket as [`acquire`](Self::acquire) does. Returns an error if too few tickets are available.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](Error::Unavailable), and the errors of [`acquire`](Self::acquire).
    ///
    /// ```
    /// use diesel_dbsemaphore::{self as sem, Error, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// sem::ensure(&mut conn, "closed", 0)?;
    /// let refused = SemaphoreTicket::require(&mut conn, "closed");
    /// assert!(matches!(refused, Err(Error::Unavailable { name, .. }) if name == "closed"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn require<'a>(conn: C, request: impl Into<Request<'a>>) -> Result<Self> {
        let request = request.into();
        acquire::or_unavailable(Self::acquire(conn, request)?, &request)
    }

    /// Returns the held ticket.
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

    /// Releases the ticket as dropping does, and returns the connection, or an error if the ticket was lost.
    ///
    /// # Errors
    ///
    /// [`TicketLost`](Error::TicketLost) if the ticket was lost before. The connection is dropped.
    ///
    /// ```
    /// # use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 1)?;
    /// let guard = SemaphoreTicket::require(conn, "reports")?;
    /// // .. the work ..
    /// let conn = guard.release()?;    // after an error, discard the result: another holder may have worked meanwhile
    /// # drop(conn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(mut self) -> Result<C> {
        self.end().unwrap_or_else(|| Err(self.lost_error(None)))
    }

    /// Uses the connection for something else, while the guard holds the ticket.
    pub(crate) fn lend<T, E: From<DieselError>>(
        &mut self,
        work: impl FnOnce(&mut C) -> Result<T, E>,
    ) -> Result<T, E> {
        let conn = self.conn.as_mut();
        work(conn.ok_or(DieselError::BrokenTransactionManager)?)
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Ends the guard, for `release` and `drop`. `None` if the guard has ended before.
    fn end(&mut self) -> Option<Result<C>> {
        let mut conn = self.conn.take()?;
        let ended = conn.backend().into_backend().finish_guard(&mut self.hold);
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

    fn lost_error(&self, source: Option<DieselError>) -> Error {
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
