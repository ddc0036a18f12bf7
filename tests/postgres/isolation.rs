//! What differs under REPEATABLE READ and SERIALIZABLE is as the documentation says.

use crate::kit::{ServerDatabase, TestDatabase};
use crate::postgres::number;
use diesel::{connection::SimpleConnection, result::DatabaseErrorKind};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use stand::Database;
use std::{thread, time::Duration};

const LONG: Duration = Duration::from_secs(60);

const OLD_SNAPSHOTS: [&str; 2] = ["REPEATABLE READ", "SERIALIZABLE"];

/// PostgreSQL treats the first as the second.
const NEW_SNAPSHOTS: [&str; 2] = ["READ UNCOMMITTED", "READ COMMITTED"];

fn is_serialization_failure<T>(result: &sem::Result<T>) -> bool {
    matches!(
        result,
        Err(Error::Database(diesel::result::Error::DatabaseError(
            DatabaseErrorKind::SerializationFailure,
            _
        )))
    )
}

#[test]
fn an_old_snapshot_sees_old_sizes() {
    for level in OLD_SNAPSHOTS {
        let database = Database::with_size(1);
        let _holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
        let mut conn = database.connect();
        Database::at_level(&mut conn, level, |c| {
            assert_eq!(number(c, "SELECT 1"), 1);
            sem::make(&mut database.connect(), "x", 2)?;
            assert!(
                sem::acquire(c, "x")?.is_none(),
                "the new ticket is not seen"
            );
            Ok(())
        })
        .unwrap();
        Database::at_level(&mut conn, level, |c| sem::require(c, "x")).unwrap();
    }
}

/// To the snapshot, the former holder has not ended.
#[test]
fn an_old_snapshot_acquires_released_tickets() {
    for level in OLD_SNAPSHOTS {
        let database = Database::with_size(1);
        sem::make(&mut database.connect(), "other", 1).unwrap();
        let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
        Database::at_level(&mut database.connect(), level, |c| {
            assert_eq!(number(c, "SELECT 1"), 1);
            holder.release()?;
            // A transaction that holds a ticket first reads who holds what.
            sem::require(c, "other")?;
            sem::require(c, "x").map(drop)
        })
        .unwrap();
    }
}

#[test]
fn a_shrink_after_the_snapshot_is_a_serialization_error() {
    for level in OLD_SNAPSHOTS {
        let database = Database::with_size(1);
        let mut conn = database.connect();
        let failed = Database::at_level(&mut conn, level, |c| {
            assert_eq!(number(c, "SELECT 1"), 1);
            sem::make(&mut database.connect(), "x", 0)?;
            sem::acquire(c, "x")
        });
        assert!(is_serialization_failure(&failed), "{failed:?}");
        assert!(failed.unwrap_err().to_string().contains("run it again"));
        Database::at_level(&mut conn, level, |c| sem::acquire(c, "x")).unwrap();
    }
}

/// It would count tickets that another resize has since added or deleted.
#[test]
fn a_resize_with_an_old_snapshot_fails() {
    for level in OLD_SNAPSHOTS {
        for size in [1, 3, 5] {
            let database = Database::with_size(3);
            let failed = Database::at_level(&mut database.connect(), level, |c| {
                assert_eq!(number(c, "SELECT 1"), 1);
                sem::make(&mut database.connect(), "x", 4)?;
                sem::make(c, "x", size)
            });
            assert!(is_serialization_failure(&failed), "{failed:?}");
            assert_eq!(database.available(), 4);
        }
    }
}

#[test]
fn management_and_guards_do_not_depend_on_defaults() {
    let database = Database::with_size(1);
    let mut conn = database.connect();
    conn.batch_execute(
        "SET default_transaction_isolation = 'serializable'; SET default_transaction_read_only = on",
    )
    .unwrap();
    sem::make(&mut conn, "x", 4).unwrap();
    sem::ensure(&mut conn, "y", 4).unwrap();
    let guard = SemaphoreTicket::require(&mut conn, "x").unwrap();
    sem::make(&mut database.connect(), "x", 1).unwrap();
    guard.release().unwrap();
    assert!(sem::destroy(&mut conn, "x").unwrap());
}

/// The head of the queue could never see the tickets of a semaphore that is opened later.
#[test]
fn a_wait_on_a_closed_semaphore_with_an_old_snapshot_fails() {
    for level in OLD_SNAPSHOTS {
        let database = Database::with_size(0);
        let waited = Database::at_level(&mut database.connect(), level, |c| {
            sem::require(c, Request::new("x").wait_forever())
        });
        assert!(is_serialization_failure(&waited), "{level}: {waited:?}");
        sem::make(&mut database.connect(), "x", 1).unwrap();
        assert_eq!(database.available(), 1);
    }
}

#[test]
fn a_wait_on_a_closed_semaphore_ends_when_it_is_opened() {
    for level in NEW_SNAPSHOTS {
        let database = Database::with_size(0);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                Database::at_level(&mut database.connect(), level, |c| {
                    sem::require(c, Request::new("x").wait(LONG))
                })
            });
            database.until_head_waits();
            sem::make(&mut database.connect(), "x", 1).unwrap();
            waiter.join().unwrap().unwrap();
        });
    }
}
