//! Each mistake is a typed error that says the cause and the fix. A failed call changes nothing.

use crate::kit::TestDatabase;
use diesel::result::Error as DieselError;
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, SemaphoreTicket};
use stand::Database;

#[test]
fn read_only_transaction() {
    let database = Database::with_size(1);
    let conn = &mut database.connect();
    let acquire = conn
        .build_transaction()
        .read_only()
        .run(|c| sem::require(c, "x"))
        .unwrap_err();
    let make = conn
        .build_transaction()
        .read_only()
        .run(|c| sem::make(c, "x", 2))
        .unwrap_err();
    for error in [acquire, make] {
        assert!(matches!(error, Error::Database(_)), "{error:?}");
        let message = error.to_string();
        assert!(message.contains("read-only transaction"), "{message}");
        assert!(message.contains("READ WRITE"), "{message}");
    }
    conn.transaction(|c| sem::require(c, "x")).unwrap();
}

#[test]
fn aborted_transaction() {
    let database = Database::with_size(1);
    let conn = &mut database.connect();
    let error = conn
        .transaction::<(), Error, _>(|c| {
            c.batch_execute("SELECT 1/0").unwrap_err();
            for error in [
                sem::make(c, "x", 5).unwrap_err(),
                sem::list(c).map(drop).unwrap_err(),
            ] {
                assert!(error.to_string().contains("aborted"), "{error}");
            }
            sem::require(c, "x").map(drop)
        })
        .unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error:?}");
    assert!(error.to_string().contains("roll it back first"), "{error}");
    conn.transaction(|c| sem::require(c, "x")).unwrap();
}

/// As `anyhow` prints an error: each text of the chain of sources once.
#[test]
fn no_error_prints_its_source_twice() {
    use std::error::Error as _;
    let database = Database::with_size(1);
    let conn = &mut database.connect();
    let read_only = conn
        .build_transaction()
        .read_only()
        .run(|c| sem::require(c, "x"))
        .unwrap_err();
    let no_server = diesel::r2d2::Pool::builder()
        .connection_timeout(std::time::Duration::from_millis(50))
        .build_unchecked(diesel::r2d2::ConnectionManager::<PgConnection>::new(
            "postgres://127.0.0.1:1/x",
        ));
    let no_connection = sem::with_ticket(&no_server, "x", |_| sem::Result::Ok(())).unwrap_err();
    conn.batch_execute(
        "ALTER SCHEMA dbsemaphore RENAME TO elsewhere; CREATE SCHEMA dbsemaphore; \
        CREATE TABLE dbsemaphore.ticket (id int)",
    )
    .unwrap();
    let no_migration = sem::run_migrations(conn).unwrap_err();
    for (error, part) in [
        (read_only, "read-only transaction"),
        (no_connection, "refused"),
        (no_migration, "\"ticket\" already exists"),
    ] {
        let mut chain = vec![error.to_string()];
        let mut next = error.source();
        while let Some(source) = next {
            chain.push(source.to_string());
            next = source.source();
        }
        assert_eq!(chain.concat().matches(part).count(), 1, "{chain:?}");
    }
}

/// A hint that does not fit is worse than none.
#[test]
fn hints_fit_the_cause() {
    let database = Database::with_size(1);
    let hint = |error: Error| match error {
        Error::Database(DieselError::DatabaseError(_, raised)) => raised.hint().map(str::to_owned),
        other => panic!("{other:?}"),
    };
    // Statements that a pooler, or DISCARD ALL, has dropped.
    let mut conn = database.connect();
    drop(SemaphoreTicket::require(&mut conn, "x").unwrap());
    conn.batch_execute("DISCARD ALL").unwrap();
    let lost = SemaphoreTicket::require(&mut conn, "x").unwrap_err();
    assert!(hint(lost).unwrap().contains("CacheSize::Disabled"));
    let lost = conn.transaction(|c| sem::require(c, "x")).unwrap_err();
    assert!(hint(lost).unwrap().contains("CacheSize::Disabled"));

    // A name that the session's encoding can't hold is no matter of rights.
    let mut conn = database.connect();
    sem::make(&mut conn, "\u{2603}", 1).unwrap();
    conn.batch_execute("SET client_encoding = LATIN1").unwrap();
    assert_eq!(hint(sem::list(&mut conn).unwrap_err()), None);

    // Nor is a holder that does not release.
    let mut conn = database.connect();
    let _holder = SemaphoreTicket::require(database.connect(), "x").unwrap();
    conn.batch_execute("SET lock_timeout = '20ms'").unwrap();
    let waited = sem::make(&mut conn, "x", 0).unwrap_err();
    assert!(!hint(waited).unwrap_or_default().contains("role"));
}
