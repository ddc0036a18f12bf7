//! Cancelling a wait by its token.

use super::with_semaphore;
use diesel::Connection;
use diesel_dbsemaphore::{self as sem, CancellationToken, Error, Request, SemaphoreTicket};
use stand::eventually;
use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

#[test]
fn one_call_cancels_a_wait() {
    let (database, mut conn) = with_semaphore("closed", 0);
    for (round, is_guard) in [true, false].into_iter().cycle().take(20).enumerate() {
        let token = CancellationToken::new();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let request = Request::new("closed").wait_forever().cancellation(&token);
                let mut conn = database.connect();
                if is_guard {
                    SemaphoreTicket::acquire(&mut conn, request).map(drop)
                } else {
                    conn.transaction(|conn| sem::acquire(conn, request))
                        .map(drop)
                }
            });
            eventually("it waits", || {
                sem::waiters(&mut conn, "closed").unwrap().len() == 1
            });
            assert!(token.cancel(&mut conn).unwrap(), "round {round}");
            let outcome = waiter.join().unwrap();
            assert!(
                matches!(outcome, Err(Error::Cancelled { .. })),
                "{outcome:?}"
            );
        });
        assert_eq!(sem::waiters(&mut conn, "closed").unwrap(), []);
    }
}

/// Also if the server does not answer the cancelled statement.
#[test]
fn a_cancellation_at_the_moment_of_the_grant_ends_the_wait() {
    let (database, mut holder) = with_semaphore("x", 1);
    let mut canceller = database.connect();
    let mut cancelled = 0;
    for round in 0..200 {
        let ticket = SemaphoreTicket::require(holder, "x").unwrap();
        let token = Arc::new(CancellationToken::new());
        let (tell, told) = mpsc::channel();
        // A thread that is stuck must not keep the test from ending.
        let waiter = thread::spawn({
            let (mut conn, token) = (database.connect(), Arc::clone(&token));
            move || {
                let request = Request::new("x").wait_forever().cancellation(&token);
                let outcome = if round % 2 == 0 {
                    SemaphoreTicket::acquire(&mut conn, request).map(drop)
                } else {
                    conn.transaction(|conn| sem::acquire(conn, request))
                        .map(drop)
                };
                tell.send(outcome).unwrap();
            }
        });
        eventually("it waits", || {
            sem::waiters(&mut canceller, "x").unwrap().len() == 1
        });
        let release = thread::spawn(move || ticket.release().unwrap());
        let (aim, began) = (Duration::from_micros(round * 7 % 600), Instant::now());
        while began.elapsed() < aim {
            std::hint::spin_loop();
        }
        token.cancel(&mut canceller).unwrap();
        holder = release.join().unwrap();
        let outcome = told.recv_timeout(Duration::from_secs(30));
        let outcome = outcome.expect("the wait ends");
        cancelled += u32::from(matches!(outcome, Err(Error::Cancelled { .. })));
        waiter.join().unwrap();
        assert_eq!(sem::waiters(&mut canceller, "x").unwrap(), []);
    }
    assert!(cancelled > 2, "the aim is bad: {cancelled} of 200 hit");
}
