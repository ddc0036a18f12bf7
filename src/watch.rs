mod state;

use crate::{Error, Result, SemaphoreTicket, Ticket, TicketConnection};
use state::Watch;
use std::{
    fmt, io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// The time after its interval for which a watched ticket waits for a confirmation, before it counts as lost.
///
/// ```
/// assert_eq!(diesel_dbsemaphore::WATCH_GRACE.as_secs(), 5);
/// ```
pub const WATCH_GRACE: Duration = Duration::from_secs(5);

/// A [`SemaphoreTicket`] that is checked in the background, and reports its loss.
///
/// [`SemaphoreTicket::watch`] creates it. A thread that has the connection [checks](SemaphoreTicket::check) the ticket
/// at each interval. A second thread observes the clock, because a check can block if no answer comes. The ticket
/// counts as lost
///
/// * if a check fails;
/// * if the last successful check was sent longer ago than the interval plus [`WATCH_GRACE`]. Time in which the whole
///   process was stopped does not count.
///
/// A lost ticket remains lost.
///
/// Dropping releases the ticket as [`release`](Self::release) does, and blocks as long.
///
/// ```
/// use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
/// use std::time::Duration;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
/// # sem::ensure(&mut conn, "reports", 1)?;
///
/// let ticket = SemaphoreTicket::require(conn, "reports")?.watch(Duration::from_secs(1));
/// for step in 0..3 {
///     if ticket.is_lost() {
///         return Err("the ticket is lost: another holder may work now".into());
///     }
///     // .. the step ..
/// }
/// let conn = ticket.release()?;
/// # drop(conn);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the ticket is released as soon as this is dropped: bind it to a name, `let _ticket = ..`, since `let _ = ..` drops it at once"]
pub struct WatchedTicket<C: TicketConnection + Send + 'static> {
    watch: Arc<Watch<C>>,
    threads: Vec<JoinHandle<()>>,
}

impl<C: TicketConnection + Send + 'static> SemaphoreTicket<C> {
    /// Checks the ticket in the background at this interval, and reports its loss. The checks also keep poolers and
    /// firewalls from treating the connection as idle.
    ///
    /// Each check is a round trip, the first at once. Some seconds are suitable. An interval below 10 ms counts as 10 ms.
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
    /// // .. long work, which calls ticket.is_lost() now and then ..
    /// let conn = ticket.release()?;
    /// # drop(conn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(self, interval: Duration) -> WatchedTicket<C> {
        WatchedTicket::new(self, interval)
    }
}

impl<C: TicketConnection + Send + 'static> WatchedTicket<C> {
    pub(crate) fn new(guard: SemaphoreTicket<C>, interval: Duration) -> Self {
        // So that no watch keeps the server busy.
        let interval = interval.max(Duration::from_millis(10));
        let watch = Arc::new(Watch::new(guard, interval.saturating_add(WATCH_GRACE)));
        let (checks, expiry) = (Arc::clone(&watch), Arc::clone(&watch));
        let started = [
            start(move || checks.run_check_thread(interval)),
            start(move || expiry.run_expiry_thread()),
        ];
        let mut threads = Vec::new();
        for thread in started {
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => watch.fail(&format!("no thread can be started to watch it: {error}")),
            }
        }
        Self { watch, threads }
    }

    /// Returns the held ticket.
    ///
    /// ```
    /// # use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 1)?;
    /// # let interval = std::time::Duration::from_secs(1);
    /// let ticket = SemaphoreTicket::require(conn, "reports")?.watch(interval);
    /// println!("watching {}", ticket.ticket());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn ticket(&self) -> &Ticket {
        &self.watch.ticket
    }

    /// Returns `true` if the loss of the ticket is known. Does not block.
    ///
    /// A loss is known at the latest one interval plus [`WATCH_GRACE`] after it. A ticket that was confirmed within
    /// this time never counts as lost.
    ///
    /// ```
    /// # use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 1)?;
    /// # let interval = std::time::Duration::from_secs(1);
    /// let ticket = SemaphoreTicket::require(conn, "reports")?.watch(interval);
    /// assert!(!ticket.is_lost());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_lost(&self) -> bool {
        self.watch.is_lost()
    }

    /// Waits until the ticket is lost, for at most `limit`. Returns `true` if it is lost.
    ///
    /// ```
    /// # use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
    /// # use std::time::Duration;
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 1)?;
    /// let ticket = SemaphoreTicket::require(conn, "reports")?.watch(Duration::from_secs(1));
    /// assert!(!ticket.wait_lost(Duration::from_millis(10)));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_lost(&self, limit: Duration) -> bool {
        self.watch.wait_lost(limit)
    }

    /// Registers a function that is called when the ticket is lost, on a thread of the watch. If the ticket is lost
    /// already, the function is called at once, on this thread. If the ticket is released before, the function is not
    /// called. The function should not block for long. A panic is caught and logged.
    ///
    /// ```
    /// # use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 1)?;
    /// # let interval = std::time::Duration::from_secs(1);
    /// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    ///
    /// let stop = Arc::new(AtomicBool::new(false));
    /// let ticket = SemaphoreTicket::require(conn, "reports")?.watch(interval);
    /// let told = Arc::clone(&stop);
    /// ticket.on_lost(move || told.store(true, Ordering::SeqCst));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_lost(&self, call: impl FnOnce() + Send + 'static) {
        self.watch.on_lost(Box::new(call));
    }

    /// Ends the watch, releases the ticket, and returns the connection, or an error if the ticket was lost.
    ///
    /// Takes a round trip, and the rest of a running check. If no answer comes, this returns when the ticket counts as
    /// lost, after at most the interval plus [`WATCH_GRACE`]. The thread that has the connection then closes it, so
    /// that no pool reuses it. Otherwise both threads have ended when this returns.
    ///
    /// # Errors
    ///
    /// [`TicketLost`](Error::TicketLost) if the ticket was lost, whether or not the watch had detected it. The
    /// connection is dropped.
    ///
    /// ```
    /// # use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 1)?;
    /// # let interval = std::time::Duration::from_secs(1);
    /// let ticket = SemaphoreTicket::require(conn, "reports")?.watch(interval);
    /// let conn = ticket.release()?;
    /// # drop(conn);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(mut self) -> Result<C> {
        match self.end() {
            Some(guard) => guard.release(),
            None => Err(Error::TicketLost {
                ticket: self.ticket().clone(),
                source: None,
            }),
        }
    }

    /// Ends the watch and returns the guard, which knows whether it is lost. `None` if the thread that has the guard
    /// is blocked.
    fn end(&mut self) -> Option<SemaphoreTicket<C>> {
        let taken = self.watch.reclaim_guard();
        // A function of `on_lost` may release the ticket on one of these threads, which cannot join itself.
        if taken.as_ref().is_some_and(|guard| !guard.is_lost()) {
            for thread in self.threads.drain(..) {
                // A panic of the thread has been printed already.
                let _ = thread.join();
            }
        }
        taken
    }
}

fn start(work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name("dbsemaphore-watch".to_owned())
        .spawn(work)
}

impl<C: TicketConnection + Send + 'static> Drop for WatchedTicket<C> {
    fn drop(&mut self) {
        // After `release`, the guard has ended already.
        if !self.watch.is_released() {
            drop(self.end());
        }
    }
}

impl<C: TicketConnection + Send + 'static> fmt::Debug for WatchedTicket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedTicket")
            .field("ticket", self.ticket())
            .field("is_lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}
