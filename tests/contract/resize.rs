//! Resizing, also while tickets are held.

use crate::kit::{
    ServerDatabase, StopAtEnd, TestDatabase, eventually, in_transaction, on_each_backend,
    on_each_server,
};
use diesel::Connection;
use diesel_dbsemaphore::{self as sem, Error, SemaphoreTicket};
use stand::Backend;
use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

on_each_backend!(
    resizes_both_ways,
    shrinking_with_enough_available_tickets_never_waits,
    shrinking_waits_only_for_what_is_missing,
    a_waiting_shrink_delays_no_other_semaphore,
    a_shrink_waits_for_no_ticket_in_particular,
    destroy_waits_for_held_tickets,
    resizes_of_one_semaphore_take_turns,
    a_large_semaphore_works_like_a_small_one,
);

on_each_server!(
    a_resize_in_a_transaction_is_undone_with_it,
    a_holder_shrinks_again_and_again,
    a_cancelled_shrink_leaves_the_old_size,
);

fn resizes_both_ways<D: TestDatabase>() {
    let database = D::with_size(3);
    let mut conn = database.connect();
    for size in [4, 4, 2, 0, 1, 7] {
        sem::make(&mut conn, "x", size).unwrap();
        assert_eq!(sem::list(&mut conn).unwrap()["x"], size);
        assert_eq!(database.available(), i64::from(size));
    }
}

/// The Python package deletes whichever rows come last, and waits when one of those is held.
fn shrinking_with_enough_available_tickets_never_waits<D: TestDatabase>() {
    let database = D::with_size(10);
    thread::scope(|scope| {
        let mut holders: Vec<_> = (0..4)
            .map(|_| SemaphoreTicket::require(database.connect(), "x").unwrap())
            .collect();
        let shrink = scope.spawn(|| sem::make(&mut database.connect(), "x", 4).unwrap());
        eventually("the shrink ends", || shrink.is_finished());
        assert_eq!(database.available(), 0);
        for holder in &mut holders {
            holder.check().unwrap();
        }
    });
    assert_eq!(database.available(), 4);
}

fn shrinking_waits_only_for_what_is_missing<D: TestDatabase>() {
    let database = D::with_size(4);
    let mut holders: Vec<_> = (0..3)
        .map(|_| SemaphoreTicket::require(database.connect(), "x").unwrap())
        .collect();
    let (done, is_done) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            sem::make(&mut database.connect(), "x", 2).unwrap();
            done.send(()).unwrap();
        });
        database.until_head_waits();
        assert_eq!(
            database.available(),
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
    assert_eq!(database.available(), 2);
}

/// The Python package locks the whole table, and then blocks the resizing of every other semaphore.
fn a_waiting_shrink_delays_no_other_semaphore<D: TestDatabase>() {
    let database = D::with_size(1);
    sem::make(&mut database.connect(), "y", 2).unwrap();
    thread::scope(|scope| {
        let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
        let shrink = scope.spawn(|| sem::make(&mut database.connect(), "x", 0).unwrap());
        database.until_head_waits();
        let others = scope.spawn(|| {
            let conn = &mut database.connect();
            sem::make(conn, "y", 3).unwrap();
            sem::make(conn, "y", 1).unwrap();
            sem::make(conn, "z", 1).unwrap();
            assert!(sem::destroy(conn, "z").unwrap());
            assert!(
                !sem::ensure(conn, "x", 5).unwrap(),
                "nor an ensure of its own"
            );
            assert_eq!(sem::list(conn).unwrap()["y"], 1);
            drop(SemaphoreTicket::require(conn, "y").unwrap());
        });
        eventually("nothing else waits", || others.is_finished());
        others.join().unwrap();
        drop(holder);
        shrink.join().unwrap();
    });
}

/// One of two tickets is held for long, the other one goes round among four who wait for it: that one is enough.
fn a_shrink_waits_for_no_ticket_in_particular<D: TestDatabase>() {
    let database = D::with_size(2);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let long = SemaphoreTicket::require(database.connect(), "x").unwrap();
        for waits in [true, true, false, false] {
            let (database, stop) = (&database, &stop);
            scope.spawn(move || {
                let mut conn = database.connect();
                let request = match waits {
                    true => sem::Request::new("x").wait(Duration::from_millis(50)),
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
        let shrink = scope.spawn(|| sem::make(&mut database.connect(), "x", 1).unwrap());
        let _stop = StopAtEnd(&stop);
        eventually("the shrink ends", || shrink.is_finished());
        drop(long);
    });
    assert_eq!(database.available(), 1);
}

fn destroy_waits_for_held_tickets<D: TestDatabase>() {
    let database = D::with_size(2);
    let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    thread::scope(|scope| {
        let destroy = scope.spawn(|| sem::destroy(&mut database.connect(), "x").unwrap());
        database.until_head_waits();
        assert!(!destroy.is_finished());
        drop(holder);
        assert!(destroy.join().unwrap());
    });
    let refused = SemaphoreTicket::acquire(database.connect(), "x");
    assert!(matches!(refused, Err(Error::UnknownSemaphore { .. })));
}

fn resizes_of_one_semaphore_take_turns<D: TestDatabase>() {
    let database = D::with_size(3);
    thread::scope(|scope| {
        for size in 0..16 {
            let database = &database;
            scope.spawn(move || sem::make(&mut database.connect(), "x", size).unwrap());
        }
    });
    let size = sem::list(&mut database.connect()).unwrap()["x"];
    assert!(size < 16);
    assert_eq!(database.available(), i64::from(size));
}

fn a_resize_in_a_transaction_is_undone_with_it<D: ServerDatabase>() {
    let database = D::with_size(3);
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

fn a_holder_shrinks_again_and_again<D: ServerDatabase>() {
    let database = D::with_size(4);
    let mut conn = database.connect();
    in_transaction(&mut conn, |c| {
        sem::require(c, sem::Request::new("x").tickets(3)).unwrap();
        for size in [2, 1, 3, 1, 0] {
            sem::make(c, "x", size).unwrap();
            assert_eq!(sem::list(c).unwrap()["x"], size);
        }
        Ok(())
    });
    assert_eq!(sem::list(&mut conn).unwrap()["x"], 0);
}

fn a_cancelled_shrink_leaves_the_old_size<D: ServerDatabase>() {
    let database = D::with_size(5);
    let mut conn = database.connect();
    thread::scope(|scope| {
        let holders = [(); 2].map(|()| SemaphoreTicket::require(database.connect(), "x").unwrap());
        let session = D::session_id(&mut conn);
        let shrink = scope.spawn(|| sem::make(&mut conn, "x", 1));
        database.until_head_waits();
        // One cancel may come between two statements.
        eventually("the shrink ends", || {
            D::Backend::cancel_statement(&mut database.connect(), session);
            shrink.is_finished()
        });
        let refused = shrink.join().unwrap();
        assert!(matches!(refused, Err(Error::Database(_))), "{refused:?}");
        assert_eq!(sem::list(&mut database.connect()).unwrap()["x"], 5);
        assert_eq!(database.available(), 3);
        drop(holders);
    });
    database.assert_no_queue();
    sem::make(&mut database.connect(), "x", 1).unwrap();
    assert_eq!(database.available(), 1);
}

fn a_large_semaphore_works_like_a_small_one<D: TestDatabase>() {
    let database = D::create();
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
