//! The queue: who is served, and how a waiter leaves it.

use super::{number, run, with_semaphore};
use crate::kit::{TestDatabase, process::Process};
use diesel::Connection;
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use stand::{eventually, mysql::Database};
use std::{
    thread,
    time::{Duration, Instant},
};

const LONG: Duration = Duration::from_secs(60);

fn eventually_waiting(database: &Database, name: &str, count: usize) {
    let mut conn = database.connect();
    eventually("the waiters are in the queue", || {
        sem::waiters(&mut conn, name).unwrap().len() == count
    });
}

/// With two tickets, the head polls: a released ticket is available meanwhile, but to the head alone.
#[test]
fn nobody_overtakes_a_waiter() {
    let (database, mut conn) = with_semaphore("reports", 2);
    for _ in 0..5 {
        let mut holders: Vec<_> = (0..2)
            .map(|_| SemaphoreTicket::require(database.connect(), "reports").unwrap())
            .collect();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let request = Request::new("reports").wait(LONG);
                SemaphoreTicket::require(database.connect(), request).unwrap()
            });
            eventually_waiting(&database, "reports", 1);
            database.until_head_waits();
            drop(holders.pop());
            let guard = SemaphoreTicket::acquire(&mut conn, "reports").unwrap();
            assert!(guard.is_none());
            drop(guard);
            waiter.join().unwrap().release().unwrap();
        });
    }
}

#[test]
fn a_wait_ends_on_time_and_never_early() {
    let (database, mut conn) = with_semaphore("reports", 2);
    let _all =
        SemaphoreTicket::require(database.connect(), Request::new("reports").tickets(2)).unwrap();
    for limit in [1, 37, 250, 1100].map(Duration::from_millis) {
        let began = Instant::now();
        let waited =
            SemaphoreTicket::acquire(&mut conn, Request::new("reports").wait(limit)).unwrap();
        assert!(waited.is_none());
        assert!(began.elapsed() >= limit, "{limit:?}: {:?}", began.elapsed());
        assert!(
            began.elapsed() < limit + Duration::from_millis(700),
            "{limit:?}: {:?}",
            began.elapsed()
        );
    }
}

/// Behind the head, the server's own queue of a user lock decides.
#[test]
fn a_wait_behind_the_head_ends_on_time() {
    let (database, mut conn) = with_semaphore("reports", 1);
    let holder = SemaphoreTicket::require(database.connect(), "reports").unwrap();
    thread::scope(|scope| {
        let head = scope.spawn(|| {
            let request = Request::new("reports").wait(LONG);
            SemaphoreTicket::require(database.connect(), request).map(drop)
        });
        eventually_waiting(&database, "reports", 1);
        for limit in [1, 37, 250, 1100].map(Duration::from_millis) {
            let began = Instant::now();
            let waited =
                SemaphoreTicket::acquire(&mut conn, Request::new("reports").wait(limit)).unwrap();
            assert!(waited.is_none());
            assert!(began.elapsed() >= limit, "{limit:?}: {:?}", began.elapsed());
            assert!(
                began.elapsed() < limit + Duration::from_millis(700),
                "{limit:?}: {:?}",
                began.elapsed()
            );
        }
        drop(holder);
        head.join().unwrap().unwrap();
    });
}

/// By KILL QUERY, of the head, which sleeps on the only ticket, and of one behind it. With more tickets the head polls, and
/// MariaDB does not answer some statements that KILL QUERY reaches at their end.
#[test]
fn a_killed_statement_leaves_the_queue() {
    let (database, mut conn) = with_semaphore("reports", 1);
    for how in ["KILL QUERY", "KILL CONNECTION"] {
        let all = SemaphoreTicket::require(database.connect(), "reports").unwrap();
        // They stay connected, so that nothing but the wait itself releases the locks of the queue.
        let mut still_connected = Vec::new();
        thread::scope(|scope| {
            let waiters: Vec<_> = (1..=2)
                .map(|count| {
                    let mut waiter = database.connect();
                    let session = number(&mut waiter, "CONNECTION_ID()");
                    let thread = scope.spawn(move || {
                        let request = Request::new("reports").wait(LONG);
                        let waited = SemaphoreTicket::require(&mut waiter, request).map(drop);
                        (waited, waiter)
                    });
                    eventually_waiting(&database, "reports", count);
                    (session, thread)
                })
                .collect();
            for (session, thread) in waiters.into_iter().rev() {
                eventually("the waiter is gone", || {
                    // Without effect between two statements.
                    drop(run(&mut conn, &format!("{how} {session}")));
                    thread.is_finished()
                });
                let (waited, waiter) = thread.join().unwrap();
                assert!(matches!(waited, Err(Error::Database(_))), "{how}");
                still_connected.push(waiter);
            }
        });
        if how == "KILL CONNECTION" {
            // A client knows of it before the server has ended the session.
            eventually("nobody waits", || {
                sem::waiters(&mut conn, "reports").unwrap().is_empty()
            });
        }
        assert_eq!(sem::waiters(&mut conn, "reports").unwrap(), []);
        drop(all);
        drop(SemaphoreTicket::require(&mut conn, "reports").unwrap());
    }
}

/// The row by which others see a waiter is never committed.
#[test]
fn a_wait_in_a_transaction_leaves_nothing() {
    let (database, mut conn) = with_semaphore("reports", 1);
    let holder = SemaphoreTicket::require(database.connect(), "reports").unwrap();
    let limit = Duration::from_millis(30);
    let idle_limit = number(&mut conn, "@@SESSION.wait_timeout");
    conn.transaction::<_, Error, _>(|conn| {
        assert_eq!(
            sem::acquire(conn, Request::new("reports").wait(limit))?,
            None
        );
        Ok(())
    })
    .unwrap();
    drop(holder);
    conn.transaction::<_, Error, _>(|conn| sem::require(conn, Request::new("reports").wait(limit)))
        .unwrap();
    assert_eq!(
        number(&mut conn, "(SELECT COUNT(*) FROM dbsemaphore_request)"),
        0
    );
    assert_eq!(number(&mut conn, "@@SESSION.wait_timeout"), idle_limit);
}

/// Without a limit, the others would wait for as long as it is stopped.
#[test]
fn a_stopped_waiter_delays_the_others_for_its_host_timeout() {
    let (database, _) = with_semaphore("x", 1);
    let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let stopped: Vec<_> = (1..=2)
        .map(|place| {
            let process = Process::start("wait from afar", &database);
            database.until_queued(place);
            process
        })
        .collect();
    database.until_head_waits();
    for process in &stopped {
        let pid = Pid::from_raw(process.pid().try_into().unwrap());
        kill(pid, Signal::SIGSTOP).unwrap();
    }
    thread::scope(|scope| {
        let next = scope.spawn(|| {
            let request = Request::new("x").wait(LONG);
            SemaphoreTicket::require(database.connect(), request).map(drop)
        });
        eventually_waiting(&database, "x", 3);
        drop(holder);
        next.join().unwrap().unwrap();
    });
    database.assert_no_queue();
}
