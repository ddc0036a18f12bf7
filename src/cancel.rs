use crate::{Result, TicketConnection};
use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a cancellation looks for a wait that the server does not know yet.
const SEARCH_LIMIT: Duration = Duration::from_secs(5);

const SEARCH_PAUSE: Duration = Duration::from_millis(5);

/// Cancels waiting requests from another thread.
///
/// [`Request::cancellation`](crate::Request::cancellation) adds the token to a request. Share the token with the
/// thread that cancels, by a reference or an `Arc`. If several requests have the token, [`cancel`](Self::cancel)
/// cancels all of them, and also later ones. A request that does not [wait](crate::Request::wait) ignores its token.
///
/// ```
/// use diesel_dbsemaphore::{self as sem, CancellationToken, Error, Request, SemaphoreTicket};
/// use std::{sync::Arc, thread};
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # let ticket_conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
///
/// sem::make(&mut conn, "closed", 0)?;
/// let token = Arc::new(CancellationToken::new());
/// let waiter = thread::spawn({
///     let token = Arc::clone(&token);
///     move || {
///         let request = Request::new("closed").wait_forever().cancellation(&token);
///         SemaphoreTicket::require(ticket_conn, request).map(drop)
///     }
/// });
/// token.cancel(&mut conn)?;
/// assert!(matches!(waiter.join().unwrap(), Err(Error::Cancelled { name, .. }) if name == "closed"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct CancellationToken {
    cancelled: AtomicBool,
    /// The numbers under which the server can cancel the running waits.
    waits: Mutex<Vec<u32>>,
}

impl CancellationToken {
    /// Creates a token that is not cancelled.
    ///
    /// ```
    /// assert!(!diesel_dbsemaphore::CancellationToken::new().is_cancelled());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the waits of this token. Returns `true` if the server has cancelled one.
    ///
    /// Later, each request with this token that may wait fails with [`Error::Cancelled`](crate::Error::Cancelled), even
    /// if a ticket is available. A request that acquires its ticket at the instant of the call keeps it.
    ///
    /// Limitation: if the wait ends by itself at the instant of the call, the cancellation may meet the next statement of
    /// the waiter's session. PostgreSQL may ignore a cancellation at the instant of a timeout. If the wait has to end,
    /// repeat this call until the waiting call has returned.
    ///
    /// Takes one round trip for each running wait. If a wait has begun, and has not reached the server yet, this call
    /// looks for it each 5 ms, for 5 s altogether. It returns `false` if the wait is not found, because the server has
    /// blocked the waiter's statement or the network its connection. Repeat the call then.
    ///
    /// `conn` has to be another connection to the same database than the one that waits, of the same role or of a member
    /// of `pg_signal_backend`. Does not wait for the cancelled call.
    ///
    /// # Errors
    ///
    /// [`Error::Database`](crate::Error::Database). The token is cancelled in this case, too.
    ///
    /// ```
    /// # use diesel_dbsemaphore as sem;
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// let token = sem::CancellationToken::new();
    /// assert!(!token.cancel(&mut conn)?);     // no request with it waits
    /// assert!(token.is_cancelled());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel<C: TicketConnection + ?Sized>(&self, conn: &mut C) -> Result<bool> {
        let end = Instant::now() + SEARCH_LIMIT;
        let mut found = Vec::new();
        while self.cancel_running(conn, &mut found)? && Instant::now() < end {
            thread::sleep(SEARCH_PAUSE);
        }
        Ok(!found.is_empty())
    }

    /// Cancels the waits that are not in `found`, and adds to it those that the server knows. Returns whether there is
    /// one that it does not know: its thread has checked this token before, and has not sent its statement yet, or has
    /// its answer already.
    pub(crate) fn cancel_running<C: TicketConnection + ?Sized>(
        &self,
        conn: &mut C,
        found: &mut Vec<u32>,
    ) -> Result<bool> {
        self.cancelled.store(true, SeqCst);
        let waits = self.lock().clone();
        let backend = conn.backend().into_backend();
        let mut any_is_unknown = false;
        for id in waits {
            if found.contains(&id) {
                continue;
            }
            if backend.cancel_wait(id)? {
                found.push(id);
            } else {
                any_is_unknown = true;
            }
        }
        Ok(any_is_unknown)
    }

    /// Returns `true` if [`cancel`](Self::cancel) was called.
    ///
    /// ```
    /// assert!(!diesel_dbsemaphore::CancellationToken::new().is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(SeqCst)
    }

    /// Registers the running wait with this number, until the returned value is dropped.
    pub(crate) fn add(&self, wait: u32) -> impl Drop + '_ {
        struct Added<'a>(&'a CancellationToken, u32);

        impl Drop for Added<'_> {
            fn drop(&mut self) {
                self.0.lock().retain(|wait| *wait != self.1);
            }
        }
        self.lock().push(wait);
        Added(self, wait)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u32>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a number for a wait that differs from those of other processes: the system seeds `RandomState`.
pub(crate) fn random_id() -> u32 {
    let hash = RandomState::new().hash_one(std::process::id());
    (hash >> 32) as u32
}
