use crate::{Result, TicketConnection};
use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

/// Cancels waiting requests from another thread.
///
/// [`Request::cancellation`](crate::Request::cancellation) adds the token to a request. Share the token with the
/// thread that cancels, by a reference or an `Arc`. If several requests have the token, [`cancel`](Self::cancel)
/// cancels all of them, and also later ones.
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
/// while !waiter.is_finished() {
///     token.cancel(&mut conn)?;
///     thread::yield_now();
/// }
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
    /// A request with this token that begins to wait later fails with [`Error::Cancelled`](crate::Error::Cancelled),
    /// too. A request that acquires its ticket at the instant of the call keeps it.
    ///
    /// Limitation: if the wait ends by itself at the instant of the call, the cancellation may meet the next statement of
    /// the waiter's session. PostgreSQL may ignore a cancellation at the instant of a timeout. If the wait has to end,
    /// repeat this call until the waiting call has returned.
    ///
    /// Takes one round trip for each running wait. `conn` has to be another connection than the one that waits, of the
    /// same role or of a member of `pg_signal_backend`. Does not wait for the cancelled call.
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
        self.cancelled.store(true, SeqCst);
        let waits = self.lock().clone();
        let backend = conn.backend().into_backend();
        let mut found = false;
        for id in waits {
            found |= backend.cancel_wait(id)?;
        }
        Ok(found)
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
