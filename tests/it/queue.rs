//! Waiting in the queue of a semaphore.

use crate::{
    children::Process,
    tools::{
        assert_line_is_gone, database_with, eventually, free, number, pool, until_barred,
        until_in_line,
    },
};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;
use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

const LONG: Duration = Duration::from_secs(60);

fn hold(database: &Database, tickets: u32) -> SemaphoreTicket<PgConnection> {
    SemaphoreTicket::require(database.connect(), Request::new("x").tickets(tickets)).unwrap()
}

#[test]
fn a_waiter_acquires_a_released_ticket() {
    let database = database_with(1);
    let holder = hold(&database, 1);
    thread::scope(|scope| {
        let guard = scope.spawn(|| {
            SemaphoreTicket::require(database.connect(), Request::new("x").wait_forever()).unwrap()
        });
        until_in_line(&database, 1);
        assert!(!guard.is_finished());
        holder.release().unwrap();
        let mut guard = guard.join().unwrap();
        guard.check().unwrap();
        assert_eq!(free(&database), 0);
    });
    assert_line_is_gone(&database);
}

#[test]
fn a_transaction_continues_after_its_wait() {
    let database = database_with(1);
    let holder = hold(&database, 1);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let mut conn = database.connect();
            conn.batch_execute(
                "SET lock_timeout = '50s'; SET client_connection_check_interval = '7s'",
            )
            .unwrap();
            conn.transaction::<_, Error, _>(|c| {
                c.batch_execute("CREATE TEMPORARY TABLE before (id int)")?;
                let ticket = sem::require(c, Request::new("x").wait(LONG))?;
                assert_eq!(sem::require(c, "x")?, ticket);
                c.batch_execute("SELECT * FROM before")?;
                let settings = "SELECT (current_setting('lock_timeout') = '50s' \
                    AND current_setting('client_connection_check_interval') = '7s')::int";
                assert_eq!(number(c, settings), 1);
                assert_eq!(free(&database), 0);
                Ok(())
            })
            .unwrap();
        });
        until_in_line(&database, 1);
        drop(holder);
        waiter.join().unwrap();
    });
    assert_eq!(free(&database), 1);
    assert_line_is_gone(&database);
}

/// Fifty waiters, who join one after another, as the server sees it.
#[test]
fn first_come_first_served() {
    for tickets in [1, 3, 10] {
        let database = database_with(tickets);
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
                until_in_line(database, number + 1);
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
        assert_line_is_gone(&database);
    }
}

#[test]
fn requests_that_do_not_wait_do_not_overtake() {
    let database = database_with(3);
    let two = hold(&database, 2);
    thread::scope(|scope| {
        let large = scope.spawn(|| {
            let request = Request::new("x").tickets(3).wait(LONG);
            SemaphoreTicket::require(database.connect(), request).unwrap()
        });
        until_in_line(&database, 1);
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
    assert_eq!(free(&database), 3);
    assert_line_is_gone(&database);
}

/// A released ticket is for the head of the queue, whether or not the head is awake yet.
#[test]
fn a_former_holder_does_not_overtake_the_head() {
    let database = database_with(1);
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
            until_barred(database);
            drop(holder);
            match SemaphoreTicket::acquire(&mut conn, "x").unwrap() {
                Some(_second) => told.try_recv().expect("the head was served before"),
                None => told.recv().unwrap(),
            }
        }
        drop(ask);
    });
    assert_line_is_gone(&database);
}

#[test]
fn a_wait_never_ends_before_its_limit() {
    let database = database_with(1);
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
    assert_line_is_gone(&database);
}

#[test]
fn an_endless_time_is_not_refused() {
    let database = database_with(1);
    let pool = pool(&database, 2);
    let request = Request::new("x").wait(Duration::MAX);
    sem::with_ticket::<_, _, Error>(&pool, request, |_| Ok(())).unwrap();
    let holder = hold(&database, 1);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| sem::with_ticket::<_, _, Error>(&pool, request, |_| Ok(())));
        until_in_line(&database, 1);
        drop(holder);
        waiter.join().unwrap().unwrap();
    });
}

