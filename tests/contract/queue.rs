//! Waiting in the queue of a semaphore.

use crate::kit::{ServerDatabase, TestDatabase, on_each_backend, on_each_server, process::Process};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use std::{
    thread,
    time::{Duration, Instant},
};

on_each_backend!(
    a_waiter_acquires_a_released_ticket,
    a_wait_never_ends_before_its_limit,
    an_endless_time_is_not_refused,
    a_killed_process_leaves_the_queue,
    resizing_and_destroying_reach_waiters,
);

on_each_server!(a_transaction_continues_after_its_wait);

pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn hold<D: TestDatabase>(database: &D, tickets: u32) -> SemaphoreTicket<D::Connection> {
    SemaphoreTicket::require(database.connect(), Request::new("x").tickets(tickets)).unwrap()
}

fn a_waiter_acquires_a_released_ticket<D: TestDatabase>() {
    let database = D::with_size(1);
    let holder = hold(&database, 1);
    thread::scope(|scope| {
        let guard = scope.spawn(|| {
            SemaphoreTicket::require(database.connect(), Request::new("x").wait_forever()).unwrap()
        });
        database.until_queued(1);
        assert!(!guard.is_finished());
        holder.release().unwrap();
        let mut guard = guard.join().unwrap();
        guard.check().unwrap();
        assert_eq!(database.available(), 0);
    });
    database.assert_no_queue();
}

fn a_transaction_continues_after_its_wait<D: ServerDatabase>() {
    let database = D::with_size(1);
    let holder = hold(&database, 1);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let mut conn = database.connect();
            conn.transaction::<_, Error, _>(|c| {
                c.batch_execute("CREATE TEMPORARY TABLE work (id int)")?;
                let ticket = sem::require(c, Request::new("x").wait(LONG))?;
                assert_eq!(ticket.count(), 1);
                c.batch_execute("SELECT * FROM work")?;
                assert_eq!(database.available(), 0);
                Ok(())
            })
            .unwrap();
        });
        database.until_queued(1);
        drop(holder);
        waiter.join().unwrap();
    });
    assert_eq!(database.available(), 1);
    database.assert_no_queue();
}

fn a_wait_never_ends_before_its_limit<D: TestDatabase>() {
    let database = D::with_size(1);
    let _holder = hold(&database, 1);
    let mut conn = database.connect();
    for limit in [0, 1, 30, 250] {
        let limit = Duration::from_millis(limit) + Duration::from_nanos(u64::from(limit > 0));
        let request = Request::new("x").wait(limit);
        for way in D::WAYS {
            let began = Instant::now();
            assert_eq!(way(&mut conn, request).unwrap(), None);
            // The upper bound is ten times what is promised.
            assert!((limit..limit + Duration::from_secs(1)).contains(&began.elapsed()));
        }
    }
    let refused =
        SemaphoreTicket::require(&mut conn, Request::new("x").wait(Duration::from_nanos(1)));
    assert!(matches!(refused, Err(Error::Unavailable { .. })));
    database.assert_no_queue();
}

fn an_endless_time_is_not_refused<D: TestDatabase>() {
    let database = D::with_size(1);
    let pool = database.pool(2);
    let request = Request::new("x").wait(Duration::MAX);
    sem::with_ticket::<_, _, Error>(&pool, request, |_| Ok(())).unwrap();
    let holder = hold(&database, 1);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| sem::with_ticket::<_, _, Error>(&pool, request, |_| Ok(())));
        database.until_queued(1);
        drop(holder);
        waiter.join().unwrap().unwrap();
    });
}

fn a_killed_process_leaves_the_queue<D: TestDatabase>() {
    let database = D::with_size(1);
    let holder = hold(&database, 1);
    // One at the head, and two behind it, of which one shrinks.
    let roles = ["wait", "wait", "shrink"];
    let mut processes: Vec<_> = roles.map(|role| Process::start(role, &database)).into();
    for process in &mut processes {
        assert_eq!(process.says(), "waiting");
    }
    database.until_queued(3);
    for mut process in processes {
        process.kill();
    }
    // Its backend sleeps on a lock and has to look for its client by itself.
    let began = Instant::now();
    database.until_queued(0);
    assert!(began.elapsed() < Duration::from_secs(20));
    drop(holder);
    assert_eq!(database.available(), 1);
    database.assert_no_queue();
}

fn resizing_and_destroying_reach_waiters<D: TestDatabase>() {
    let database = D::with_size(0);
    let mut conn = database.connect();
    thread::scope(|scope| {
        let waiter = |tickets: u32| {
            let database = &database;
            move || {
                let request = Request::new("x").tickets(tickets).wait(LONG);
                SemaphoreTicket::require(database.connect(), request)
                    .map(|mut guard| guard.check().unwrap())
            }
        };
        let closed = scope.spawn(waiter(1));
        database.until_queued(1);
        sem::make(&mut conn, "x", 1).unwrap();
        closed.join().unwrap().unwrap();

        let holder = hold(&database, 1);
        let grown = scope.spawn(waiter(1));
        database.until_queued(1);
        sem::make(&mut conn, "x", 2).unwrap();
        grown.join().unwrap().unwrap();
        drop(holder);

        let holder = hold(&database, 2);
        let before = scope.spawn(waiter(2));
        database.until_queued(1);
        let shrink = scope.spawn(|| sem::make(&mut database.connect(), "x", 1).unwrap());
        database.until_queued(2);
        let too_large = scope.spawn(waiter(2));
        database.until_queued(3);
        drop(holder);
        before.join().unwrap().unwrap();
        shrink.join().unwrap();
        assert!(matches!(
            too_large.join().unwrap(),
            Err(Error::InvalidTickets { limit: 1, .. })
        ));

        let holder = hold(&database, 1);
        let destroy = scope.spawn(|| sem::destroy(&mut database.connect(), "x").unwrap());
        database.until_queued(1);
        let orphan = scope.spawn(waiter(1));
        database.until_queued(2);
        drop(holder);
        assert!(destroy.join().unwrap());
        assert!(matches!(
            orphan.join().unwrap(),
            Err(Error::UnknownSemaphore { .. })
        ));
    });
    database.assert_no_queue();
}
