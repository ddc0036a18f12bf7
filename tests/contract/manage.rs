//! Creating, listing, deleting.

use crate::kit::{TestDatabase, on_each_backend, process::Process};
use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
use std::{collections::BTreeMap, thread};

on_each_backend!(
    lists_sizes,
    three_processes_on_two_tickets,
    ensure_creates_once_and_never_resizes,
    ensure_by_many_at_once_creates_one,
    closed_refuses_everybody,
    destroy_says_whether_it_existed,
);

fn lists_sizes<D: TestDatabase>() {
    let database = D::with_size(2);
    let mut conn = database.connect();
    sem::make(&mut conn, "closed", 0).unwrap();
    let expected = BTreeMap::from([("closed".to_owned(), 0), ("x".to_owned(), 2)]);
    assert_eq!(sem::list(&mut conn).unwrap(), expected);
}

fn three_processes_on_two_tickets<D: TestDatabase>() {
    let database = D::with_size(2);
    let mut processes: Vec<_> = (0..3).map(|_| Process::start("hold", &database)).collect();
    let mut said: Vec<_> = processes.iter_mut().map(Process::says).collect();
    said.sort();
    assert_eq!(said[2], "none");
    assert_ne!(said[0], said[1]);
    for mut process in processes {
        process.tell("enough");
        process.finish();
    }
    assert_eq!(database.available(), 2);
}

fn ensure_creates_once_and_never_resizes<D: TestDatabase>() {
    let database = D::with_size(2);
    let mut conn = database.connect();
    assert!(sem::ensure(&mut conn, "new", 3).unwrap());
    assert!(!sem::ensure(&mut conn, "new", 9).unwrap());
    assert_eq!(sem::list(&mut conn).unwrap()["new"], 3);
}

fn ensure_by_many_at_once_creates_one<D: TestDatabase>() {
    let database = D::with_size(0);
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

fn closed_refuses_everybody<D: TestDatabase>() {
    let database = D::with_size(0);
    let mut conn = database.connect();
    assert!(SemaphoreTicket::acquire(&mut conn, "x").unwrap().is_none());
    let two = sem::Request::new("x").tickets(2);
    assert!(SemaphoreTicket::acquire(&mut conn, two).unwrap().is_none());
}

fn destroy_says_whether_it_existed<D: TestDatabase>() {
    let database = D::with_size(2);
    let mut conn = database.connect();
    assert!(sem::destroy(&mut conn, "x").unwrap());
    assert!(!sem::destroy(&mut conn, "x").unwrap());
    assert!(sem::list(&mut conn).unwrap().is_empty());
}
