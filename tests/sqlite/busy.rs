//! A database that others have locked.

use super::Database;
use crate::kit::TestDatabase;
use diesel::connection::SimpleConnection;
use diesel_dbsemaphore::{self as sem, Error, SemaphoreTicket};
use std::{
    thread,
    time::{Duration, Instant},
};

#[test]
fn busy_database_delays_acquisitions_and_then_fails() {
    let database = Database::with("x", 1);
    let mut other = database.connect();
    other
        .batch_execute("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE")
        .unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| SemaphoreTicket::require(database.connect(), "x").map(drop));
        thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished());
        other.batch_execute("COMMIT").unwrap();
        waiting.join().unwrap().unwrap();
    });
    other.batch_execute("BEGIN EXCLUSIVE").unwrap();
    let began = Instant::now();
    let error = SemaphoreTicket::require(database.connect(), "x")
        .map(drop)
        .unwrap_err();
    assert!(error.to_string().contains("WAL"), "{error}");
    assert!(
        (5..9).contains(&began.elapsed().as_secs()),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn writers_in_wal_mode_delay_changes_alone() {
    let database = Database::with("x", 1);
    let mut other = database.connect();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    drop(SemaphoreTicket::require(database.connect(), "x").unwrap());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| sem::ensure(&mut database.connect(), "y", 1));
        let within: sem::Result<()> = sem::transaction(&mut database.connect(), "z", |_, _| Ok(()));
        assert!(matches!(within, Err(Error::UnknownSemaphore { .. })));
        assert!(!waiting.is_finished());
        other.batch_execute("COMMIT").unwrap();
        assert!(waiting.join().unwrap().unwrap());
    });
}
