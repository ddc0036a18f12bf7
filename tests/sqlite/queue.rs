//! The queue between processes and threads.

use super::{Database, children::start};
use crate::kit::{TestDatabase, eventually, process::Process};
use diesel_dbsemaphore::{self as sem, CancellationToken, Error, Request, SemaphoreTicket};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    thread,
    time::{Duration, Instant},
};

fn pid(process: &Process) -> i32 {
    i32::try_from(process.pid()).unwrap()
}

/// Processes that wait, one after another.
fn waiters(database: &Database, count: usize) -> Vec<Process> {
    let queue_up = |number: usize| {
        let process = start("wait", database);
        eventually("it is in the queue", || database.queue().len() == number);
        process
    };
    (1..=count).map(queue_up).collect()
}

#[test]
fn waiters_are_served_in_order_though_some_die() {
    let database = Database::with("x", 1);
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut waiters = waiters(&database, 6);
    // The head, one in the middle, the last one.
    for dead in [5, 3, 0] {
        waiters.remove(dead).kill();
    }
    drop(held);
    for position in 0..3 {
        assert!(waiters[position].says().starts_with("holds"));
        let others = &sem::waiters(&mut database.connect(), "x").unwrap();
        let pids: Vec<_> = others
            .iter()
            .map(|waiter| waiter.session.pid.unwrap())
            .collect();
        let expected: Vec<_> = waiters[position + 1..].iter().map(pid).collect();
        assert_eq!(pids, expected);
        waiters[position].tell("release");
    }
    eventually("all have ended", || {
        sem::usage_of(&mut database.connect(), "x").unwrap().in_use == 0
    });
    assert!(database.queue().is_empty());
}

#[test]
fn dead_waiters_do_not_refuse_others() {
    let database = Database::with("x", 1);
    let mut holder = start("hold", &database);
    assert!(holder.says().starts_with("holds"));
    let mut waiters = waiters(&database, 2);
    // The last one first: a waiter deletes the file of a dead one before it.
    let last_first = waiters.iter_mut().rev();
    last_first.chain([&mut holder]).for_each(Process::kill);
    assert_eq!(database.queue().len(), 2);
    drop(SemaphoreTicket::require(database.connect(), "x").unwrap());
    assert!(database.queue().is_empty());
}

#[test]
fn requests_that_do_not_wait_do_not_overtake() {
    let database = &Database::with("x", 2);
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    thread::scope(|scope| {
        let both = Request::new("x").tickets(2).wait_forever();
        let waiter =
            scope.spawn(move || SemaphoreTicket::require(database.connect(), both).map(drop));
        eventually("it is in the queue", || database.queue().len() == 1);
        for _ in 0..20 {
            assert!(
                SemaphoreTicket::acquire(database.connect(), "x")
                    .unwrap()
                    .is_none()
            );
        }
        drop(held);
        waiter.join().unwrap().unwrap();
    });
    drop(SemaphoreTicket::require(database.connect(), "x").unwrap());
}

#[test]
fn stopped_head_delays_others_within_their_limits() {
    let database = Database::with("x", 1);
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut head = waiters(&database, 1).remove(0);
    kill(Pid::from_raw(pid(&head)), Signal::SIGSTOP).unwrap();
    drop(held);
    assert!(
        SemaphoreTicket::acquire(database.connect(), "x")
            .unwrap()
            .is_none()
    );
    let limit = Duration::from_millis(100);
    let began = Instant::now();
    let request = Request::new("x").wait(limit);
    assert!(
        SemaphoreTicket::acquire(database.connect(), request)
            .unwrap()
            .is_none()
    );
    assert!(
        (limit..limit * 50).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
    head.kill();
    drop(SemaphoreTicket::require(database.connect(), "x").unwrap());
}

#[test]
fn waits_are_cancelled_at_each_position() {
    let database = Database::with("x", 1);
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let tokens = [CancellationToken::new(), CancellationToken::new()];
    thread::scope(|scope| {
        let mut waiters: Vec<_> = (1..)
            .zip(&tokens)
            .map(|(number, token)| {
                let database = &database;
                let request = Request::new("x").wait_forever().cancellation(token);
                let waiter = scope
                    .spawn(move || SemaphoreTicket::require(database.connect(), request).map(drop));
                eventually("it is in the queue", || database.queue().len() == number);
                waiter
            })
            .collect();
        for token in tokens.iter().rev() {
            let waiter = waiters.pop().unwrap();
            eventually("the wait ends", || {
                token.cancel(&mut database.connect()).unwrap();
                waiter.is_finished()
            });
            assert!(matches!(
                waiter.join().unwrap(),
                Err(Error::Cancelled { .. })
            ));
            assert_eq!(database.queue().len(), waiters.len());
        }
    });
    drop(held);
    drop(SemaphoreTicket::require(database.connect(), "x").unwrap());
}

#[test]
fn waiters_see_a_resize_and_a_destroy() {
    let database = &Database::with("x", 2);
    let mut held = start("hold", database);
    assert!(held.says().starts_with("holds"));
    let conn = &mut database.connect();
    thread::scope(|scope| {
        let wait = |tickets| {
            let request = Request::new("x").tickets(tickets).wait_forever();
            SemaphoreTicket::require(database.connect(), request).map(drop)
        };
        let both = scope.spawn(move || wait(2));
        eventually("it is in the queue", || database.queue().len() == 1);
        sem::make(conn, "x", 3).unwrap();
        both.join().unwrap().unwrap();
        let all = scope.spawn(move || wait(3));
        eventually("it is in the queue", || database.queue().len() == 1);
        // A shrink is in the queue, too, behind `all`.
        let shrink = scope.spawn(|| sem::make(&mut database.connect(), "x", 1));
        eventually("the shrink waits", || database.queue().len() == 2);
        let behind = scope.spawn(move || wait(2));
        eventually("it is in the queue", || database.queue().len() == 3);
        held.tell("release");
        all.join().unwrap().unwrap();
        shrink.join().unwrap().unwrap();
        let too_few = behind.join().unwrap();
        assert!(
            matches!(too_few, Err(Error::InvalidTickets { limit: 1, .. })),
            "{too_few:?}"
        );
    });
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    thread::scope(|scope| {
        let destroy = scope.spawn(|| sem::destroy(&mut database.connect(), "x"));
        eventually("the destroy waits", || database.queue().len() == 1);
        let request = Request::new("x").wait_forever();
        let waiter =
            scope.spawn(move || SemaphoreTicket::require(database.connect(), request).map(drop));
        eventually("it is in the queue", || database.queue().len() == 2);
        drop(held);
        assert!(destroy.join().unwrap().unwrap());
        assert!(matches!(
            waiter.join().unwrap(),
            Err(Error::UnknownSemaphore { .. })
        ));
    });
}

#[test]
fn processes_migrate_at_once() {
    for _ in 0..3 {
        let database = Database::create();
        let mut processes: Vec<_> = (0..16).map(|_| start("migrate", &database)).collect();
        for process in &mut processes {
            assert_eq!(process.says(), "ready");
        }
        for process in &mut processes {
            process.tell("go");
        }
        let created = processes.iter_mut().filter_map(|process| {
            let said = process.says();
            assert!(said == "created" || said == "found", "{said}");
            (said == "created").then_some(())
        });
        assert_eq!(created.count(), 1);
    }
}
