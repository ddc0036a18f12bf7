//! The state and the threads of a [`WatchedTicket`](crate::WatchedTicket).

use crate::{SemaphoreTicket, Ticket, TicketConnection, events};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const NO_ANSWER: &str = "no answer in time";

/// If the expiry thread wakes up later than this, the whole process was suspended.
const SUSPEND_THRESHOLD: Duration = Duration::from_secs(1);

/// The state that the holder and the two threads share.
pub(super) struct Watch<C: TicketConnection> {
    pub(super) ticket: Ticket,
    /// When the ticket was acquired.
    since: Instant,
    /// The maximum age of a confirmation.
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
    /// The holder reclaims the guard.
    released: bool,
    /// The holder has stopped waiting for the guard.
    detached: bool,
    /// The guard, while no thread has it.
    guard: Option<SemaphoreTicket<C>>,
}

impl<C: TicketConnection> Watch<C> {
    pub(super) fn new(guard: SemaphoreTicket<C>, limit: Duration) -> Self {
        Self {
            ticket: guard.ticket().clone(),
            since: guard.since(),
            limit,
            state: Mutex::new(State {
                confirmed: Instant::now(),
                lost: false,
                on_lost: Vec::new(),
                released: false,
                detached: false,
                guard: Some(guard),
            }),
            changed: Condvar::new(),
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lock().lost
    }

    pub(super) fn is_released(&self) -> bool {
        self.lock().released
    }

    /// Ends the watch for this reason: the ticket counts as lost from now on.
    pub(super) fn fail(&self, reason: &impl fmt::Display) {
        self.report_lost(self.lock(), Some(reason));
    }

    /// Sets the ticket lost. Returns whether nobody had done so before. Then the caller logs it without the lock: a logger
    /// may block, or ask for the state.
    fn set_lost(&self, state: &mut State<C>) -> bool {
        let was_lost = std::mem::replace(&mut state.lost, true);
        self.changed.notify_all();
        !was_lost
    }

    fn report_lost(&self, mut state: MutexGuard<'_, State<C>>, reason: Option<&impl fmt::Display>) {
        if self.set_lost(&mut state) {
            drop(state);
            events::log_lost(&self.ticket, self.since, reason);
        }
    }

    pub(super) fn wait_lost(&self, limit: Duration) -> bool {
        let end = Instant::now().checked_add(limit);
        let mut state = self.lock();
        while !state.lost && end.is_none_or(|end| end > Instant::now()) {
            state = self.wait_until(state, end);
        }
        state.lost
    }

    pub(super) fn on_lost(&self, call: Box<dyn FnOnce() + Send>) {
        let mut state = self.lock();
        if state.lost {
            drop(state);
            run(call);
        } else {
            state.on_lost.push(call);
        }
    }

    /// Nothing that holds this lock can panic in the middle of a change.
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without `until`, waits without limit.
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

    /// Returns when the last confirmation will be too old. `None` for an interval without end.
    fn stale_at(&self, state: &State<C>) -> Option<Instant> {
        state.confirmed.checked_add(self.limit)
    }

    /// Checks the ticket at this interval until it is lost or released. Runs on the thread that has the connection.
    pub(super) fn run_check_thread(&self, interval: Duration) {
        let mut due = Some(Instant::now());
        let mut state = self.lock();
        let Some(mut guard) = state.guard.take() else {
            return;
        };
        while !state.released && !state.lost {
            if due.is_none_or(|due| due > Instant::now()) {
                state = self.wait_until(state, due);
                continue;
            }
            drop(state);
            let sent = Instant::now();
            due = sent.checked_add(interval);
            let checked = guard.check_quietly(Some(self.limit));
            state = self.lock();
            match checked {
                Ok(()) => {
                    state.confirmed = sent;
                    self.changed.notify_all();
                }
                Err(reason) => {
                    self.report_lost(state, reason.as_ref());
                    state = self.lock();
                }
            }
        }
        if state.detached {
            drop(state);
            guard.discard();
        } else {
            state.guard = Some(guard);
            self.changed.notify_all();
        }
    }

    /// Sets the ticket lost if the last confirmation is too old. Returns as `set_lost` does.
    fn expire_if_stale(&self, state: &mut State<C>) -> bool {
        let late = self
            .stale_at(state)
            .and_then(|at| Instant::now().checked_duration_since(at));
        match late {
            // The process was suspended, and its work with it. The next check detects a loss.
            Some(late) if late > SUSPEND_THRESHOLD => {
                state.confirmed = Instant::now();
                false
            }
            Some(_) => self.set_lost(state),
            None => false,
        }
    }

    /// Observes the clock until the ticket is lost or released. Then calls the functions of `on_lost`, which may block: so
    /// each watch has a second thread of its own, and runs this there.
    pub(super) fn run_expiry_thread(&self) {
        let mut is_news = false;
        let mut state = self.lock();
        while !state.released && !state.lost {
            let until = self.stale_at(&state);
            state = self.wait_until(state, until);
            if !state.released {
                is_news = self.expire_if_stale(&mut state);
            }
        }
        let calls = match state.lost && !state.released {
            true => std::mem::take(&mut state.on_lost),
            false => Vec::new(),
        };
        drop(state);
        calls.into_iter().for_each(run);
        if is_news {
            events::log_lost(&self.ticket, self.since, Some(&NO_ANSWER));
        }
    }

    /// Ends the watch and returns the guard, which knows whether it is lost. `None` if the thread that has the guard
    /// is blocked.
    pub(super) fn reclaim_guard(&self) -> Option<SemaphoreTicket<C>> {
        let mut state = self.lock();
        state.released = true;
        self.changed.notify_all();
        loop {
            if let Some(mut guard) = state.guard.take() {
                if state.lost {
                    guard.mark_lost();
                }
                return Some(guard);
            }
            let until = self.stale_at(&state);
            if until.is_some_and(|until| until <= Instant::now()) {
                state.detached = true;
                self.report_lost(state, Some(&NO_ANSWER));
                return None;
            }
            state = self.wait_until(state, until);
        }
    }
}

fn run(call: Box<dyn FnOnce() + Send>) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        log::error!("a function of on_lost has panicked");
    }
}
