//! The file `waiting`, which says that somebody is in the queue. Here, it is deleted while somebody is.

use super::Database;
use crate::kit::{TestDatabase, eventually};
use diesel::connection::SimpleConnection;
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use std::{fs, path::PathBuf, thread, time::Duration};

fn waiting(database: &Database) -> PathBuf {
    database.lock_folder().join("1/waiting")
}

#[test]
fn exists_while_somebody_is_in_the_queue() {
    let database = &Database::with("x", 1);
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    assert!(!waiting(database).exists());
    thread::scope(|scope| {
        let request = Request::new("x").wait_forever();
        let waiter =
            scope.spawn(move || SemaphoreTicket::require(database.connect(), request).map(drop));
        eventually("it is in the queue", || database.queue().len() == 1);
        assert!(waiting(database).exists());
        fs::remove_file(waiting(database)).unwrap();
        eventually("it is in the queue again", || waiting(database).exists());
        drop(held);
        waiter.join().unwrap().unwrap();
    });
    assert!(database.queue().is_empty());
    assert!(!waiting(database).exists());
}

#[test]
fn resizes_wait_for_holders_who_did_not_see_them() {
    let database = &Database::with("x", 2);
    let mut writer = database.connect();
    writer.batch_execute("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        let shrink = scope.spawn(|| sem::make(&mut database.connect(), "x", 1));
        eventually("it is in the queue", || database.queue().len() == 1);
        // Until it has found an available ticket. The writer delays its commit.
        thread::sleep(Duration::from_millis(100));
        fs::remove_file(waiting(database)).unwrap();
        let both = Request::new("x").tickets(2);
        let both = SemaphoreTicket::require(database.connect(), both).unwrap();
        writer.batch_execute("COMMIT").unwrap();
        thread::sleep(Duration::from_millis(300));
        assert!(!shrink.is_finished());
        drop(both);
        shrink.join().unwrap().unwrap();
    });
    assert_eq!(database.available(), 1);
}
