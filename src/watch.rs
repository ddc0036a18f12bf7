use crate::{Error, Result, SemaphoreTicket, Ticket, TicketConnection};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
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
/// interval plus [`WATCH_GRACE`]. Once lost, it stays lost.
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
#[must_use = "the ticket goes back as soon as it is dropped"]
pub struct WatchedTicket<C: TicketConnection + Send + 'static> {
    ticket: Ticket,
    watch: Arc<Watch<C>>,
    threads: Vec<JoinHandle<()>>,
}

/// What the holder and the two threads share.
struct Watch<C: TicketConnection> {
    /// How old a confirmation may become.
    limit: Duration,
    state: Mutex<State<C>>,
    /// Something in the state has changed.
    changed: Condvar,
}

struct State<C: TicketConnection> {
    /// When the last check that succeeded was sent.
    confirmed: Instant,
    lost: bool,
    on_lost: Vec<Box<dyn FnOnce() + Send>>,
    /// The holder wants the guard back.
    released: bool,
    /// The holder has given up waiting for it.
    detached: bool,
    /// The guard, once its thread has ended.
    returned: Option<SemaphoreTicket<C>>,
}

impl<C: TicketConnection + Send + 'static> WatchedTicket<C> {
    pub(crate) fn new(guard: SemaphoreTicket<C>, interval: Duration) -> Self {
        let ticket = guard.ticket().clone();
        let watch = Arc::new(Watch {
            limit: interval.saturating_add(WATCH_GRACE),
            state: Mutex::new(State {
                confirmed: Instant::now(),
                lost: false,
                on_lost: Vec::new(),
                released: false,
                detached: false,
                returned: None,
            }),
            changed: Condvar::new(),
        });
        let (checks, alarms) = (Arc::clone(&watch), Arc::clone(&watch));
        let threads = vec![
            thread::spawn(move || checks.check_at_intervals(guard, interval)),
            thread::spawn(move || alarms.sound_the_alarm()),
        ];
        Self {
            ticket,
            watch,
            threads,
        }
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
        &self.ticket
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
        self.watch.is_lost(&mut self.watch.lock())
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
        let end = Instant::now().checked_add(limit);
        let mut state = self.watch.lock();
        loop {
            if self.watch.is_lost(&mut state) {
                return true;
            }
            if end.is_some_and(|end| end <= Instant::now()) {
                return false;
            }
            let until = [end, self.watch.doubtful_at(&state)];
            state = self
                .watch
                .wait_until(state, until.into_iter().flatten().min());
        }
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
        let mut state = self.watch.lock();
        if self.watch.is_lost(&mut state) {
            drop(state);
            run(Box::new(call));
        } else {
            state.on_lost.push(Box::new(call));
        }
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
            Some((guard, false)) => guard.release(),
            // Given back, but it may have been somebody else's in between.
            Some((_, true)) | None => Err(Error::TicketLost {
                ticket: self.ticket.clone(),
                source: None,
            }),
        }
    }

    /// The guard, and whether it had been lost. None if its thread is stuck.
    fn end(&mut self) -> Option<(SemaphoreTicket<C>, bool)> {
        let taken = self.watch.take_back();
        if let Some((_, false)) = taken {
            for thread in self.threads.drain(..) {
                // A panic of theirs has been printed, and there is nothing more to do about it.
                let _ = thread.join();
            }
        }
        taken
    }
}

impl<C: TicketConnection> Watch<C> {
    /// Nothing that holds this lock can panic in the middle of a change.
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None is for ever.
    fn wait_until<'a>(
        &self,
        state: MutexGuard<'a, State<C>>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, State<C>> {
        let Some(until) = until else {
            return self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        let time = until.saturating_duration_since(Instant::now());
        self.changed
            .wait_timeout(state, time)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// When the last confirmation will be too old. None for an endless interval.
    fn doubtful_at(&self, state: &State<C>) -> Option<Instant> {
        state.confirmed.checked_add(self.limit)
    }

    fn is_lost(&self, state: &mut State<C>) -> bool {
        let is_doubtful = self
            .doubtful_at(state)
            .is_some_and(|end| end <= Instant::now());
        if is_doubtful && !state.lost && !state.released {
            state.lost = true;
            self.changed.notify_all();
        }
        state.lost
    }

    /// The thread that has the connection.
    fn check_at_intervals(&self, mut guard: SemaphoreTicket<C>, interval: Duration) {
        let mut due = Some(Instant::now());
        let mut state = self.lock();
        while !state.released && !state.lost {
            if due.is_none_or(|due| due > Instant::now()) {
                state = self.wait_until(state, due);
                continue;
            }
            drop(state);
            let sent = Instant::now();
            due = sent.checked_add(interval);
            let checked = guard.check();
            state = self.lock();
            match checked {
                Ok(()) => state.confirmed = sent,
                Err(error) => {
                    log::warn!("{error}");
                    state.lost = true;
                }
            }
            self.changed.notify_all();
        }
        if state.detached {
            drop(state);
            guard.discard();
        } else {
            state.returned = Some(guard);
            self.changed.notify_all();
        }
    }

    /// The thread that has the clock. Ends with the watch.
    fn sound_the_alarm(&self) {
        let mut state = self.lock();
        while !state.released {
            if self.is_lost(&mut state) {
                let calls = std::mem::take(&mut state.on_lost);
                drop(state);
                calls.into_iter().for_each(run);
                return;
            }
            let until = self.doubtful_at(&state);
            state = self.wait_until(state, until);
        }
    }

    /// The guard, and whether it had been lost. None if its thread is stuck.
    fn take_back(&self) -> Option<(SemaphoreTicket<C>, bool)> {
        let mut state = self.lock();
        let lost = self.is_lost(&mut state);
        state.released = true;
        self.changed.notify_all();
        loop {
            if let Some(guard) = state.returned.take() {
                return Some((guard, lost || state.lost));
            }
            let until = self.doubtful_at(&state);
            if until.is_some_and(|until| until <= Instant::now()) {
                state.detached = true;
                return None;
            }
            state = self.wait_until(state, until);
        }
    }
}

fn run(call: Box<dyn FnOnce() + Send>) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        log::error!("a call-back of on_lost has panicked");
    }
}

impl<C: TicketConnection + Send + 'static> Drop for WatchedTicket<C> {
    fn drop(&mut self) {
        // After `release`, there is nothing left to take back.
        if self.watch.lock().released {
            return;
        }
        if self.end().is_none() {
            log::warn!("ticket {} was lost: no answer", self.ticket);
        }
    }
}

impl<C: TicketConnection + Send + 'static> fmt::Debug for WatchedTicket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedTicket")
            .field("ticket", &self.ticket)
            .field("is_lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}
