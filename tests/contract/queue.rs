//! Waiting in the queue of a semaphore.

use crate::kit::{
    ServerDatabase, TestDatabase, children::Process, eventually, on_each_backend, on_each_server,
};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

on_each_backend!(
    a_waiter_acquires_a_released_ticket,
    first_come_first_served,
    requests_that_do_not_wait_do_not_overtake,
    a_former_holder_does_not_overtake_the_head,
    an_endless_time_is_not_refused,
    a_killed_process_leaves_the_queue,
    resizing_and_destroying_reach_waiters,
    a_large_request_is_served_among_many_small_ones,
);

on_each_server!(
    a_transaction_continues_after_its_wait,
    a_wait_never_ends_before_its_limit,
);

const LONG: Duration = Duration::from_secs(60);

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

/// Fifty waiters, who join one after another, as the server sees it.
fn first_come_first_served<D: TestDatabase>() {
    for tickets in [1, 3, 10] {
        let database = D::with_size(tickets);
        let holders: Vec<_> = (0..tickets).map(|_| hold(&database, 1)).collect();
        let (served, order) = mpsc::channel();
        thread::scope(|scope| {
            for number in 0..50 {
                let (database, served) = (&database, served.clone());
                scope.spawn(move || {
                    let request = if number % 2 == 0 {
                        Request::new("x").wait_forever()
                    } else {
                        Request::new("x").wait(LONG)
                    };
                    let mut conn = database.connect();
                    let guard = SemaphoreTicket::require(&mut conn, request).unwrap();
                    served.send((number, guard.ticket().clone())).unwrap();
                });
                database.until_queued(number + 1);
            }
            drop(holders);
        });
        drop(served);
        let order: Vec<i64> = order.iter().map(|(number, _)| number).collect();
        assert_eq!(order.len(), 50);
        // Whoever is served later may report earlier, but only while the other one still holds: so whoever reports leaves
        // behind at most as many unreported ones before it in the queue as there are other tickets.
        for (place, number) in order.iter().enumerate() {
            let late = order[place..].iter().filter(|later| *later < number);
            assert!(
                late.count() < tickets as usize,
                "{tickets} tickets: {order:?}"
            );
        }
        database.assert_no_queue();
    }
}

fn requests_that_do_not_wait_do_not_overtake<D: TestDatabase>() {
    let database = D::with_size(3);
    let two = hold(&database, 2);
    thread::scope(|scope| {
        let large = scope.spawn(|| {
            let request = Request::new("x").tickets(3).wait(LONG);
            SemaphoreTicket::require(database.connect(), request).unwrap()
        });
        database.until_queued(1);
        eventually("the head has looked", || {
            SemaphoreTicket::acquire(database.connect(), "x")
                .unwrap()
                .is_none()
        });
        drop(two);
        let large = large.join().unwrap();
        assert_eq!(large.ticket().count(), 3);
        assert!(
            SemaphoreTicket::acquire(database.connect(), "x")
                .unwrap()
                .is_none()
        );
    });
    assert_eq!(database.available(), 3);
    database.assert_no_queue();
}

/// A released ticket is for the head of the queue, whether or not the head is awake yet.
fn a_former_holder_does_not_overtake_the_head<D: TestDatabase>() {
    let database = D::with_size(1);
    let (ask, asked) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let database = &database;
        scope.spawn(move || {
            let mut conn = database.connect();
            for () in asked {
                let request = Request::new("x").wait(LONG);
                let served = SemaphoreTicket::require(&mut conn, request).unwrap();
                tell.send(()).unwrap();
                drop(served);
            }
        });
        let mut conn = database.connect();
        for _ in 0..50 {
            // The other may not have dropped its ticket yet.
            let request = Request::new("x").wait(LONG);
            let holder = SemaphoreTicket::require(database.connect(), request).unwrap();
            ask.send(()).unwrap();
            database.until_head_waits();
            drop(holder);
            match SemaphoreTicket::acquire(&mut conn, "x").unwrap() {
                Some(_second) => told.try_recv().expect("the head was served before"),
                None => told.recv().unwrap(),
            }
        }
        drop(ask);
    });
    database.assert_no_queue();
}

fn a_wait_never_ends_before_its_limit<D: ServerDatabase>() {
    let database = D::with_size(1);
    let _holder = hold(&database, 1);
    let mut conn = database.connect();
    for limit in [0, 1, 30, 250] {
        let limit = Duration::from_millis(limit) + Duration::from_nanos(u64::from(limit > 0));
        let request = Request::new("x").wait(limit);
        let began = Instant::now();
        assert!(
            SemaphoreTicket::acquire(&mut conn, request)
                .unwrap()
                .is_none()
        );
        // The upper bound is ten times what is promised.
        assert!((limit..limit + Duration::from_secs(1)).contains(&began.elapsed()));
        let began = Instant::now();
        conn.transaction::<_, Error, _>(|c| {
            assert!(sem::acquire(c, request)?.is_none());
            c.batch_execute("SELECT 1")?;
            Ok(())
        })
        .unwrap();
        // The upper bound is ten times what is promised.
        assert!((limit..limit + Duration::from_secs(1)).contains(&began.elapsed()));
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

fn a_large_request_is_served_among_many_small_ones<D: TestDatabase>() {
    let database = D::with_size(3);
    let (stop, served) = (
        std::sync::atomic::AtomicBool::new(false),
        std::sync::atomic::AtomicU32::new(0),
    );
    use std::sync::atomic::Ordering::Relaxed;
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let mut conn = database.connect();
                while !stop.load(Relaxed) {
                    drop(
                        SemaphoreTicket::require(&mut conn, Request::new("x").wait(LONG)).unwrap(),
                    );
                    served.fetch_add(1, Relaxed);
                }
            });
        }
        eventually("tickets are acquired all the time", || {
            served.load(Relaxed) > 100
        });
        let conn = database.connect();
        let before = served.load(Relaxed);
        let large = Request::new("x").tickets(3).wait(LONG);
        let guard = SemaphoreTicket::require(conn, large).unwrap();
        let meanwhile = served.load(Relaxed) - before;
        drop(guard);
        stop.store(true, Relaxed);
        // All 20 may be before it in the queue, and some connect while it does.
        assert!(meanwhile < 200, "{meanwhile} were served before it");
    });
    assert_eq!(database.available(), 3);
    database.assert_no_queue();
}