#[test]
fn the_callers_limits_are_obeyed_and_the_transaction_survives() {
    let database = database_with(1);
    let _holder = hold(&database, 1);
    let mut conn = database.connect();
    for setting in ["lock_timeout", "statement_timeout"] {
        conn.batch_execute(&format!("RESET ALL; SET {setting} = '80ms'"))
            .unwrap();
        conn.transaction::<_, Error, _>(|c| {
            let refused = sem::acquire(c, Request::new("x").wait(LONG)).unwrap_err();
            assert!(matches!(refused, Error::Database(_)), "{refused:?}");
            assert!(refused.to_string().contains("timeout"), "{refused}");
            c.batch_execute("SELECT 1")?;
            Ok(())
        })
        .unwrap();
        // The guard's own limit counts, not these.
        let request = Request::new("x").wait(Duration::from_millis(200));
        assert!(
            SemaphoreTicket::acquire(&mut conn, request)
                .unwrap()
                .is_none()
        );
    }
    assert_line_is_gone(&database);
}

#[test]
fn a_killed_process_leaves_the_queue() {
    let database = database_with(1);
    let holder = hold(&database, 1);
    // One at the head, and two behind it, of which one shrinks.
    let roles = ["wait", "wait", "shrink"];
    let mut processes: Vec<_> = roles.map(|role| Process::start(role, &database)).into();
    for process in &mut processes {
        assert_eq!(process.says(), "waiting");
    }
    until_in_line(&database, 3);
    for mut process in processes {
        process.kill();
    }
    // Its backend sleeps on a lock and has to look for its client by itself.
    let began = Instant::now();
    until_in_line(&database, 0);
    assert!(began.elapsed() < Duration::from_secs(20));
    drop(holder);
    assert_eq!(free(&database), 1);
    assert_line_is_gone(&database);
}

#[test]
fn resizing_and_destroying_reach_waiters() {
    let database = database_with(0);
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
        until_in_line(&database, 1);
        sem::make(&mut conn, "x", 1).unwrap();
        closed.join().unwrap().unwrap();

        let holder = hold(&database, 1);
        let grown = scope.spawn(waiter(1));
        until_in_line(&database, 1);
        sem::make(&mut conn, "x", 2).unwrap();
        grown.join().unwrap().unwrap();
        drop(holder);

        let holder = hold(&database, 2);
        let before = scope.spawn(waiter(2));
        until_in_line(&database, 1);
        let shrink = scope.spawn(|| sem::make(&mut database.connect(), "x", 1).unwrap());
        until_in_line(&database, 2);
        let too_large = scope.spawn(waiter(2));
        until_in_line(&database, 3);
        drop(holder);
        before.join().unwrap().unwrap();
        shrink.join().unwrap();
        assert!(matches!(
            too_large.join().unwrap(),
            Err(Error::InvalidTickets { limit: 1, .. })
        ));

        let holder = hold(&database, 1);
        let destroy = scope.spawn(|| sem::destroy(&mut database.connect(), "x").unwrap());
        until_in_line(&database, 1);
        let orphan = scope.spawn(waiter(1));
        until_in_line(&database, 2);
        drop(holder);
        assert!(destroy.join().unwrap());
        assert!(matches!(
            orphan.join().unwrap(),
            Err(Error::UnknownSemaphore { .. })
        ));
    });
    assert_line_is_gone(&database);
}

#[test]
fn a_shrink_by_a_holder_deletes_its_own_tickets_last() {
    let database = database_with(3);
    let mut conn = database.connect();
    conn.batch_execute("SET statement_timeout = '20s'").unwrap();
    let other = hold(&database, 1);
    conn.transaction::<_, Error, _>(|c| {
        let mine = sem::require(c, "x")?;
        sem::make(c, "x", 2)?;
        assert_eq!(sem::require(c, "x")?, mine);
        drop(other);
        sem::make(c, "x", 0)?;
        assert_eq!(
            sem::require(c, "x")?,
            mine,
            "its own until the transaction ends"
        );
        Ok(())
    })
    .unwrap();
    assert_eq!(sem::list(&mut conn).unwrap()["x"], 0);
}

