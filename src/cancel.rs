use crate::{Result, query};
use diesel::PgConnection;
use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

/// Cancels requests that wait, from another thread.
///
/// A request carries the token by [`Request::cancellation`](crate::Request::cancellation). Share the token with the thread
/// that cancels, by a reference or an `Arc`. One token may serve several requests: [`cancel`](Self::cancel) cancels all of
/// them, also those that come later.
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
/// assert!(matches!(waiter.join().unwrap(), Err(Error::Cancelled { name }) if name == "closed"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct CancellationToken {
    cancelled: AtomicBool,
    /// The numbers by which the server knows the waits that go on.
    waits: Mutex<Vec<u32>>,
}

impl CancellationToken {
    /// Makes a token that is not cancelled.
    ///
    /// ```
    /// assert!(!diesel_dbsemaphore::CancellationToken::new().is_cancelled());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the waits of this token; returns `true` if the server has cancelled one.
    ///
    /// A request of this token that has not begun to wait is refused with [`Error::Cancelled`](crate::Error::Cancelled), too.
    /// If the wait ends by itself at the instant of the cancellation, that may meet the next statement of the waiter's session.
    /// PostgreSQL may miss a cancel that comes at the instant of a time-out: where the wait has to end, call this again until
    /// the call that waits has returned. A request that was granted at that instant keeps its ticket.
    ///
    /// Takes one round trip for each wait that goes on, on a connection other than the one that waits, of the same role or of a member of
    /// `pg_signal_backend`. It does not block.
    ///
    /// # Errors
    ///
    /// [`Error::Database`](crate::Error::Database). The token counts as cancelled all the same.
    ///
    /// ```
    /// # use diesel_dbsemaphore as sem;
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// let token = sem::CancellationToken::new();
    /// assert!(!token.cancel(&mut conn)?);     // nobody waits with it
    /// assert!(token.is_cancelled());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel(&self, conn: &mut PgConnection) -> Result<bool> {
        self.cancelled.store(true, SeqCst);
        let waits = self.lock().clone();
        let mut found = false;
        for id in waits {
            found |= query::cancel_wait(conn, id)?;
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

    /// From now on, until what is returned is dropped, the wait with this number goes on.
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

/// A number for a wait, unlike others of a whole fleet: `RandomState` is seeded by the system.
pub(crate) fn random_id() -> u32 {
    let hash = RandomState::new().hash_one(std::process::id());
    (hash >> 32) as u32
}
