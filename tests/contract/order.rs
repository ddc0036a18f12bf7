//! The order in which waiters are served.

use crate::contract::queue::{LONG, hold};
use crate::kit::{StopAtEnd, TestDatabase, eventually, on_each_backend};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use std::{
    sync::{
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

on_each_backend!(
    first_come_first_served,
    requests_that_do_not_wait_do_not_overtake,
    a_former_holder_does_not_overtake_the_head,
    a_large_request_is_served_among_many_small_ones,
);

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

fn a_large_request_is_served_among_many_small_ones<D: TestDatabase>() {
    let database = D::with_size(3);
    let (stop, served) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
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
        // All 20 may be before it in the queue. Others may be served while the next head of the queue wakes up, which takes long
        // on a busy machine.
        assert!(meanwhile < 2_000, "{meanwhile} were served before it");
    });
    assert_eq!(database.available(), 3);
    database.assert_no_queue();
}