#[test]
fn a_deadlock_ends_in_an_error() {
    let database = database_with(1);
    sem::make(&mut database.connect(), "y", 1).unwrap();
    let both_hold = std::sync::Barrier::new(2);
    let outcomes: Vec<_> = thread::scope(|scope| {
        [("x", "y"), ("y", "x")]
            .map(|(first, second)| {
                let (database, both_hold) = (&database, &both_hold);
                scope.spawn(move || {
                    database.connect().transaction::<_, Error, _>(|c| {
                        sem::require(c, first)?;
                        both_hold.wait();
                        sem::require(c, Request::new(second).wait(LONG)).map(drop)
                    })
                })
            })
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let failed: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().err())
        .collect();
    assert_eq!(failed.len(), 1, "{outcomes:?}");
    assert!(failed[0].to_string().contains("deadlock"), "{}", failed[0]);
    assert_eq!(free(&database), 1);
    assert_line_is_gone(&database);
}

/// Two who hold wait for each other, one of them behind a head that holds nothing: PostgreSQL, which looks at whoever
/// has waited longest, takes the head for its victim.
#[test]
fn a_head_that_holds_nothing_survives_a_deadlock() {
    let database = database_with(1);
    sem::make(&mut database.connect(), "y", 1).unwrap();
    let take = |first: &'static str,
                second: &'static str,
                held: mpsc::Sender<()>,
                go: mpsc::Receiver<()>| {
        let database = &database;
        move || {
            database.connect().transaction::<_, Error, _>(|c| {
                sem::require(c, first)?;
                held.send(()).unwrap();
                go.recv().unwrap();
                sem::require(c, Request::new(second).wait(LONG)).map(drop)
            })
        }
    };
    let (held, is_held) = mpsc::channel();
    let ((go_a, a), (go_b, b)) = (mpsc::channel(), mpsc::channel());
    thread::scope(|scope| {
        let a = scope.spawn(take("x", "y", held.clone(), a));
        let b = scope.spawn(take("y", "x", held.clone(), b));
        is_held.recv().unwrap();
        is_held.recv().unwrap();
        let head = scope.spawn(|| {
            SemaphoreTicket::require(database.connect(), Request::new("x").wait(LONG)).map(drop)
        });
        until_in_line(&database, 1);
        go_b.send(()).unwrap();
        until_in_line(&database, 2);
        go_a.send(()).unwrap();
        let failed = [a, b].map(|thread| thread.join().unwrap().is_err());
        assert_ne!(failed[0], failed[1]);
        head.join().unwrap().unwrap();
    });
    assert_line_is_gone(&database);
}

#[test]
fn a_large_request_is_served_among_many_small_ones() {
    let database = database_with(3);
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
        let large = scope.spawn(|| {
            let large = Request::new("x").tickets(3).wait(LONG);
            let guard = SemaphoreTicket::require(database.connect(), large).unwrap();
            let at = served.load(Relaxed);
            drop(guard);
            at
        });
        let mut observer = database.connect();
        let mut joined_at = None;
        while joined_at.is_none() && !large.is_finished() {
            let waiters = sem::waiters(&mut observer, "x").unwrap();
            if waiters.iter().any(|waiter| waiter.tickets == Some(3)) {
                joined_at = Some(served.load(Relaxed));
            }
        }
        let acquired_at = large.join().unwrap();
        stop.store(true, Relaxed);
        let meanwhile = acquired_at.saturating_sub(joined_at.unwrap_or(acquired_at));
        // All 20 may be before it in the queue.
        assert!(meanwhile < 200, "{meanwhile} were served before it");
    });
    assert_eq!(free(&database), 3);
    assert_line_is_gone(&database);
}
