//! The queue: who is served, and how a waiter leaves it.

use super::{number, run, with_semaphore};
use diesel::Connection;
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::{eventually, mysql::Database};
use std::{
    sync::mpsc,
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

#[test]
fn first_come_first_served() {
    let (database, _) = with_semaphore("reports", 1);
    let holder = SemaphoreTicket::require(database.connect(), "reports").unwrap();
    let (served, order) = mpsc::channel();
    thread::scope(|scope| {
        for place in 0..6 {
            let (database, served) = (&database, served.clone());
            scope.spawn(move || {
                let request = Request::new("reports").wait(LONG);
                let ticket = SemaphoreTicket::require(database.connect(), request).unwrap();
                served.send(place).unwrap();
                ticket.release().unwrap();
            });
            eventually_waiting(database, "reports", place + 1);
        }
        drop(holder);
    });
    assert_eq!(order.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

/// After a while, the head looks at intervals of some 10 ms: a released ticket is available meanwhile, but to the head alone.
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
            thread::sleep(Duration::from_millis(300));
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
        assert_eq!(sem::waiters(&mut conn, "reports").unwrap(), []);
        drop(all);
        drop(SemaphoreTicket::require(&mut conn, "reports").unwrap());
    }
}

#[test]
fn a_shrink_waits_in_the_queue() {
    let (database, mut conn) = with_semaphore("reports", 3);
    let holders: Vec<_> = (0..3)
        .map(|_| SemaphoreTicket::require(database.connect(), "reports").unwrap())
        .collect();
    thread::scope(|scope| {
        let shrink = scope.spawn(|| sem::make(&mut database.connect(), "reports", 1));
        eventually_waiting(&database, "reports", 1);
        assert_eq!(sem::list(&mut conn).unwrap()["reports"], 3);
        let mut holders = holders.into_iter();
        drop(holders.next());
        assert!(!shrink.is_finished());
        drop(holders.next());
        shrink.join().unwrap().unwrap();
        assert_eq!(sem::list(&mut conn).unwrap()["reports"], 1);
        assert!(
            SemaphoreTicket::acquire(&mut conn, "reports")
                .unwrap()
                .is_none()
        );
    });
    drop(SemaphoreTicket::require(&mut conn, "reports").unwrap());
}

#[test]
fn a_cancelled_shrink_leaves_the_old_size() {
    let (database, mut conn) = with_semaphore("reports", 3);
    let _holder =
        SemaphoreTicket::require(database.connect(), Request::new("reports").tickets(2)).unwrap();
    let mut other = database.connect();
    let session = number(&mut other, "CONNECTION_ID()");
    thread::scope(|scope| {
        let shrink = scope.spawn(move || sem::destroy(&mut other, "reports"));
        eventually_waiting(&database, "reports", 1);
        eventually("the shrink is gone", || {
            drop(run(&mut conn, &format!("KILL QUERY {session}")));
            shrink.is_finished()
        });
        assert!(shrink.join().unwrap().is_err());
    });
    assert_eq!(sem::list(&mut conn).unwrap()["reports"], 3);
    drop(SemaphoreTicket::require(&mut conn, "reports").unwrap());
}

#[test]
fn a_waiter_learns_that_its_semaphore_was_destroyed_or_resized() {
    let (database, mut conn) = with_semaphore("closed", 0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let request = Request::new("closed").wait(LONG);
            SemaphoreTicket::require(database.connect(), request).map(drop)
        });
        eventually_waiting(&database, "closed", 1);
        sem::make(&mut conn, "closed", 1).unwrap();
        waiter.join().unwrap().unwrap();
        let waiter = scope.spawn(|| {
            let request = Request::new("closed").tickets(1).wait(LONG);
            SemaphoreTicket::require(database.connect(), request).map(drop)
        });
        waiter.join().unwrap().unwrap();
        sem::make(&mut conn, "closed", 0).unwrap();
        let waiter = scope.spawn(|| {
            let request = Request::new("closed").wait(LONG);
            SemaphoreTicket::require(database.connect(), request).map(drop)
        });
        eventually_waiting(&database, "closed", 1);
        sem::destroy(&mut conn, "closed").unwrap();
        assert!(matches!(
            waiter.join().unwrap(),
            Err(Error::UnknownSemaphore { .. })
        ));
    });
}

/// The row by which others see a waiter is never committed.
#[test]
fn a_wait_in_a_transaction_leaves_nothing() {
    let (database, mut conn) = with_semaphore("reports", 1);
    let holder = SemaphoreTicket::require(database.connect(), "reports").unwrap();
    let limit = Duration::from_millis(30);
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
}
