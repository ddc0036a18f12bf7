//! Never more than n holders, under any isolation level; what else differs is as the documentation says.

use crate::tools::{database_with, free, number};
use diesel::{Connection, PgConnection, connection::SimpleConnection, result::DatabaseErrorKind};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};

const OLD_SNAPSHOTS: [&str; 2] = ["REPEATABLE READ", "SERIALIZABLE"];

fn at_level<T>(
    conn: &mut PgConnection,
    level: &str,
    work: impl FnOnce(&mut PgConnection) -> sem::Result<T>,
) -> sem::Result<T> {
    conn.transaction(|c| {
        c.batch_execute(&format!("SET TRANSACTION ISOLATION LEVEL {level}"))?;
        work(c)
    })
}

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
fn at_most_n_at_every_level() {
    let database = database_with(2);
    for level in [
        "READ UNCOMMITTED",
        "READ COMMITTED",
        "REPEATABLE READ",
        "SERIALIZABLE",
    ] {
        let (mut a, mut b, mut c) = (database.connect(), database.connect(), database.connect());
        at_level(&mut a, level, |a| {
            let first = sem::require(a, "x")?;
            at_level(&mut b, level, |b| {
                assert_ne!(sem::require(b, "x")?.ids(), first.ids());
                at_level(&mut c, level, |c| {
                    assert!(sem::acquire(c, "x")?.is_none());
                    Ok(())
                })
            })
        })
        .unwrap();
        assert_eq!(free(&database), 2);
    }
}

#[test]
fn an_old_snapshot_sees_old_sizes() {
    for level in OLD_SNAPSHOTS {
        let database = database_with(1);
        let _holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
        let mut conn = database.connect();
        at_level(&mut conn, level, |c| {
            assert_eq!(number(c, "SELECT 1"), 1);
            sem::make(&mut database.connect(), "x", 2)?;
            assert!(
                sem::acquire(c, "x")?.is_none(),
                "the new ticket is not seen"
            );
            Ok(())
        })
        .unwrap();
        at_level(&mut conn, level, |c| sem::require(c, "x")).unwrap();
    }
}

/// To the snapshot, the former holder has not ended.
#[test]
fn an_old_snapshot_acquires_released_tickets() {
    for level in OLD_SNAPSHOTS {
        let database = database_with(1);
        let holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
        at_level(&mut database.connect(), level, |c| {
            assert_eq!(number(c, "SELECT 1"), 1);
            holder.release()?;
            // With a label it can't be found by the fast way.
            sem::require(c, Request::new("x").label("late")).map(drop)
        })
        .unwrap();
    }
}

#[test]
fn a_shrink_after_the_snapshot_is_a_serialization_error() {
    for level in OLD_SNAPSHOTS {
        let database = database_with(1);
        let mut conn = database.connect();
        let failed = at_level(&mut conn, level, |c| {
            assert_eq!(number(c, "SELECT 1"), 1);
            sem::make(&mut database.connect(), "x", 0)?;
            sem::acquire(c, "x")
        });
        assert!(is_serialization_failure(&failed), "{failed:?}");
        assert!(failed.unwrap_err().to_string().contains("run it again"));
        at_level(&mut conn, level, |c| sem::acquire(c, "x")).unwrap();
    }
}

/// It would count tickets that another resize has since added or deleted.
#[test]
fn a_resize_with_an_old_snapshot_fails() {
    for level in OLD_SNAPSHOTS {
        for size in [1, 3, 5] {
            let database = database_with(3);
            let failed = at_level(&mut database.connect(), level, |c| {
                assert_eq!(number(c, "SELECT 1"), 1);
                sem::make(&mut database.connect(), "x", 4)?;
                sem::make(c, "x", size)
            });
            assert!(is_serialization_failure(&failed), "{failed:?}");
            assert_eq!(free(&database), 4);
        }
    }
}

#[test]
fn management_and_guards_do_not_depend_on_defaults() {
    let database = database_with(1);
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
        let database = database_with(0);
        let waited = at_level(&mut database.connect(), level, |c| {
            sem::require(c, Request::new("x").wait_forever())
        });
        assert!(is_serialization_failure(&waited), "{level}: {waited:?}");
        sem::make(&mut database.connect(), "x", 1).unwrap();
        assert_eq!(free(&database), 1);
    }
}
