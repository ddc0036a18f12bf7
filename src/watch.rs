mod state;

use crate::{Error, Result, SemaphoreTicket, Ticket, TicketConnection};
use state::Watch;
use std::{
    fmt, io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// How much longer than its interval a watched ticket waits for a confirmation before it counts as lost.
///
/// ```
/// assert_eq!(diesel_dbsemaphore::WATCH_GRACE.as_secs(), 5);
/// ```
pub const WATCH_GRACE: Duration = Duration::from_secs(5);

/// A [`SemaphoreTicket`] that is checked in the background, so that its holder is told when it is lost.
///
/// Made by [`SemaphoreTicket::watch`]. One thread, which has the connection, [checks](SemaphoreTicket::check) the ticket
/// at each interval. As it may get stuck in a connection over which no answer comes, a second one looks at the clock: the
/// ticket counts as lost when a check fails, and also when the last check that succeeded was sent longer ago than the
/// interval plus [`WATCH_GRACE`]. Time in which the whole process was stopped, and its work with it, doesn't count. Once
/// lost, it stays lost.
///
/// Dropping gives the ticket back as [`release`](Self::release) does, and blocks as long.
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
///         return Err("somebody else may be at it".into());
///     }
///     // .. the step ..
/// }
/// let conn = ticket.release()?;
/// # drop(conn);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the ticket goes back as soon as it is dropped: bind it to a name, `let _ticket = ..`, since `let _ = ..` drops it at once"]
pub struct WatchedTicket<C: TicketConnection + Send + 'static> {
    watch: Arc<Watch<C>>,
    threads: Vec<JoinHandle<()>>,
}

impl<C: TicketConnection + Send + 'static> WatchedTicket<C> {
    pub(crate) fn new(guard: SemaphoreTicket<C>, interval: Duration) -> Self {
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
                Err(error) => watch.fail(&format!("it can't be watched: {error}")),
            }
        }
        Self { watch, threads }
    }

    /// What is held.
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

    /// Whether the ticket is lost, as far as is known now. Doesn't block.
    ///
    /// Never true of a ticket that is [confirmed](WATCH_GRACE) in time; true at the latest one interval plus
    /// [`WATCH_GRACE`] after the ticket has gone.
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

    /// Waits until the ticket is lost, for at most that long. Returns whether it is.
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

    /// Calls this when the ticket is lost: on a thread of the watch's, or right here if it is lost already. It is not
    /// called if the ticket is released before. It shouldn't panic, nor block for long; a panic is caught, and logged.
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

    /// Ends the watch, gives the ticket back, and returns the connection.
    ///
    /// Both threads of a healthy watch have done their work when this returns. It takes a round trip, and if a check is
    /// under way, the rest of that one. If no answer comes, it returns as soon as the ticket counts as lost, so after one
    /// interval plus [`WATCH_GRACE`] at most, and leaves the connection to its thread, which will close it: it never goes
    /// back to a pool.
    ///
    /// # Errors
    ///
    /// [`TicketLost`](Error::TicketLost), whether or not that had been noticed before. The connection is dropped then.
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

    /// Ends the watch and returns the guard, which knows whether it is lost. `None` if the thread that has it is stuck.
    fn end(&mut self) -> Option<SemaphoreTicket<C>> {
        let taken = self.watch.reclaim_guard();
        // The callback of a lost ticket may release it, on one of these threads, which can't join itself.
        if taken.as_ref().is_some_and(|guard| !guard.is_lost()) {
            for thread in self.threads.drain(..) {
                // A panic of theirs has been printed, and there is nothing more to do about it.
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
        // After `release`, there is nothing left to take back.
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
