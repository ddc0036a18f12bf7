//! Creating, resizing, listing, removing.

use crate::{
    children::Process,
    tools::{database_with, free, until_waiting_for},
};
use diesel::{Connection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, SemaphoreTicket};
use stand::Database;
use std::{collections::BTreeMap, sync::mpsc, thread};

#[test]
fn lists_sizes() {
    let database = database_with(2);
    let mut conn = database.connect();
    sem::make(&mut conn, "closed", 0).unwrap();
    let expected = BTreeMap::from([("closed".to_owned(), 0), ("x".to_owned(), 2)]);
    assert_eq!(sem::list(&mut conn).unwrap(), expected);
}

#[test]
fn resizes_both_ways() {
    let database = database_with(3);
    let mut conn = database.connect();
    for size in [4, 4, 2, 0, 1, 7] {
        sem::make(&mut conn, "x", size).unwrap();
        assert_eq!(sem::list(&mut conn).unwrap()["x"], size);
        assert_eq!(free(&database), i64::from(size));
    }
}

#[test]
fn three_processes_on_two_tickets() {
    let database = database_with(2);
    let mut processes: Vec<_> = (0..3).map(|_| Process::start("hold", &database)).collect();
    let mut said: Vec<_> = processes.iter_mut().map(Process::says).collect();
    said.sort();
    assert_eq!(said[2], "none");
    assert_ne!(said[0], said[1]);
    for mut process in processes {
        process.tell("enough");
        process.finish();
    }
    assert_eq!(free(&database), 2);
}

#[test]
fn ensure_creates_once_and_never_resizes() {
    let database = database_with(2);
    let mut conn = database.connect();
    assert!(sem::ensure(&mut conn, "new", 3).unwrap());
    assert!(!sem::ensure(&mut conn, "new", 9).unwrap());
    assert_eq!(sem::list(&mut conn).unwrap()["new"], 3);
}

#[test]
fn ensure_by_many_at_once_creates_one() {
    let database = database_with(0);
    let start = std::sync::Barrier::new(16);
    let created: Vec<bool> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let mut conn = database.connect();
                    start.wait();
                    sem::ensure(&mut conn, "new", 3).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(created.iter().filter(|&&created| created).count(), 1);
    assert_eq!(sem::list(&mut database.connect()).unwrap()["new"], 3);
}

#[test]
fn closed_refuses_everybody() {
    let database = database_with(0);
    let mut conn = database.connect();
    assert!(SemaphoreTicket::acquire(&mut conn, "x").unwrap().is_none());
    let two = sem::Request::new("x").tickets(2);
    assert!(SemaphoreTicket::acquire(&mut conn, two).unwrap().is_none());
}

#[test]
fn destroy_says_whether_it_existed() {
    let database = database_with(2);
    let mut conn = database.connect();
    assert!(sem::destroy(&mut conn, "x").unwrap());
    assert!(!sem::destroy(&mut conn, "x").unwrap());
    assert!(sem::list(&mut conn).unwrap().is_empty());
}

/// The Python package deletes whichever rows come last, and waits when one of those is held.
#[test]
fn shrinking_with_enough_available_tickets_never_waits() {
    let database = database_with(10);
    let mut holders: Vec<_> = (0..4)
        .map(|_| SemaphoreTicket::require(database.connect(), "x").unwrap())
        .collect();
    let mut conn = database.connect();
    conn.batch_execute("SET statement_timeout = '20s'").unwrap();
    sem::make(&mut conn, "x", 4).unwrap();
    assert_eq!(free(&database), 0);
    for holder in &mut holders {
        holder.check().unwrap();
    }
    drop(holders);
    assert_eq!(free(&database), 4);
}

#[test]
fn shrinking_waits_only_for_what_is_missing() {
    let database = database_with(4);
    let mut holders: Vec<_> = (0..3)
        .map(|_| SemaphoreTicket::require(database.connect(), "x").unwrap())
        .collect();
    let (done, is_done) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            sem::make(&mut database.connect(), "x", 2).unwrap();
            done.send(()).unwrap();
        });
        until_waiting_for(&database, "transactionid");
        assert_eq!(
            free(&database),
            0,
            "nobody can acquire what a shrink has so far"
        );
        assert!(is_done.try_recv().is_err());
        // One is missing, so the release of any one is enough.
        drop(holders.pop());
        is_done.recv().unwrap();
    });
    assert_eq!(sem::list(&mut database.connect()).unwrap()["x"], 2);
    drop(holders);
    assert_eq!(free(&database), 2);
}

/// The Python package locks the whole table, and then blocks the resizing of every other semaphore.
#[test]
fn a_waiting_shrink_delays_no_other_semaphore() {
    let database = database_with(1);
    let mut conn = database.connect();
    conn.batch_execute("SET statement_timeout = '20s'").unwrap();
    sem::make(&mut conn, "y", 2).unwrap();
    let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    thread::scope(|scope| {
        let shrink = scope.spawn(|| sem::make(&mut database.connect(), "x", 0).unwrap());
        until_waiting_for(&database, "transactionid");
        sem::make(&mut conn, "y", 3).unwrap();
        sem::make(&mut conn, "y", 1).unwrap();
        sem::make(&mut conn, "z", 1).unwrap();
        assert!(sem::destroy(&mut conn, "z").unwrap());
        assert!(
            !sem::ensure(&mut conn, "x", 5).unwrap(),
            "nor an ensure of its own"
        );
        assert_eq!(sem::list(&mut conn).unwrap()["y"], 1);
        drop(SemaphoreTicket::require(&mut conn, "y").unwrap());
        drop(holder);
        shrink.join().unwrap();
    });
}

