//! A transaction that the server has ended, while Diesel counts it as open, holds no ticket.

use super::{is_mariadb, is_serialization_failure, number, run, with_semaphore};
use diesel::{Connection, MysqlConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use std::time::Duration;

/// The first two commit implicitly.
const ENDS: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS other (id int)",
    "LOCK TABLES dbsemaphore_semaphore READ; UNLOCK TABLES",
    "COMMIT",
    "ROLLBACK",
];

fn assert_not_in_transaction<T: std::fmt::Debug>(result: sem::Result<T>, why: &str) {
    assert!(
        matches!(result, Err(Error::NotInTransaction)),
        "{why}: {result:?}"
    );
}

#[test]
fn it_can_not_acquire() {
    let (_database, mut conn) = with_semaphore("x", 3);
    let wait = Duration::from_secs(1);
    for end in ENDS {
        for request in [
            Request::new("x"),
            Request::new("x").tickets(2),
            Request::new("x").tickets(2).wait(wait),
        ] {
            let result = conn.transaction(|conn| {
                conn.batch_execute(end)?;
                sem::acquire(conn, request)
            });
            assert_not_in_transaction(result, end);
        }
        let nested = conn.transaction(|conn| {
            conn.batch_execute(end)?;
            conn.transaction(|conn| sem::require(conn, "x"))
        });
        assert!(nested.is_err(), "{end}: {nested:?}");
    }
    conn.transaction(|conn| sem::require(conn, "x")).unwrap();
}

/// Each statement would be committed by itself, and two resizes could run at once.
#[test]
fn it_can_not_resize() {
    let (_database, mut conn) = with_semaphore("x", 3);
    for end in ENDS {
        let made = conn.transaction(|conn| {
            conn.batch_execute(end)?;
            sem::make(conn, "x", 5)
        });
        assert_not_in_transaction(made, end);
        let destroyed = conn.transaction(|conn| {
            conn.batch_execute(end)?;
            sem::destroy(conn, "x")
        });
        assert_not_in_transaction(destroyed, end);
    }
    assert_eq!(sem::list(&mut conn).unwrap()["x"], 3);
}

/// MariaDB's error 1020 ends the transaction, as a deadlock does. It is on by default from MariaDB 11.6.2 on.
#[test]
fn a_change_after_the_snapshot_is_a_serialization_failure() {
    let (database, mut conn) = with_semaphore("x", 1);
    if !is_mariadb(&mut conn) {
        return;
    }
    run(&mut conn, "CREATE TABLE work (id int)").unwrap();
    run(&mut conn, "SET SESSION innodb_snapshot_isolation = ON").unwrap();
    let calls: [fn(&mut MysqlConnection) -> sem::Result<()>; 3] = [
        |conn| sem::make(conn, "x", 3),
        |conn| sem::destroy(conn, "x").map(drop),
        |conn| sem::acquire(conn, "x").map(drop),
    ];
    for (number_of_call, call) in calls.into_iter().enumerate() {
        sem::make(&mut conn, "x", 4).unwrap();
        let result = conn.transaction(|conn| {
            run(conn, "INSERT INTO work VALUES (1)")?;
            sem::list(conn)?;
            sem::make(&mut database.connect(), "x", 0)?;
            let result = conn.transaction(call);
            // What a caller that ignores the error would do next.
            assert!(run(conn, "INSERT INTO work VALUES (2)").is_err());
            result
        });
        assert!(
            is_serialization_failure(&result),
            "{number_of_call}: {result:?}"
        );
        assert_eq!(number(&mut conn, "(SELECT COUNT(*) FROM work)"), 0);
    }
    // The connection can be used.
    sem::make(&mut conn, "x", 1).unwrap();
    drop(SemaphoreTicket::require(&mut conn, "x").unwrap());
}
