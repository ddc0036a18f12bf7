//! Many at once, watched by somebody who doesn't use the crate.

use crate::kit::{TestDatabase, on_each_backend, process::Process, rounds};
use diesel_dbsemaphore::{Request, SemaphoreTicket};
use stand::Witness;
use std::{
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

on_each_backend!(
    two_hundred_threads_on_five_tickets,
    passing_waiters_do_not_refuse_requests_that_do_not_wait,
    thirty_two_processes_on_five_tickets,
);

fn two_hundred_threads_on_five_tickets<D: TestDatabase>() {
    let database = D::with_size(5);
    let (inside, most, done) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let start = Barrier::new(200);
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let mut conn = database.connect();
                start.wait();
                let end = Instant::now() + Duration::from_secs(3);
                while Instant::now() < end {
                    let Some(guard) = SemaphoreTicket::acquire(&mut conn, "x").unwrap() else {
                        thread::yield_now();
                        continue;
                    };
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(guard);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(most.into_inner(), 5, "after {} turns", done.into_inner());
    assert_eq!(database.available(), 5);
}

/// Ten tickets are available at any time: 80 of 100 are held for good, and ten threads acquire one each at most. Waiting
/// workers that pass through the queue must not be a reason to refuse requests that do not wait.
fn passing_waiters_do_not_refuse_requests_that_do_not_wait<D: TestDatabase>() {
    let database = D::with_size(100);
    let _most =
        SemaphoreTicket::require(database.connect(), Request::new("x").tickets(80)).unwrap();
    let callers = AtomicUsize::new(2);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut conn = database.connect();
                while callers.load(Ordering::SeqCst) > 0 {
                    let request = Request::new("x").wait_forever();
                    drop(SemaphoreTicket::require(&mut conn, request).unwrap());
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut conn = database.connect();
                let refused = (0..rounds(2_000))
                    .filter(|_| SemaphoreTicket::acquire(&mut conn, "x").unwrap().is_none())
                    .count();
                callers.fetch_sub(1, Ordering::SeqCst);
                assert_eq!(refused, 0);
            });
        }
    });
}

fn thirty_two_processes_on_five_tickets<D: TestDatabase>() {
    let database = D::with_size(5);
    let mut witness = Witness::new();
    let mut processes: Vec<_> = (0..32)
        .map(|_| Process::start_with("hammer", &database, &witness.path()))
        .collect();
    for process in &mut processes {
        assert_eq!(process.says(), "ready");
    }
    for process in &mut processes {
        process.tell("go");
    }
    let mut entered = 0;
    let listening = thread::spawn(move || {
        // They hammer for three seconds; a silence of two is the end.
        while let Some(event) = witness.next(Duration::from_secs(2)) {
            if matches!(event, stand::Event::Entered(..)) {
                entered += 1;
            }
            assert!(witness.doubles().is_empty(), "one ticket, two holders");
        }
        (witness.take_most(), entered)
    });
    let rounds: u64 = processes
        .iter_mut()
        .map(|process| process.says().parse::<u64>().unwrap())
        .sum();
    let (most, entered) = listening.join().unwrap();
    assert_eq!(most, 5);
    assert_eq!(entered, rounds);
    assert_eq!(database.available(), 5);
}