#[test]
fn a_cancelled_shrink_leaves_the_old_size() {
    let database = database_with(5);
    let holders: Vec<_> = (0..2)
        .map(|_| SemaphoreTicket::require(database.connect(), "x").unwrap())
        .collect();
    let mut conn = database.connect();
    for setting in ["lock_timeout", "statement_timeout"] {
        conn.batch_execute(&format!("RESET ALL; SET {setting} = '120ms'"))
            .unwrap();
        let refused = sem::make(&mut conn, "x", 1).unwrap_err();
        assert!(matches!(refused, Error::Database(_)), "{refused:?}");
        assert!(refused.to_string().contains("timeout"), "{refused}");
        assert_eq!(sem::list(&mut conn).unwrap()["x"], 5);
        assert_eq!(free(&database), 3);
    }
    drop(holders);
    conn.batch_execute("RESET ALL").unwrap();
    sem::make(&mut conn, "x", 1).unwrap();
}

/// One of two tickets is held for long, the other one goes round among four who wait for it: that one is enough.
#[test]
fn a_shrink_waits_for_no_ticket_in_particular() {
    let database = database_with(2);
    let long = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    use std::sync::atomic::Ordering::Relaxed;
    thread::scope(|scope| {
        for waits in [true, true, false, false] {
            let (database, stop) = (&database, &stop);
            scope.spawn(move || {
                let mut conn = database.connect();
                let request = match waits {
                    true => sem::Request::new("x").wait(std::time::Duration::from_millis(50)),
                    false => sem::Request::new("x"),
                };
                while !stop.load(Relaxed) {
                    if let Some(guard) = SemaphoreTicket::acquire(&mut conn, request).unwrap() {
                        thread::yield_now();
                        drop(guard);
                    }
                }
            });
        }
        let mut conn = database.connect();
        conn.batch_execute("SET lock_timeout = '20s'").unwrap();
        let made = sem::make(&mut conn, "x", 1);
        stop.store(true, Relaxed);
        made.unwrap();
    });
    drop(long);
    assert_eq!(free(&database), 1);
}

#[test]
fn a_shrink_in_a_transaction_leaves_its_settings_as_they_were() {
    let database = database_with(1);
    let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    thread::scope(|scope| {
        let shrink = scope.spawn(|| {
            let mut conn = database.connect();
            conn.batch_execute("SET lock_timeout = '50s'").unwrap();
            conn.transaction::<_, Error, _>(|c| {
                c.batch_execute("SET LOCAL lock_timeout = '40s'")?;
                sem::make(c, "x", 0)?;
                let seconds =
                    "SELECT extract(epoch FROM current_setting('lock_timeout')::interval)";
                assert_eq!(crate::tools::number(c, seconds), 40);
                Ok(())
            })
            .unwrap();
            let seconds = "SELECT extract(epoch FROM current_setting('lock_timeout')::interval)";
            assert_eq!(crate::tools::number(&mut conn, seconds), 50);
        });
        until_waiting_for(&database, "transactionid");
        drop(holder);
        shrink.join().unwrap();
    });
}

#[test]
fn destroy_waits_for_held_tickets() {
    let database = database_with(2);
    let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    thread::scope(|scope| {
        let destroy = scope.spawn(|| sem::destroy(&mut database.connect(), "x").unwrap());
        until_waiting_for(&database, "transactionid");
        assert!(!destroy.is_finished());
        drop(holder);
        assert!(destroy.join().unwrap());
    });
    let refused = SemaphoreTicket::acquire(database.connect(), "x");
    assert!(matches!(refused, Err(Error::UnknownSemaphore { .. })));
}

#[test]
fn resizes_of_one_semaphore_take_turns() {
    let database = database_with(3);
    thread::scope(|scope| {
        for size in 0..16 {
            let database = &database;
            scope.spawn(move || sem::make(&mut database.connect(), "x", size).unwrap());
        }
    });
    let size = sem::list(&mut database.connect()).unwrap()["x"];
    assert!(size < 16);
    assert_eq!(free(&database), i64::from(size));
}

#[test]
fn a_resize_in_a_transaction_is_undone_with_it() {
    let database = database_with(3);
    let mut conn = database.connect();
    conn.test_transaction::<_, Error, _>(|c| {
        sem::make(c, "x", 9)?;
        sem::ensure(c, "y", 1)?;
        sem::destroy(c, "x").map(drop)
    });
    assert_eq!(
        sem::list(&mut conn).unwrap(),
        BTreeMap::from([("x".to_owned(), 3)])
    );
}

#[test]
fn a_large_semaphore_works_like_a_small_one() {
    let database = Database::create();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "large", 20_000).unwrap();
    assert_eq!(sem::list(&mut conn).unwrap()["large"], 20_000);
    let held = SemaphoreTicket::require(database.connect(), "large").unwrap();
    sem::make(&mut conn, "large", 1).unwrap();
    drop(held);
    sem::make(&mut conn, "large", 300).unwrap();
    let all = sem::Request::new("large").tickets(300);
    let all = SemaphoreTicket::require(&mut conn, all).unwrap();
    let distinct: std::collections::BTreeSet<_> = all.ticket().ids().iter().collect();
    assert_eq!(distinct.len(), 300);
}
