//! A database that is renamed while it is in use.

use super::{
    Database,
    surroundings::{assert_lost, assert_unsupported, connect},
};
use crate::kit::{TestDatabase, eventually};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use std::{fs, thread};

#[test]
fn renamed_database_is_noticed() {
    let database = Database::with("x", 1);
    let mut before = database.connect();
    assert_eq!(sem::list(&mut before).unwrap().len(), 1);
    let mut held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    held.check().unwrap();
    fs::rename(database.path(), database.folder.path().join("new.db")).unwrap();
    assert_unsupported(SemaphoreTicket::require(&mut before, "x"), "renamed");
    assert_lost(held.check(), "renamed");
    assert!(matches!(held.release(), Err(Error::TicketLost { .. })));
}

/// Also if the holder under the old name has released its ticket. Then a waiter could hold that beside a holder under the new name.
#[test]
fn a_waiter_acquires_nothing_of_a_renamed_database() {
    let database = Database::with("x", 1);
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let request = Request::new("x").wait_forever();
            SemaphoreTicket::acquire(database.connect(), request).map(drop)
        });
        let mut observer = database.connect();
        eventually("it waits", || {
            sem::waiters(&mut observer, "x").unwrap().len() == 1
        });
        let renamed = database.folder.path().join("new.db");
        fs::rename(database.path(), &renamed).unwrap();
        drop(held);
        assert_unsupported(waiter.join().unwrap(), "renamed");
        let renamed = connect(renamed.to_str().unwrap());
        drop(SemaphoreTicket::require(renamed, "x").unwrap());
    });
}

#[test]
fn a_waiting_resize_changes_nothing_of_a_renamed_database() {
    let database = Database::with("x", 2);
    let held = SemaphoreTicket::require(database.connect(), Request::new("x").tickets(2)).unwrap();
    thread::scope(|scope| {
        let resize = scope.spawn(|| sem::make(&mut database.connect(), "x", 1));
        eventually("it waits", || database.queue().len() == 1);
        let renamed = database.folder.path().join("new.db");
        fs::rename(database.path(), &renamed).unwrap();
        drop(held);
        assert_unsupported(resize.join().unwrap(), "renamed");
        let sizes = sem::list(&mut connect(renamed.to_str().unwrap())).unwrap();
        assert_eq!(sizes["x"], 2);
    });
}
