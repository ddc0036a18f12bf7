//! The ways to hold tickets.

use super::{CHECK_INTERVAL, WATCH_INTERVAL, Worker, wish::Wish};
use crate::{
    backend::Backend,
    log::{Event, now},
};
use diesel::Connection;
use diesel_dbsemaphore::{self as sem, WATCH_GRACE};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Instant,
};

impl<B: Backend> Worker<B> {
    pub(super) fn plain(&mut self, wish: &Wish) {
        if let Some(guard) = self.guard(wish, wish.hold) {
            thread::sleep(wish.hold);
            self.log.write(&Event::Leaving);
            let released = guard.release();
            self.ended(released);
        }
    }

    pub(super) fn checked(&mut self, wish: &Wish) {
        let Some(mut guard) = self.guard(wish, CHECK_INTERVAL) else {
            return;
        };
        let end = Instant::now() + wish.hold;
        loop {
            let sent = now();
            if let Err(error) = guard.check() {
                return self.log.write(&Event::Told(error.to_string()));
            }
            self.log.write(&Event::Confirmed(sent));
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(CHECK_INTERVAL));
        }
        self.log.write(&Event::Leaving);
        let released = guard.release();
        self.ended(released);
    }

    pub(super) fn watched(&mut self, wish: &Wish) {
        let Some(guard) = self.guard(wish, WATCH_INTERVAL + WATCH_GRACE) else {
            return;
        };
        let ticket = guard.watch(WATCH_INTERVAL);
        if ticket.wait_lost(wish.hold) {
            self.log.write(&Event::Told("by its watch".to_owned()));
            drop(ticket);
            return;
        }
        self.log.write(&Event::Leaving);
        let released = ticket.release();
        self.ended(released);
    }

    pub(super) fn with_ticket(&mut self, wish: &Wish) {
        let pool = self.pool.clone();
        self.call(wish, false, 0);
        let mut got = false;
        let done = sem::with_ticket(&pool, wish.request(), |guard| {
            self.got(guard.ticket(), 0, wish.hold);
            got = true;
            thread::sleep(wish.hold);
            self.log.write(&Event::Leaving);
            Ok::<_, sem::Error>(())
        });
        self.log.write(&match done {
            Ok(()) => Event::Released,
            Err(error) if got => Event::Told(error.to_string()),
            Err(sem::Error::Unavailable { .. }) => Event::Refused,
            Err(error) => Event::Failed(error.to_string()),
        });
    }

    /// In a transaction of its own, like an application's; or inside a savepoint there.
    pub(super) fn low_level(&mut self, wish: &Wish, in_savepoint: bool) {
        let Ok(mut conn) = self.pool.get() else {
            return;
        };
        let mut got = false;
        let mut called = false;
        let done = conn.transaction::<_, sem::Error, _>(|c| {
            let pid = B::session_id(c)?;
            called = true;
            self.call(wish, true, pid);
            let ticket = if in_savepoint {
                c.transaction(|c| sem::acquire(c, wish.request()))?
            } else {
                sem::acquire(c, wish.request())?
            };
            let Some(ticket) = ticket else {
                return Ok(());
            };
            self.got(&ticket, pid, wish.hold);
            got = true;
            thread::sleep(wish.hold);
            self.log.write(&Event::Leaving);
            Ok(())
        });
        if called {
            self.log.write(&match done {
                Ok(()) if got => Event::Released,
                Ok(()) => Event::Refused,
                Err(error) if got => Event::Told(error.to_string()),
                Err(error) => Event::Failed(error.to_string()),
            });
        }
    }

    pub(super) fn panicking(&mut self, wish: &Wish) {
        let Some(guard) = self.guard(wish, wish.hold) else {
            return;
        };
        thread::sleep(wish.hold);
        self.log.write(&Event::Does("panic".to_owned()));
        self.log.write(&Event::Leaving);
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _guard = guard;
            panic!("while it holds a ticket");
        }));
        assert!(panicked.is_err());
        self.log.write(&Event::Left);
    }

    pub(super) fn crashing(&mut self, wish: &Wish) {
        if let Some(_guard) = self.guard(wish, wish.hold) {
            thread::sleep(wish.hold);
            self.log.write(&Event::Does("crash".to_owned()));
            kill(Pid::this(), Signal::SIGKILL).unwrap();
        }
    }
}
